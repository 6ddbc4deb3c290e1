"""Li & Fan 2017: registration by a fully convolutional network, with deep self-supervision.

The network answers a pair of sections with the displacement of one onto the other, at their full size
(:mod:`napari_emsynth.models.li2017`); it is optimised for how alike the two become, at several resolutions jointly, and
never sees a known displacement (:mod:`.li2017_loss`). The paper's two forms, and one between them::

    u = u_theta*(f, m)           theta*: trained on many pairs; nothing is optimised any more      (1)
    u = u_theta(f, m),           theta = argmin L(f, m, u_theta) from an untrained network         (2)
                                 the same, from theta*                                             (3)
    U = G * (w u) / G * w,       w = max(0, M NCC)^2 + e: what is alike speaks for what is not     (4)
    r = G' * (M NCC) / G' * M    the local NCC of the loss, its mean in a wide Gaussian window     (5)
    c = M clip((r - 0.1) / 0.4, 0, 1)       confidence: chance gives 0, half of full likeness 1    (6)

In (1) the network is asked ``passes`` times, each time with the section as it was pulled before, and its answers are
composed; a network that was optimised on a pair is asked once, for this pair. Then the answer is the field ``U`` of the
lowest full-size loss ``lambda R - S``: that of (2) or (3), of (1), or zero.

From the paper [P]: (1) and (2). Ours [O]: the rest, and every default of :class:`LiFanParams`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods.align.li2017.loss import LossConfig
from napari_emsynth.methods.align.li2017.optimise import Optimisation, optimised
from napari_emsynth.methods.align.li2017.pair import Judged, forward, judge
from napari_emsynth.methods.align.li2017.recipe import Recipe
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField
from napari_emsynth.methods.building import learned
from napari_emsynth.models.li2017 import LiFan
from napari_emsynth.params import param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.volume import Float

# (4): the weight of what is not alike at all.
LEAST = 1e-3
# (5), (6): deviation of the window; local correlations by chance and beyond doubt.
TRUST_PX, CHANCE, ALIKE = 12.0, 0.1, 0.5


@dataclass(frozen=True, kw_only=True)
class LiFanParams(SolvedParams):
    """What the network is asked to do."""

    refine: str = param(
        "none",
        "Optimise the network on every pair: not at all, starting with the trained weights, or from scratch.",
        choices=("none", "trained", "scratch"),
    )
    smooth_px: float = param(
        10.0, "Deviation of the Gaussian that smooths the displacement.", unit="px", low=0.0, high=100.0
    )
    passes: int = param(
        2,
        "How often the trained network is asked, each time with the section as it was pulled before.",
        low=1,
        high=8,
        advanced=True,
    )
    iterations: int = param(100, "Steps of the optimisation of a pair.", unit="steps", low=1, high=10000)
    learning_rate: float = param(
        5e-4, "Learning rate of the optimisation of a pair.", low=1e-6, high=1e-1, advanced=True
    )
    window_px: int = param(
        256,
        "Edge of the part of a pair that one step of its optimisation looks at.",
        unit="px",
        low=32,
        high=4096,
        step=16,
        advanced=True,
    )


class Li2017:
    """The built method: the network, and what is done with it."""

    how: Literal["pairs"] = "pairs"

    def __init__(self, network: LiFan, params: LiFanParams, constants: LossConfig = LossConfig()) -> None:
        self.network, self.params, self.constants = network.eval(), params, constants

    def __call__(self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime) -> PairField:
        """Register a section [y, x] onto one neighbour; notes hold the similarities and losses on the way."""
        (neighbour,) = fixed
        masks = [_mask(m, moving.shape) for m in (neighbour.known, known)]
        pair = np.stack((neighbour.image, moving)) * np.stack(masks)
        nodes = tuple(-(-n // self.params.step_px) for n in moving.shape)
        if not all(image.any() for image in pair):
            # One of them is empty or constant: there is nothing to go by.
            return PairField(np.zeros((2, *nodes), np.float32), np.zeros(nodes, np.float32))
        seen = np.concatenate((pair, np.stack(masks)))
        tried = {name: self._smooth(seen, field, runtime) for name, field in self._fields(seen, runtime).items()}
        best = self._chosen(tried)
        notes = {f"similarity_{name}": judged.similarity for name, judged in tried.items()}
        notes |= {f"loss_{name}": judged.loss for name, judged in tried.items()}
        return PairField(at_nodes(best.field, nodes), at_nodes(trust(best)[None], nodes)[0], notes)

    def _fields(self, seen: Float, runtime: Runtime) -> dict[str, Float]:
        """Return the fields [2, y, x] px that there are of a pair [4, y, x] (fixed, moving, known of each)."""
        fields = {"before": np.zeros_like(seen[:2])}
        if self.params.refine != "scratch":
            fields["forward"] = forward(self.network, seen[:2], runtime, self.params.passes)  # (1)
        if self.params.refine != "none":
            fields["refined"] = self._refined(seen, runtime)
        return fields

    def _smooth(self, seen: Float, field: Float, runtime: Runtime) -> Judged:
        """Return a field as it is answered, and what it makes of its pair."""
        judged = judge(seen, field, self.constants, runtime)
        if self.params.smooth_px == 0 or not field.any():
            return judged
        return judge(seen, smoothed(judged, self.params.smooth_px), self.constants, runtime)

    def _chosen(self, tried: dict[str, Judged]) -> Judged:
        """Return the network's own answer, or the one of least loss once something was optimised."""
        if self.params.refine == "none":
            return tried["forward"]
        return min(tried.values(), key=lambda judged: judged.loss)

    def _refined(self, seen: Float, runtime: Runtime) -> Float:
        """Optimise the network on a pair [4, y, x] and ask it: (2) or (3)."""
        p = self.params
        how = Optimisation(iterations=p.iterations, rate=p.learning_rate, window=p.window_px, constants=self.constants)
        pair, known = torch.from_numpy(seen[:2]), torch.from_numpy(seen[2:3] * seen[3:])
        return forward(optimised(self.network, pair, known, how, runtime), seen[:2], runtime)


