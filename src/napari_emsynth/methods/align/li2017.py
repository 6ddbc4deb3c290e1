"""Li & Fan 2017: registration by a fully convolutional network, with deep self-supervision.

The network answers a pair of sections with the displacement of one onto the other, at their full size
(:mod:`napari_emsynth.models.li2017`); it is optimised for how alike the two become, at several resolutions jointly, and
never sees a known displacement (:mod:`.li2017_loss`). The paper's two forms, and one between them::

    u = u_theta*(f, m)           theta*: trained on many pairs; nothing is optimised any more      (1)
    u = u_theta(f, m),           theta = argmin L(f, m, u_theta) from an untrained network         (2)
                                 the same, from theta*                                             (3)
    c = max(0, <NCC>) M          confidence: (1) of the loss, its mean over a node's cell          (4)

Of (1) and (3) the one with the lower full-size loss ``lambda R - S`` is the answer, and of (2) and the zero field.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.methods.align.aligner import Mask, Neighbour, PairField
from napari_emsynth.methods.align.li2017_loss import LossConfig, local_ncc, roughness
from napari_emsynth.methods.align.li2017_optimise import Optimisation, optimised
from napari_emsynth.methods.align.li2017_recipe import Recipe
from napari_emsynth.methods.align.params import FieldParams
from napari_emsynth.models.li2017 import Config, Finest, LiFan
from napari_emsynth.nn.warp import inside, warp
from napari_emsynth.params import param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Float
from napari_emsynth.weights import store

# Cores of this edge keep the halo's share of the work small; memory stays under 1 GB.
TILE = 768


@dataclass(frozen=True, kw_only=True)
class LiFanParams(FieldParams):
    """What the network is asked to do."""

    refine: str = param(
        "none",
        "Optimise the network on every pair: not at all, starting with the trained weights, or from scratch.",
        choices=("none", "trained", "scratch"),
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


class Agreement(nn.Module):
    """How alike the fixed and the warped moving image are, as the engine wants it: channels in, channels out."""

    def __init__(self, constants: LossConfig) -> None:
        super().__init__()
        self.constants = constants

    def forward(self, x: Tensor) -> Tensor:
        """[b, 6, y, x] (fixed, moving, known of each, dy, dx) -> [b, 2, y, x] NCC, and 1 where it counts."""
        u = x[:, 4:].float()
        warped, known = warp(x[:, 1:2], u), warp(x[:, 3:4], u)
        counts = inside(u) * x[:, 2:3] * (known > 0.5)
        return torch.cat((local_ncc(x[:, :1], warped, self.constants), counts.to(x.dtype)), dim=1)


@dataclass(frozen=True)
class Judged:
    """A field [2, y, x] px and what it makes of the pair: NCC [y, x], and 1 where that counts [y, x]."""

    field: Float
    ncc: Float
    counts: Float

    @property
    def similarity(self) -> float:
        """S of the loss, -1 to 1."""
        return float((self.ncc * self.counts).sum() / max(self.counts.sum(), 1.0))

    def loss(self, constants: LossConfig) -> float:
        """``lambda R - S`` at full size."""
        rough = float(roughness(torch.from_numpy(self.field)[None]))
        return constants.smoothness * rough - self.similarity


class Li2017:
    """The built method: the network, and what is done with it."""

    how: Literal["pairs"] = "pairs"

    def __init__(self, network: LiFan, params: LiFanParams, constants: LossConfig = LossConfig()) -> None:
        self.network, self.params, self.constants = network.eval(), params, constants

    def __call__(
        self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime
    ) -> PairField:
        """Register a section [y, x] onto one neighbour; notes hold the similarities and losses on the way."""
        (neighbour,) = fixed
        masks = [_mask(m, moving.shape) for m in (neighbour.known, known)]
        pair = np.stack((neighbour.image, moving)) * np.stack(masks)
        nodes = tuple(-(-n // self.params.step_px) for n in moving.shape)
        if not all(image.any() for image in pair):
            # One of them is empty or constant: there is nothing to go by.
            return PairField(np.zeros((2, *nodes), np.float32), np.zeros(nodes, np.float32))
        seen = np.concatenate((pair, np.stack(masks)))
        tried = {"before": self._judged(seen, np.zeros_like(pair), runtime)}
        if self.params.refine != "scratch":
            tried["forward"] = self._judged(seen, forward(self.network, pair, runtime), runtime)
        if self.params.refine != "none":
            tried["refined"] = self._judged(seen, self._refined(seen, runtime), runtime)
        losses = {name: judged.loss(self.constants) for name, judged in tried.items()}
        best = tried[self._choice(losses)]
        notes = {f"similarity_{name}": judged.similarity for name, judged in tried.items()}
        notes |= {f"loss_{name}": value for name, value in losses.items()}
        trust = np.maximum(best.ncc, 0) * best.counts  # (4)
        return PairField(at_nodes(best.field, nodes), at_nodes(trust[None], nodes)[0], notes)

    def _choice(self, losses: dict[str, float]) -> str:
        """Which field is the answer: the network's own, or the best once something was optimised."""
        return min(losses, key=lambda name: losses[name]) if self.params.refine != "none" else "forward"

    def _refined(self, seen: Float, runtime: Runtime) -> Float:
        """Optimise the network on the pair [4, y, x] (fixed, moving, known of each) and ask it: (2) and (3)."""
        p = self.params
        how = Optimisation(
            iterations=p.iterations, rate=p.learning_rate, window=p.window_px, constants=self.constants
        )
        pair, known = torch.from_numpy(seen[:2]), torch.from_numpy(seen[2:3] * seen[3:])
        return forward(optimised(self.network, pair, known, how, runtime), seen[:2], runtime)

    def _judged(self, seen: Float, field: Float, runtime: Runtime) -> Judged:
        # A tile must see what its pixels are pulled from.
        reach = math.ceil(float(np.abs(field).max())) + self.constants.window // 2 + 1
        ncc, counts = run(
            Agreement(self.constants),
            np.concatenate((seen, field)),
            halo=reach,
            runtime=_quiet(runtime),
            tile=TILE,
            faces="inside",
            out_channels=2,
        )
        return Judged(field, ncc, counts)


