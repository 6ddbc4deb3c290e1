"""Algorithm 1 of Jain 2017: a generator against a discriminator.

::

    while training:
        sample two minibatches                                                            (1)
        run the generator on the first: G                                                 (2)
        run the discriminator on fakes (from G) and on reals (from the second): p_f, p_r  (3)
        if gate: update the discriminator on  -log p_r - log(1 - p_f)                     (4)
        update the generator on  sum |G - truth| - lambda_adv n log p_f                   (5)
        update the generator again                                                        (6)

The condition of the ``if`` was lost from the paper's text. Our reading ("gate") skips the discriminator's update
while its running accuracy is above :attr:`Scheme.gate`; the rival reading ("pixel") always updates it and lets the
condition decide over the pixel term instead: it counts only while the discriminator is that strong. The pixel term is
a sum of absolute differences over the ``n`` px of a sample; so lambda_adv, which the paper does not give, is the
weight of the adversarial term per px. Both optimisers are Adam.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.tiling.transfer import channels_last
from napari_emsynth.training import checkpoint
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Divergence, Learner, Recipe, set_rate, told

# Generator updates a step.
GENERATOR_UPDATES = 2
# Share of the running accuracy that one step replaces.
ACCURACY_MEMORY = 0.05
# Steps in which the discriminator may be all-knowing or know nothing, and outputs may be flat, before that counts.
PATIENCE = 300
KNOWS_NOTHING, ALL_KNOWING, FLAT = 0.505, 0.995, 0.1


@dataclass(frozen=True, kw_only=True)
class Scheme:
    """The free constants of Algorithm 1.

    Args:
        adversarial: weight lambda_adv of the adversarial term, per px.
        pixel: weight of the pixel term; 0 trains with the adversary alone.
        lr: of both optimisers; the discriminator's stays, the generator's follows the plan.
        beta1: of both optimisers.
        reading: of the lost condition, see the module.
        gate: accuracy above which the discriminator counts as too strong.
    """

    adversarial: float = 0.05
    pixel: float = 1.0
    lr: float = 2e-4
    beta1: float = 0.5
    reading: Literal["gate", "pixel"] = "gate"
    gate: float = 0.8


class AdversarialRecipe(Recipe):
    """What a method brings to be trained by Algorithm 1. A minibatch may be of any type of its own."""

    scheme: Scheme

    def discriminator(self) -> nn.Module:
        """Build the discriminator: [b, images, y, x] -> [b] logits."""
        raise NotImplementedError

    def minibatch(self, rng: Generator, device: torch.device) -> Any:
        """Draw a minibatch."""
        raise NotImplementedError

    def generate(self, network: nn.Module, batch: Any) -> Any:
        """Run the generator on a minibatch."""
        raise NotImplementedError

    def fakes(self, batch: Any, output: Any, rng: Generator) -> Tensor:
        """What the discriminator sees of the generator's output: [b, images, y, x]."""
        raise NotImplementedError

    def reals(self, batch: Any, rng: Generator) -> Tensor:
        """What it sees of acquired data: [b, images, y, x], of the same size."""
        raise NotImplementedError

    def pixel_term(self, batch: Any, output: Any) -> Tensor:
        """Mean over px of the absolute difference to what is known to be true, a scalar."""
        raise NotImplementedError

    def learner(self, plan: Plan, device: torch.device) -> Learner:
        """Return what runs Algorithm 1."""
        return Adversaries(self, plan, device)