def _mask(known: Mask | None, shape: tuple[int, ...]) -> Float:
    return np.ones(shape, np.float32) if known is None else known.astype(np.float32)


def smoothed(judged: Judged, sigma: float) -> Float:
    """Return (4), [2, y, x] px, of a field that was held against its pair; ``sigma``: deviation of the Gaussian, px."""
    weight = np.maximum(judged.ncc * judged.counts, 0) ** 2 + LEAST
    total = gaussian_filter(weight, sigma, mode="nearest")
    return np.stack([gaussian_filter(weight * c, sigma, mode="nearest") / total for c in judged.field])  # (4)


def trust(judged: Judged) -> Float:
    """Return the confidence (6), [y, x] 0 to 1, of a field that was held against its pair."""
    # The mean of signed values first: strangers agree in one small window and disagree in the next.
    seen = gaussian_filter(judged.counts, TRUST_PX)
    alike = gaussian_filter(judged.counts * judged.ncc, TRUST_PX) / np.maximum(seen, LEAST)  # (5)
    likely = np.clip((alike - CHANCE) / (ALIKE - CHANCE), 0, 1)
    return np.asarray(judged.counts * likely, np.float32)  # (6)


def at_nodes(image: Float, nodes: tuple[int, ...]) -> Float:
    """Return the means [c, y', x'] of an image [c, y, x] over the cells of a coarse grid."""
    return np.asarray(F.interpolate(torch.from_numpy(image)[None], size=nodes, mode="area")[0].numpy())


def build(params: LiFanParams, runtime: Runtime, weights: str | None) -> Any:
    """Load weights, or make an untrained network where pairs are optimised from scratch, and return the method.

    Raises:
        InputError: weights that are missing, damaged or of another architecture.
    """
    if params.refine == "scratch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.seed)
            return Li2017(LiFan(), params)
    return TRAINED(params, runtime, weights)


TRAINED = learned(Recipe, lambda network, _card, params: Li2017(network, params))


SPEC = MethodSpec(
    task="align",
    id="li2017",
    title="Li & Fan 2017",
    summary="A network answers every pair of sections with a smooth displacement; it learned from how alike sections "
    "become, and can go on learning on each pair.",
    paper="Li & Fan 2017, Non-rigid image registration using fully convolutional networks with deep self-supervision",
    params=LiFanParams,
    build=build,
    weights=("pairs",),
    keeps_acquired=False,
    answers="displacement",
    recipes={"pairs": Recipe},
)
