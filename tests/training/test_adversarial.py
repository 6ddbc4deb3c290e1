"""Algorithm 1: who is updated when, what is seen, what counts as lost; and that it restores what pixels blur."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_emsynth.errors import InputError
from napari_emsynth.spec import CancelToken
from napari_emsynth.training import checkpoint
from napari_emsynth.training.adversarial import PATIENCE, AdversarialRecipe, Adversaries, Scheme, Vigil
from napari_emsynth.training.loop import fit
from napari_emsynth.training.plan import Plan
from napari_emsynth.training.recipe import Divergence

CPU = torch.device("cpu")
PLAN = Plan(steps=50, lr=1e-2, validate_every=1e9)


class Critic(nn.Module):
    """Tells images apart by their power."""

    def __init__(self):
        super().__init__()
        self.decide = nn.Linear(1, 1)
        nn.init.zeros_(self.decide.weight)  # knows nothing yet, and pushes the generator nowhere

    def forward(self, images):
        return self.decide(images.square().mean(dim=(1, 2, 3))[:, None])[:, 0]


class Gain(AdversarialRecipe):
    """Real images are noise of deviation 2, fakes are a gain times noise of deviation 1."""

    def __init__(self, scheme=Scheme(), spoil=None):
        self.scheme, self.spoil = scheme, spoil
        self.drawn, self.generated, self.with_gradient = [], 0, 0

    def fingerprint(self):
        return {"method": "gain"}

    def network(self):
        torch.manual_seed(3)
        network = nn.Conv2d(1, 1, 1, bias=False)
        nn.init.constant_(network.weight, 0.5)
        return network

    def discriminator(self):
        return Critic()

    def minibatch(self, rng, device):
        batch = torch.from_numpy(rng.standard_normal((6, 1, 8, 8)).astype(np.float32))
        self.drawn.append(batch)
        return batch

    def generate(self, network, batch):
        self.generated += 1
        self.with_gradient += torch.is_grad_enabled()
        output = network(batch)
        return output * self.spoil if self.spoil is not None else output

    def fakes(self, batch, output, rng):
        self.faked_from = batch
        return output

    def reals(self, batch, rng):
        self.real_from = batch
        return 2 * batch

    def pixel_term(self, batch, output):
        return (output - batch).abs().mean()

    def validate(self, network, device):
        return {"score": -abs(float(network.weight.item()) - 2)}


def step(recipe, *, accuracy=0.5):
    learner = Adversaries(recipe, PLAN, CPU)
    learner.vigil.accuracy = accuracy
    before = {k: v.clone() for k, v in learner.critic.state_dict().items()}
    terms = learner.step(np.random.default_rng(0), PLAN.lr)
    moved = any((v != before[k]).any() for k, v in learner.critic.state_dict().items())
    return learner, terms, moved


def test_one_turn_draws_two_minibatches_and_updates_the_generator_twice():
    recipe = Gain()
    learner, terms, moved = step(recipe)
    assert len(recipe.drawn) == 2
    assert recipe.faked_from is recipe.drawn[0]
    assert recipe.real_from is recipe.drawn[1]
    assert (recipe.generated, recipe.with_gradient) == (3, 2)
    assert moved
    assert {"d_loss", "d_accuracy", "gate_open", "pixel", "adversarial", "loss"} <= set(terms)
    (state,) = learner.optimiser.state.values()
    assert int(state["step"]) == 2


def test_the_gate_spares_a_discriminator_that_is_too_strong():
    _, terms, moved = step(Gain(Scheme(gate=0.8)), accuracy=0.95)
    assert terms["gate_open"] == 0
    assert not moved
    _, terms, moved = step(Gain(Scheme(gate=0.8)), accuracy=0.7)
    assert terms["gate_open"] == 1
    assert moved


def test_the_rival_reading_switches_the_pixel_term_instead():
    rival = Scheme(reading="pixel", adversarial=0.5)
    _, weak, moved = step(Gain(rival), accuracy=0.5)
    assert moved
    assert weak["loss"] == pytest.approx(0.5 * weak["adversarial"])
    _, strong, moved = step(Gain(rival), accuracy=0.95)
    assert moved
    assert strong["loss"] == pytest.approx(0.5 * strong["adversarial"] + strong["pixel"])


def test_without_pixel_weight_the_adversary_teaches_alone():
    _, terms, _ = step(Gain(Scheme(pixel=0.0, adversarial=1.0)))
    assert terms["loss"] == pytest.approx(terms["adversarial"])


def test_the_adversary_restores_the_power_that_pixels_do_not_ask_for(tmp_path):
    def trained(scheme):
        plan = Plan(steps=400, lr=scheme.lr, average=20, validate_every=1e9)
        fit(Gain(scheme), plan, path := tmp_path / f"{scheme.pixel}.safetensors", device=CPU)
        return float(checkpoint.load(path).network["weight"].item())

    alone = trained(Scheme(pixel=0.0, adversarial=1.0, lr=1e-2))
    pixels = trained(Scheme(pixel=1.0, adversarial=0.0, lr=1e-2))
    assert pixels == pytest.approx(1, abs=0.1)
    assert alone == pytest.approx(2, abs=0.4)


def test_a_resumed_run_equals_one_that_was_not_interrupted(tmp_path):
    def run(path, steps, **options):
        plan, stop = Plan(steps=20, lr=1e-2, average=5, validate_every=1e9), CancelToken()

        def on_step(terms):
            if terms["step"] == steps:
                stop.cancel()

        return fit(Gain(), plan, path, device=CPU, cancel=stop, on_step=on_step, **options)

    whole = run(tmp_path / "whole.safetensors", 20)
    run(tmp_path / "parts.safetensors", 7)
    parts = run(tmp_path / "parts.safetensors", 20, resume=True)
    assert whole.counters.step == parts.counters.step == 20
    one, other = (checkpoint.load(tmp_path / f"{n}.safetensors") for n in ("whole", "parts"))
    assert set(one.learner) == set(other.learner)
    assert any(k.startswith("critic_opt.") for k in one.learner)
    for name, value in one.learner.items():
        torch.testing.assert_close(other.learner[name], value)
    torch.testing.assert_close(other.network["weight"], one.network["weight"])


def watch(vigil, *accuracies, fake_std=1.0):
    for accuracy in accuracies:
        vigil.saw(accuracy)
        vigil.watch(fake_std, 1.0)


@pytest.mark.parametrize(
    ("start", "then", "said"), [([], 1.0, "was right in"), ([1.0] * 40 + [0.0] * 20, 0.5, "could tell nothing")]
)
def test_a_lost_balance_is_noticed_after_long(start, then, said):
    vigil = Vigil()
    for accuracy in (*start, *[then] * (PATIENCE - 50)):
        watch(vigil, accuracy)
    with pytest.raises(Divergence, match=said):
        watch(vigil, *[then] * PATIENCE)


def test_a_balance_that_wavers_is_left_alone():
    vigil = Vigil()
    rng = np.random.default_rng(0)
    for accuracy in rng.uniform(0.3, 0.9, 5 * PATIENCE):
        vigil.saw(float(accuracy))
        vigil.watch(1.0, 1.0)
    assert 0.4 < vigil.accuracy < 0.8


def test_flat_output_and_numbers_that_are_none_are_noticed():
    with pytest.raises(Divergence, match="flat"):
        watch(Vigil(), *[0.5] * PATIENCE, fake_std=0.01)
    with pytest.raises(Divergence, match="discriminator's loss became nan"):
        step(Gain(spoil=float("nan")))


def test_collapse_falls_back_to_the_last_checkpoint_and_says_so(tmp_path):
    class Collapsing(Gain):
        def generate(self, network, batch):
            if 9 <= len(self.drawn) // 2 <= 10:
                self.spoil = float("nan")
            else:
                self.spoil = None
            return super().generate(network, batch)

    lines = []
    plan = Plan(steps=15, lr=1e-2, validate_every=1e-9)
    done = fit(Collapsing(), plan, tmp_path / "c.safetensors", device=CPU, note=lines.append)
    assert done.finished
    assert done.counters.step == 15
    assert done.counters.fallbacks == len(lines) == 2
    assert "became nan" in lines[0]
    assert "went on from the checkpoint of step 8" in lines[0]


def test_collapse_again_and_again_ends_with_the_checkpoint_named(tmp_path):
    class Hopeless(Gain):
        def generate(self, network, batch):
            self.spoil = float("nan") if len(self.drawn) // 2 > 3 else None
            return super().generate(network, batch)

    plan = Plan(steps=15, lr=1e-2, validate_every=1e-9)
    with pytest.raises(InputError, match=r"diverged 6 times .* the limit is 5; .*c\.safetensors"):
        fit(Hopeless(), plan, tmp_path / "c.safetensors", device=CPU)