class Adversaries:
    """Generator, discriminator and their optimisers; one :meth:`step` is one turn of Algorithm 1's loop."""

    def __init__(self, recipe: AdversarialRecipe, plan: Plan, device: torch.device) -> None:
        self.recipe, self.plan, self.device = recipe, plan, device
        self.network = channels_last(recipe.network().to(device))
        self.critic = channels_last(recipe.discriminator().to(device))
        scheme = recipe.scheme
        betas = (scheme.beta1, 0.999)
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=scheme.lr, betas=betas)
        self.critic_optimiser = torch.optim.Adam(self.critic.parameters(), lr=scheme.lr, betas=betas)
        self.vigil = Vigil()

    def step(self, rng: Generator, rate: float) -> dict[str, float]:
        """One turn of the loop; the comments name the module's lines.

        Raises:
            Divergence: a loss is no number, or one side has won, or given up, for long.
        """
        recipe, scheme = self.recipe, self.recipe.scheme
        set_rate(self.optimiser, rate * scheme.lr / self.plan.lr)
        first, second = (recipe.minibatch(rng, self.device) for _ in range(2))  # (1)
        with torch.no_grad():
            output = recipe.generate(self.network, first)  # (2)
        fakes, reals = recipe.fakes(first, output, rng), recipe.reals(second, rng)
        terms = self._judge(fakes, reals)  # (3), (4)
        strong = self.vigil.accuracy > scheme.gate
        for _ in range(GENERATOR_UPDATES):
            terms |= self._deceive(first, rng, with_pixels=scheme.reading == "gate" or strong)  # (5), (6)
        self.vigil.watch(**told({"fake_std": fakes.std(), "real_std": reals.std()}))
        return terms

    def _judge(self, fakes: Tensor, reals: Tensor) -> dict[str, float]:
        """Lines (3) and (4): show the discriminator both kinds, and let it learn unless it is too strong."""
        logits = self.critic(torch.cat((fakes, reals)))  # [b_f + b_r]
        truth = torch.cat((logits.new_zeros(len(fakes)), logits.new_ones(len(reals))))
        loss = F.binary_cross_entropy_with_logits(logits, truth)
        figures = told({"d_loss": loss, "right": ((logits > 0) == (truth > 0.5)).float().mean()})
        if not math.isfinite(figures["d_loss"]):
            raise Divergence(f"the discriminator's loss became {figures['d_loss']}")
        self.vigil.saw(figures["right"])
        opened = self.recipe.scheme.reading == "pixel" or self.vigil.accuracy <= self.recipe.scheme.gate
        if opened:
            self.critic_optimiser.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            self.critic_optimiser.step()
        return {"d_loss": figures["d_loss"], "d_accuracy": self.vigil.accuracy, "gate_open": float(opened)}

    def _deceive(self, batch: Any, rng: Generator, *, with_pixels: bool) -> dict[str, float]:
        """Line (5): one update of the generator."""
        scheme = self.recipe.scheme
        output = self.recipe.generate(self.network, batch)
        logits = self.critic(self.recipe.fakes(batch, output, rng))
        adversarial = F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))  # -log p_f
        pixel = self.recipe.pixel_term(batch, output)
        loss = scheme.adversarial * adversarial
        if with_pixels and scheme.pixel:
            loss = loss + scheme.pixel * pixel  # both sides of (5) divided by n
        figures = told({"pixel": pixel, "adversarial": adversarial, "loss": loss})
        if not math.isfinite(figures["loss"]):
            raise Divergence(f"the generator's loss became {figures['loss']}")
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), self.plan.clip)
        self.optimiser.step()
        return figures

    def state(self) -> dict[str, Tensor]:
        """The discriminator, both optimisers' moments, and the running figures."""
        critic = {f"critic.{k}": v for k, v in self.critic.state_dict().items()}
        return (
            critic
            | checkpoint.flat_optimiser(self.optimiser)
            | checkpoint.flat_optimiser(self.critic_optimiser, "critic_opt")
            | {"vigil": torch.tensor(self.vigil.accuracy)}
        )

    def restore(self, state: dict[str, Tensor]) -> None:
        """Put them back; the watch over collapse starts anew."""
        self.critic.load_state_dict({k.removeprefix("critic."): v for k, v in state.items() if k.startswith("critic.")})
        checkpoint.restore_optimiser(self.optimiser, state)
        checkpoint.restore_optimiser(self.critic_optimiser, state, "critic_opt")
        self.vigil = Vigil(accuracy=float(state["vigil"]))


@dataclass
class Vigil:
    """Watches over the balance of the two, and notices when it is lost for good.

    Args:
        accuracy: running accuracy of the discriminator, 0 to 1.
    """

    accuracy: float = 0.5
    _idle: int = 0
    _certain: int = 0
    _flat: int = 0
    _learnt: bool = False

    def saw(self, accuracy: float) -> None:
        """Take note of the discriminator's accuracy on one step."""
        self.accuracy += ACCURACY_MEMORY * (accuracy - self.accuracy)
        # At the very start it knows nothing by right.
        self._learnt = self._learnt or self.accuracy > 0.55
        self._idle = self._idle + 1 if self._learnt and self.accuracy < KNOWS_NOTHING else 0
        self._certain = self._certain + 1 if self.accuracy > ALL_KNOWING else 0

    def watch(self, fake_std: float, real_std: float) -> None:
        """Take note of the outputs' deviation, and speak up when something has been wrong for long.

        Raises:
            Divergence: the text says what.
        """
        self._flat = self._flat + 1 if fake_std < FLAT * real_std else 0
        if self._certain > PATIENCE:
            raise Divergence(f"the discriminator was right in {self.accuracy:.1%} of {PATIENCE} steps")
        if self._idle > PATIENCE:
            raise Divergence(f"the discriminator could tell nothing ({self.accuracy:.1%}) for {PATIENCE} steps")
        if self._flat > PATIENCE // 10:
            raise Divergence(f"the generator's output went flat (deviation {fake_std:.3g} of {real_std:.3g})")
