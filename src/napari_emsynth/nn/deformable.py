"""Modulated deformable convolution: a convolution whose taps wander, each with a weight of its own.

With weights ``w_k`` at taps ``p_k`` (3x3: -1, 0, 1 along both axes), offsets ``d_k(p)`` and modulations ``m_k(p)``::

    y(p) = b + sum_k w_k m_k(p) x(p + p_k + d_k(p))                                             (1)

Conventions: offsets are (dy, dx) px, pull; ``x`` is bilinear between pixels and 0 beyond the border. Input channels
fall into ``groups`` of equal size, each with offsets and modulations of its own. Channels of the offsets count group,
tap (row by row), then (dy, dx); those of the modulations group, then tap. Laws: with offsets 0 and modulations 1 it is
the plain convolution padded by zeros; equal whole offsets everywhere shift its input.

Source: (1) of Zhu, Hu, Lin and Dai 2019, "Deformable ConvNets v2"; written on grid sampling, so that every device that
samples can run it.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.warp import pixel_grid

# Edge of the kernel.
KERNEL = 3
TAPS = KERNEL * KERNEL


def sampled(x: Tensor, offsets: Tensor, groups: int) -> Tensor:
    """Return what every tap sees: ``x(p + p_k + d_k(p))``.

    Args:
        x: [b, c, y, x].
        offsets: [b, groups * 9 * 2, y, x] px.
        groups: of which ``c`` is a multiple.

    Returns:
        [b, groups, c / groups, 9, y, x].
    """
    b, c, h, w = x.shape
    reach = torch.arange(KERNEL, device=x.device, dtype=torch.float32) - KERNEL // 2
    taps = torch.stack(torch.meshgrid(reach, reach, indexing="ij")).reshape(2, TAPS)  # (dy, dx) of each tap
    at = offsets.float().reshape(b * groups, TAPS, 2, h, w)
    at = at + taps.T[None, :, :, None, None] + pixel_grid((h, w), x)[:, None]
    # grid_sample wants (x, y) in [-1, 1] between the outer edges of the corner pixels.
    grid = torch.stack(((2 * at[:, :, 1] + 1) / w - 1, (2 * at[:, :, 0] + 1) / h - 1), dim=-1)  # [bg, 9, y, x, 2]
    seen = F.grid_sample(
        x.float().reshape(b * groups, c // groups, h, w),
        grid.reshape(b * groups, TAPS * h, w, 2),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return seen.reshape(b, groups, c // groups, TAPS, h, w).to(x.dtype)


class DeformableConv(nn.Module):
    """(1) with a 3x3 kernel; offsets and modulations come from outside."""

    def __init__(self, c_in: int, c_out: int, groups: int) -> None:
        super().__init__()
        assert c_in % groups == 0, (c_in, groups)
        self.groups = groups
        self.weight = nn.Parameter(torch.empty(c_out, c_in, KERNEL, KERNEL))
        self.bias = nn.Parameter(torch.zeros(c_out))
        nn.init.kaiming_normal_(self.weight, nonlinearity="linear")

    def forward(self, x: Tensor, offsets: Tensor, modulation: Tensor) -> Tensor:
        """Convolve.

        Args:
            x: [b, c_in, y, x].
            offsets: [b, groups * 9 * 2, y, x] (dy, dx) px.
            modulation: [b, groups * 9, y, x].

        Returns:
            [b, c_out, y, x].
        """
        b, c, h, w = x.shape
        seen = sampled(x, offsets, self.groups)
        seen = seen * modulation.reshape(b, self.groups, 1, TAPS, h, w)
        columns = seen.reshape(b, c * TAPS, h, w)
        # A 1x1 convolution over all that the taps saw.
        return F.conv2d(columns, self.weight.reshape(len(self.weight), c * TAPS, 1, 1), self.bias)  # (1)
