"""A pyramid flow network: how structures moved from one section to the next, coarse to fine.

::

    level l:  u <- 2 up(u),   u <- u + g_l(fixed_l, moving_l(p + u), u)        fixed_l, moving_l: means of 2^l x 2^l px

``g_l`` is a stack of convolutions of its own at every level. The paper (Shou et al. 2024) borrows SPyNet (Ranjan and
Black 2017) with weights trained on films; ours has its form and is trained on sections under known distortions. The
paper's sizes are SPyNet's: kernels of 7 px and 32-64-32-16 maps; the number of levels is ours, because low-resolution
sections are small.

Conventions: sections are [b, 1, y, x] normalised; displacements [b, 2, y, x] (dy, dx) px, pull:
``moving(p + u(p)) ~ fixed(p)``. Law: untrained, nothing moves.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.rectified import SLOPE
from napari_emsynth.nn.warp import upsample_flow, warp


class Step(nn.Module):
    """g_l: what is still to be added to the displacement at one level."""

    def __init__(self, widths: Sequence[int], kernel: int) -> None:
        super().__init__()
        # Fixed, moving and two components in; two components out.
        self.convs = nn.ModuleList(nn.Conv2d(a, b, kernel, padding=kernel // 2) for a, b in pairwise((4, *widths, 2)))
        for layer in self.convs:
            assert isinstance(layer, nn.Conv2d)
            assert layer.bias is not None
            nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
            nn.init.zeros_(layer.bias)
        nn.init.zeros_(self.convs[-1].weight)  # type: ignore[arg-type]

    def forward(self, fixed: Tensor, moved: Tensor, u: Tensor) -> Tensor:
        """[b, 1, y, x] twice and [b, 2, y, x] -> [b, 2, y, x] px of this level."""
        x = torch.cat((fixed, moved, u), dim=1)
        for i, layer in enumerate(self.convs):
            x = layer(F.leaky_relu(x, SLOPE) if i else x)
        return x


class PyramidFlow(nn.Module):
    """The displacement between two sections (see the module's figure).

    Args:
        levels: of the pyramid; sizes must be multiples of ``2^(levels - 1)`` px.
        widths: feature maps of a level's convolutions.
        kernel: their edge, odd.
    """

    def __init__(self, *, levels: int, widths: Sequence[int], kernel: int) -> None:
        super().__init__()
        self.steps = nn.ModuleList(Step(widths, kernel) for _ in range(levels))

    def levels(self, moving: Tensor, fixed: Tensor) -> list[Tensor]:
        """Return the displacement at every level, coarse to fine, [b, 2, y / 2^l, x / 2^l] in px of that level."""
        pyramid = [(fixed, moving)]
        for _ in range(len(self.steps) - 1):
            pyramid.append(tuple(F.avg_pool2d(section, 2) for section in pyramid[-1]))  # type: ignore[arg-type]
        u = fixed.new_zeros((len(fixed), 2, 1, 1)).expand(-1, -1, *pyramid[-1][0].shape[-2:])
        found: list[Tensor] = []
        for step, (still, other) in zip(self.steps, reversed(pyramid), strict=True):
            if found:
                u = upsample_flow(u, still.shape[-2:])
            u = u + step(still, warp(other, u), u)
            found.append(u)
        return found

    def forward(self, moving: Tensor, fixed: Tensor) -> Tensor:
        """[b, 1, y, x] twice -> displacement [b, 2, y, x] px."""
        return self.levels(moving, fixed)[-1]
