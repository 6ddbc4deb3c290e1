"""The expert that looks along z: what lies between two sections, drawn in the plane of the sections.

It is the network that synthesises missing sections (:mod:`napari_emsynth.models.interpolation_unet`), asked for one at
``p`` between the acquired ones below and above, two on each side where there are, and started at kriging::

    offsets = factor (z - p),   z = b - 1, b, b + 1, b + 2,   b = floor(p)                         (1)

Sections are thin to it: it is asked under point sampling only. Arrays are [section, y, x] float32, normalised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.methods.upsample.kriging import SAME, SEEN, kriged
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.models.interpolation_unet import Clues, InterpolationUNet, Sides, distances_of
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Float

# Px looked at around what is computed.
PX = 64
# Cores of this edge keep the halo's share of the work small.
TILE = 512
# Scale of the error of an acquired section, in deviations of the volume.
ACQUIRED = 1e-4


class Between(nn.Module):
    """The network at some places between the same two sections, as the engine wants it: channels in, channels out.

    Args:
        network: that synthesises sections.
        clues: of each place, see :class:`napari_emsynth.models.interpolation_unet.Clues`.
    """

    def __init__(self, network: InterpolationUNet, clues: Sequence[tuple[float, ...]]) -> None:
        super().__init__()
        self.network, self.clues = network, clues

    def forward(self, x: Tensor) -> Tensor:
        """[b, 4 + n, y, x] (below, above, the far ones, then kriging at n places) -> [b, 2 n, y, x]."""
        below, above, far_below, far_above, *starts = x.chunk(x.shape[1], dim=1)
        answers: list[Tensor] = []
        for start, told in zip(starts, self.clues, strict=True):
            sides = Sides(below, above, far_below, far_above, start)
            answers += self.network(sides, Clues.filled(told, x))
        return torch.cat(answers, dim=1)


def between(network: InterpolationUNet, block: Float, ask: Ask, runtime: Runtime) -> tuple[Float, Float]:
    """Draw fine sections of a block of thin sections.

    Args:
        network: in eval mode.
        block: [z, y, x] acquired, normalised.
        ask: which sections.
        runtime: how to compute.

    Returns:
        mean and Laplace scale [n, y, x]. Acquired sections are as surely known as anything.
    """
    mean, error = kriged(block, ask, ask.positions)
    scale = np.full_like(mean, ACQUIRED)
    # Of the whole volume: what is told must not depend on the block.
    told = ask.likeness.noise, ask.likeness.alike
    made = [i for i, p in enumerate(ask.positions) if abs(p - round(p)) > SAME]
    for below, group in groupby(made, key=lambda i: math.floor(ask.positions[i])):
        wanted = list(group)
        near = range(below - SEEN + 1, below + SEEN + 1)
        known = [z for z in near if 0 <= z < len(block)]
        clues = [
            (*distances_of([ask.factor * (z - ask.positions[i]) for z in known]), *told, float(error[i]))
            for i in wanted
        ]
        empty = np.zeros_like(block[0])
        far = [block[z] if z in known else empty for z in (near[0], near[-1])]
        answer = run(
            Between(network, clues),
            np.stack((block[below], block[below + 1], *far, *mean[wanted])),
            halo=PX,
            runtime=runtime,
            tile=TILE,
            multiple=network.config.multiple,
            faces="inside",
            out_channels=2 * len(wanted),
        )
        mean[wanted], scale[wanted] = answer[0::2], np.exp(answer[1::2])
    return mean, scale