def _quiet(runtime: Runtime) -> Runtime:
    """The same, in full precision and without progress: a pair is one step of the stack's."""
    return Runtime(
        device=runtime.device, precision="fp32", tile=runtime.tile, seed=runtime.seed, cancel=runtime.cancel,
        note=runtime.note,
    )  # fmt: skip


def _mask(known: Mask | None, shape: tuple[int, ...]) -> Float:
    return np.ones(shape, np.float32) if known is None else known.astype(np.float32)


def forward(network: LiFan, pair: Float, runtime: Runtime) -> Float:
    """Return the network's displacement [2, y, x] px of a pair [2, y, x] (fixed, moving), tile by tile: (1)."""
    field: Float = run(
        Finest(network),
        pair,
        halo=network.config.reach,
        runtime=_quiet(runtime),
        tile=TILE,
        multiple=network.config.multiple,
        faces="inside",
        out_channels=2,
    )
    return field


def at_nodes(image: Float, nodes: tuple[int, ...]) -> Float:
    """Return the means [c, y', x'] of an image [c, y, x] over the cells of a coarse grid."""
    return np.asarray(F.interpolate(torch.from_numpy(image)[None], size=nodes, mode="area")[0].numpy())


def build(params: LiFanParams, runtime: Runtime, weights: str | None) -> Li2017:
    """Load weights, or make an untrained network where pairs are optimised from scratch, and return the method.

    Raises:
        InputError: weights that are missing, damaged or of another architecture.
    """
    if params.refine == "scratch":
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(runtime.seed)
            return Li2017(LiFan(), params)
    network, _ = store.restored(
        SPEC.name, weights or SPEC.weights[0], lambda config: LiFan(Config.from_json(config))
    )
    return Li2017(network, params)


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
