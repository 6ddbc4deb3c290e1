"""What a network says of one pair, and what that makes of the pair; tile by tile, in two dimensions or three.

A pair is [2, *size] (fixed, moving), normalised; displacements are [d, *size] px, pull. Law: cut into tiles or not, the
answers are the same.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.methods.align.li2017.loss import LossConfig, local_ncc, roughness
from napari_emsynth.models.li2017 import Finest, LiFan
from napari_emsynth.nn.warp import inside, warp
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Float

# Cores of sections of this edge keep the halo's share of the work small; of volumes the engine's own.
TILE = {2: 768, 3: None}


def quiet(runtime: Runtime) -> Runtime:
    """The same without progress and in full precision: a pair is one step of the stack's, a field is lengths."""
    return Runtime(
        device=runtime.device, precision="fp32", tile=runtime.tile, seed=runtime.seed, cancel=runtime.cancel,
        note=runtime.note,
    )  # fmt: skip


def forward(network: LiFan, pair: Float, runtime: Runtime, passes: int = 1) -> Float:
    """Return the network's displacement [d, *size] px of a pair [2, *size].

    Args:
        network: of the pair's dimension.
        pair: (fixed, moving), normalised.
        runtime: how to compute.
        passes: how often it is asked; from the second time on with the moving image as it was pulled so far.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    field = _asked(network, pair, runtime)
    for _ in range(passes - 1):
        nearer = np.concatenate((pair[:1], pulled(pair[1:], field, runtime)))
        step = _asked(network, nearer, runtime)
        # pulled(p + step(p)) = moving(p + step(p) + field(p + step(p)))
        field = step + pulled(field, step, runtime)
    return field


def _asked(network: LiFan, pair: Float, runtime: Runtime) -> Float:
    config = network.config
    field: Float = run(
        Finest(network.eval()),
        pair,
        halo=config.reach,
        runtime=quiet(runtime),
        tile=TILE[config.dimension],
        multiple=config.multiple,
        faces="inside",
        out_channels=config.dimension,
    )
    return field


def pulled(images: Float, field: Float, runtime: Runtime) -> Float:
    """Return images [c, *size] pulled along a field [d, *size] px, linear between pixels."""
    count = len(images)
    out: Float = run(
        lambda x: warp(x[:, :count], x[:, count:]),
        np.concatenate((images, field)),
        halo=_reach(field),
        runtime=quiet(runtime),
        tile=TILE[len(field)],
        faces="inside",
        out_channels=count,
    )
    return out


def _reach(field: Float) -> int:
    """Return how far a tile must see to know what its pixels are pulled from, px."""
    return math.ceil(float(np.abs(field).max())) + 1


class Agreement(nn.Module):
    """How alike the fixed and the warped moving image are, as the engine wants it: channels in, channels out."""

    def __init__(self, constants: LossConfig) -> None:
        super().__init__()
        self.constants = constants

    def forward(self, x: Tensor) -> Tensor:
        """[b, 4 + d, *size] (fixed, moving, known of each, displacement) -> [b, 2, *size] NCC, 1 where it counts."""
        u = x[:, 4:].float()
        warped, known = warp(x[:, 1:2], u), warp(x[:, 3:4], u)
        counts = inside(u) * x[:, 2:3] * (known > 0.5)
        return torch.cat((local_ncc(x[:, :1], warped, self.constants), counts.to(x.dtype)), dim=1)


@dataclass(frozen=True, eq=False)
class Judged:
    """A field and what it makes of its pair.

    Args:
        field: [d, *size] px.
        ncc: [*size] -1 to 1.
        counts: [*size] 1 where the pixel is known in both images and pulled from within, 0 elsewhere.
        smoothness: lambda of the loss.
    """

    field: Float
    ncc: Float
    counts: Float
    smoothness: float

    @property
    def similarity(self) -> float:
        """S of the loss, -1 to 1; 0 where nothing counts."""
        return float((self.ncc * self.counts).sum() / max(self.counts.sum(), 1.0))

    @property
    def loss(self) -> float:
        """``lambda R - S`` at full size."""
        return self.smoothness * float(roughness(torch.from_numpy(self.field)[None])) - self.similarity


def judge(seen: Float, field: Float, constants: LossConfig, runtime: Runtime) -> Judged:
    """Hold a field against its pair.

    Args:
        seen: [4, *size] (fixed, moving, 1 where each is known).
        field: [d, *size] px.
        constants: of the loss.
        runtime: how to compute.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    ncc, counts = run(
        Agreement(constants),
        np.concatenate((seen, field)),
        halo=_reach(field) + constants.window // 2,
        runtime=quiet(runtime),
        tile=TILE[len(field)],
        faces="inside",
        out_channels=2,
    )
    return Judged(field, ncc, counts, constants.smoothness)
