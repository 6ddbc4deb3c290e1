"""Residual blocks of 'valid' convolutions, in two or three dimensions.

Conventions: tensors are [b, c, y, x] or [b, c, z, y, x]; a kernel's length says which. Law: a block of ``depth``
convolutions with kernel ``k`` cuts ``depth * (k - 1) / 2`` voxels off each side of an axis, off what is added as off
what it is added to.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Kernel = tuple[int, ...]


def convolution(c_in: int, c_out: int, kernel: Kernel) -> nn.Conv2d | nn.Conv3d:
    """A valid convolution of as many dimensions as the kernel has."""
    if len(kernel) == 2:
        return nn.Conv2d(c_in, c_out, (kernel[0], kernel[1]))
    return nn.Conv3d(c_in, c_out, (kernel[0], kernel[1], kernel[2]))


def border(kernel: Kernel, depth: int = 1) -> Kernel:
    """Return what ``depth`` valid convolutions cut off each side of each axis, voxels."""
    return tuple(depth * (k - 1) // 2 for k in kernel)


def trim(x: Tensor, cut: Kernel) -> Tensor:
    """Cut voxels off both sides of each axis: [b, c, *size] -> [b, c, *(size - 2 cut)]."""
    inner = (slice(c, n - c) for c, n in zip(cut, x.shape[2:], strict=True))
    return x[(slice(None), slice(None), *inner)]


class PreActivationUnit(nn.Module):
    """``depth`` times (rectifier, valid convolution), added to the cropped input.

    Source: He, Zhang, Ren and Sun 2016, "Identity Mappings in Deep Residual Networks", full pre-activation, without
    its normalisation layers.
    """

    def __init__(self, maps: int, kernel: Kernel, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(convolution(maps, maps, kernel) for _ in range(depth))
        self.cut = border(kernel, depth)

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, *size] -> [b, c, *(size - 2 cut)]."""
        y = x
        for conv in self.convs:
            y = conv(F.relu(y))
        return trim(x, self.cut) + y


def start_near_identity(unit: PreActivationUnit, share: float = 0.05) -> None:
    """Initialise a unit so that it passes its input on almost unchanged.

    Args:
        unit: its convolutions get the variance-preserving initialisation, the last one ``share`` of it.
        share: 0 = exactly the identity.
    """
    for conv in unit.convs:
        assert isinstance(conv, nn.Conv2d | nn.Conv3d)
        nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
    with torch.no_grad():
        unit.convs[-1].weight.mul_(share)  # type: ignore[operator]
