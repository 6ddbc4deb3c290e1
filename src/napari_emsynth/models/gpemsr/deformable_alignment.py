"""The pyramid alignment (POD) of GPEMSR (Shou et al. 2024): features of a neighbour moved onto the middle section.

::

    level l = 2, 1, 0 (1/4, 1/2, 1/1 of low resolution):
        middle_l, neighbour_l(p + u_l), u_l --conv--> (+ the coarser level's) --conv--> offsets, modulations
        neighbour_l --deformable convolution--> (+ the coarser level's, doubled) --conv--> aligned_l
    aligned_0, middle_0 --conv--> offsets, modulations;   aligned_0 --deformable convolution--> answer

``u_l`` is a flow found beforehand, at the size of the level. From the paper: deformable convolutions in a pyramid of
three levels whose offsets see a pyramid flow; the authors' released configuration has 8 groups. The last deformable
convolution is that of Wang, Chan, Yu, Dong and Loy 2019, "EDVR", whose scheme it is. Ours: the flow is also added to
the offsets (Chan, Zhou, Xu and Loy 2022), which deviate from it by no more than :data:`DEVIATION` px, heads that start
at zero, so that at first neighbours are pulled along the flow and no further, and that learn at :data:`PACE`, and
modulations from 0.54 to 1.46: free ones fell to nothing within minutes and stayed there, and with them all that the
neighbours say.

Features are [b, c, y, x]; flows [b, 2, y, x] (dy, dx) px of low resolution, pull: ``neighbour(p + u) ~ middle(p)``.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.deformable import TAPS, DeformableConv
from napari_emsynth.nn.rectified import conv, halving, rectified
from napari_emsynth.nn.warp import warp

LEVELS = 3
# Furthest that a tap may wander from the flow, px of its level.
DEVIATION = 8.0
# What the heads' answers are multiplied by.
PACE = 0.05


def doubled(x: Tensor) -> Tensor:
    """Return features at twice the size."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


class Guided(nn.Module):
    """A deformable convolution with its head: guide features say where its taps wander from the flow."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.groups = groups
        self.head = conv(width, groups * TAPS * 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.convolve = DeformableConv(width, width, groups)

    def forward(self, x: Tensor, guide: Tensor, flow: Tensor | None = None) -> Tensor:
        """x, guide [b, c, y, x], flow [b, 2, y, x] px or None -> [b, c, y, x]."""
        steer = PACE * self.head(guide)
        wander, weigh = steer.split((self.groups * TAPS * 2, self.groups * TAPS), dim=1)
        offsets = DEVIATION * torch.tanh(wander / DEVIATION)
        if flow is not None:
            offsets = offsets + flow.repeat(1, self.groups * TAPS, 1, 1)
        return torch.as_tensor(self.convolve(x, offsets, 2 * torch.sigmoid(torch.tanh(weigh))))


class Level(nn.Module):
    """One level of the pyramid; ``coarser`` says whether another one came before."""

    def __init__(self, width: int, groups: int, *, coarser: bool) -> None:
        super().__init__()
        self.look = conv(2 * width + 2, width)
        self.guide = conv(2 * width if coarser else width, width)
        self.deform = Guided(width, groups)
        self.join = conv(2 * width, width) if coarser else None

    def forward(
        self, middle: Tensor, neighbour: Tensor, flow: Tensor, before: tuple[Tensor, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Align at one level.

        Args:
            middle: [b, c, y, x].
            neighbour: [b, c, y, x].
            flow: [b, 2, y, x] px of this level.
            before: guide and aligned features of the coarser level [b, c, y / 2, x / 2], None at the coarsest.

        Returns:
            guide and aligned features [b, c, y, x].
        """
        guide = rectified(self.look(torch.cat((middle, warp(neighbour, flow), flow), dim=1)))
        if before is not None:
            guide = torch.cat((guide, doubled(before[0])), dim=1)
        guide = rectified(self.guide(guide))
        aligned = self.deform(neighbour, guide, flow)
        if before is not None and self.join is not None:
            aligned = self.join(torch.cat((aligned, doubled(before[1])), dim=1))
        return guide, rectified(aligned)


class DeformableAlignment(nn.Module):
    """Align features of neighbours with those of the middle section (see the module's figure)."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.down = nn.ModuleList(halving(width, width) for _ in range(LEVELS - 1))
        self.levels = nn.ModuleList(Level(width, groups, coarser=i < LEVELS - 1) for i in range(LEVELS))
        self.look = conv(2 * width, width)
        self.last = Guided(width, groups)

    def pyramid(self, features: Tensor) -> list[Tensor]:
        """[b, c, y, x], multiples of 4 -> features at 1/1, 1/2, 1/4."""
        found = [features]
        for layer in self.down:
            found.append(rectified(layer(found[-1])))
        return found

    def forward(self, middle: list[Tensor], neighbour: list[Tensor], flow: Tensor) -> Tensor:
        """Align.

        Args:
            middle: its :meth:`pyramid`.
            neighbour: its :meth:`pyramid`.
            flow: [b, 2, y, x] px.

        Returns:
            [b, c, y, x].
        """
        before: tuple[Tensor, Tensor] | None = None
        for i in range(LEVELS - 1, -1, -1):
            u = F.avg_pool2d(flow, 2**i) / 2**i
            before = self.levels[i](middle[i], neighbour[i], u, before)
        assert before is not None
        aligned = before[1]
        guide = rectified(self.look(torch.cat((aligned, middle[0]), dim=1)))
        return torch.as_tensor(self.last(aligned, guide))
