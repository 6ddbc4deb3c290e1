"""Our own default: displacement fields by a network that tells distortion from structure, and a solver for the stack.

The network (:mod:`napari_emsynth.models.alignment_net`) answers a pair of sections with a field ``u`` and the length
``b`` of the error it expects; :mod:`.emsynth_recipe` says how it learned that. Its answer is trusted by ::

    c = 1 / (1 + (b / B)^2),   B = 1 px                                                               (1)

where both sections are tissue, and abstains elsewhere. Where the sections agree pixel by pixel, the answer is made
exact (:mod:`.polish`). Three neighbours
are asked about every section; the stack
solver (:mod:`.solve`) lets them vote, keeps the slow true drift of structures, and gives every section its field.

What pulls the moving section onto the fixed one is what undoes the other way round. With ``ways`` 2 both are asked for,
and after every answer, and once more when it was polished, ::

    u <- (u + v^-1) / 2,   v <- (v + u^-1) / 2        v: of the fixed section onto the moving one     (2)

Law: with ``ways`` 2, swapping the two sections inverts the answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.methods.align.emsynth.polish import polish
from napari_emsynth.methods.align.emsynth.recipe import Equivariant, Hybrid, Warps
from napari_emsynth.methods.align.params import SolvedParams
from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField, Question
from napari_emsynth.methods.align.stack.pair import on_nodes
from napari_emsynth.methods.align.stack.sections import pull
from napari_emsynth.methods.building import learned
from napari_emsynth.models.alignment_net import STRIDE, AlignmentNet
from napari_emsynth.nn.gaussian import smoothed
from napari_emsynth.nn.warp import followed, inverted, warp
from napari_emsynth.params import param
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Float

# (1): errors of this length halve the trust, px.
HALF_TRUST_PX = 1.0
# How often the network is asked about a pair, the second time with the section as it was pulled. The answer to a warped
# section is the warped answer to within 0.78 px when it is asked once, and 0.64 px when twice (training sections 50 nm
# apart); a third time adds nothing.
ANSWERS = 2
# Deviation of the Gaussian that smooths the network's answers, px.
ANSWER_SMOOTH_PX = 8.0
# Tiles of large sections, and what they see of each other: the coarsest level looks this far.
TILE, HALO = 1536, 256


@dataclass(frozen=True, kw_only=True)
class EmsynthParams(SolvedParams):
    """Parameters of our default."""

    ways: int = param(
        1, "2 registers neighbours onto the section, too, and averages: steadier between unlike sections, "
        "in twice the time.", low=1, high=2, advanced=True,
    )  # fmt: skip


class Emsynth:
    """The built method."""

    how: Literal["pairs"] = "pairs"

    def __init__(self, network: AlignmentNet, params: EmsynthParams) -> None:
        self.network, self.params = network.eval(), params

    def __call__(self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime) -> PairField:
        """Register a section [y, x] onto one neighbour."""
        (found,) = self.together([Question(moving, fixed, known)], runtime)
        return found

    def together(self, questions: Sequence[Question], runtime: Runtime) -> list[PairField]:
        """Register sections [y, x] of one size, each onto one neighbour."""
        runtime.cancel.check()
        shape = questions[0].moving.shape
        found = run(
            REGISTER[self.params.ways](self.network),
            np.stack([seen(question) for question in questions], axis=1),
            halo=(0, *(HALO if max(shape) > TILE else 0,) * 2),
            tile=(1, TILE, TILE),
            multiple=(1, *(self.network.config.multiple,) * 2),
            out_channels=3,
            runtime=runtime,
        )
        nodes = (-(-shape[0] // self.params.step_px), -(-shape[1] // self.params.step_px))
        return [
            on_nodes(PairField(answer[:2], trusted(answer, question)), nodes)
            for answer, question in zip(found.swapaxes(0, 1), questions, strict=True)
        ]


def seen(question: Question) -> Float:
    """Return what the network is shown, [4, y, x]: moving, fixed, and 1 where each is known."""
    (neighbour,) = question.fixed
    known = [mask_of(k, question.moving) for k in (question.known, neighbour.known)]
    return np.stack((question.moving, neighbour.image, *known))


def trusted(answer: Float, question: Question) -> Float:
    """Return the confidence [y, x] of an answer [3, y, x] (dy, dx, log b): (1) on tissue of both, else 0."""
    trust = 1 / (1 + (np.exp(answer[2]) / HALF_TRUST_PX) ** 2)  # (1)
    theirs = question.fixed[0].known
    if theirs is not None:
        trust = trust * theirs
    if question.known is not None:
        there, outside = pull(question.known.astype(np.float32), answer[:2], "linear")
        trust = trust * np.where(outside, np.float32(0), there)
    return np.asarray(trust, np.float32)


def mask_of(known: Mask | None, like: Float) -> Float:
    """Return what is known [y, x] as 0 and 1."""
    return np.ones_like(like) if known is None else known.astype(np.float32)


class Dense(nn.Module):
    """The network with a polished answer to every pixel.

    [b, 4, 1, y, x] (moving, fixed, and 1 where each is known) -> [b, 3, 1, y, x] (dy, dx, log b).
    """

    def __init__(self, network: AlignmentNet) -> None:
        super().__init__()
        self.network = network

    def asked(self, pairs: Tensor) -> Tensor:
        """Return all pairs that are looked at, [n, 4, y, x], those that are answered first."""
        return pairs

    def agreed(self, u: Tensor) -> Tensor:
        """Return what these pairs' fields [n, 2, y, x] px are, seen together."""
        return u

    def forward(self, pairs: Tensor) -> Tensor:
        """Register, spread the nodes' answers over the pixels, and polish them."""
        asked = self.asked(pairs[:, :, 0])
        moving, fixed, known = asked[:, :1], asked[:, 1:2], asked[:, 2:]
        # Every section's features are computed once.
        target = self.network.encoder(fixed)
        dense, log_scale = self._answer(moving, target)
        dense = self.agreed(dense)
        for _ in range(ANSWERS - 1):
            more, log_scale = self._answer(warp(moving, dense), target)
            dense = self.agreed(followed(more, dense))
        # Fields are lengths: half precision is for networks.
        with torch.autocast(pairs.device.type, enabled=False):
            exact = self.agreed(polish(moving, fixed, known, dense))
        return torch.cat((exact, log_scale), dim=1)[: len(pairs), :, None]

    def _answer(self, moving: Tensor, target: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the field [b, 2, y, x] px and log b [b, 1, y, x] of a section onto the features of another."""
        answer = self.network.match(self.network.encoder(moving), target)
        # The network's answers scatter from node to node; no distortion does.
        nodes = smoothed(answer.displacement, ANSWER_SMOOTH_PX / STRIDE)
        size = (moving.shape[-2], moving.shape[-1])
        dense, log_scale = (
            F.interpolate(a, size=size, mode="bilinear", align_corners=False) for a in (nodes.float(), answer.log_scale)
        )
        return dense, log_scale


class BothWays(Dense):
    """The same, of what both ways round agree on: (2)."""

    def asked(self, pairs: Tensor) -> Tensor:
        """Return the pairs, and all of them swapped."""
        back = pairs.reshape(len(pairs), 2, 2, *pairs.shape[2:]).flip(2).flatten(1, 2)
        return torch.cat((pairs, back))

    def agreed(self, u: Tensor) -> Tensor:
        """Return (2) of fields of the moving sections onto the fixed ones, and then of the other way."""
        return (u + inverted(u.roll(len(u) // 2, dims=0))) / 2  # (2)


# By ``ways``.
REGISTER = {1: Dense, 2: BothWays}


SPEC = MethodSpec(
    task="align",
    id="emsynth",
    title="EMSynth",
    summary="Smooth displacements by a network that tells distortion from structure, voted on by several neighbours; "
    "keeps the slow true drift, says where it is not sure, and draws no voxel.",
    params=EmsynthParams,
    build=learned(Warps, lambda network, _card, params: Emsynth(network, params)),
    weights=("hybrid",),
    keeps_acquired=False,
    answers="displacement",
    recipes={"hybrid": Hybrid, "equivariant": Equivariant, "warps": Warps},
)
