"""3x3 convolutions with leaky rectifiers and no normalisation, as our own U-Nets are made of.

Conventions: tensors are [b, c, y, x]; sizes stay (or halve). Initialised so that variance stays too.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Negative slope of the leaky rectifiers.
SLOPE = 0.1


def conv(c_in: int, c_out: int, stride: int = 1, *, bias: bool = True) -> nn.Conv2d:
    """A 3x3 convolution that keeps (or halves) the size, and at the start the variance of what it is given.

    Without normalisation layers the default initialisation shrinks the signal to 0.4 in every layer.
    """
    layer = nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, bias=bias)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def halving(c_in: int, c_out: int, *, bias: bool = True) -> nn.Conv2d:
    """A 4x4 convolution of stride 2; unlike with 3x3, edges stay: pixel ``i`` stands for ``2 i`` and ``2 i + 1``."""
    layer = nn.Conv2d(c_in, c_out, 4, stride=2, padding=1, bias=bias)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier that takes the place of its input (a convolution's answer, which nothing else needs)."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class Residual(nn.Module):
    """``depth`` 3x3 convolutions, each after its activation, and an identity skip."""

    def __init__(self, width: int, depth: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(conv(width, width) for _ in range(depth))
        with torch.no_grad():
            self.convs[-1].weight.mul_(0.2)  # type: ignore[operator]  # start near the identity

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, y, x] -> [b, c, y, x]."""
        first, *rest = self.convs
        y = first(F.leaky_relu(x, SLOPE))
        for layer in rest:
            y = layer(rectified(y))
        return torch.as_tensor(y.add_(x))


def levelled(x: Tensor, maps: int) -> Tensor:
    """Return features whose root mean square over maps is 1 everywhere.

    What is added to a network that does well already is noise at first, which learning would rather silence than
    better: of even strength it cannot.

    Args:
        x: features.
        maps: their axis.
    """
    return x * torch.rsqrt(x.square().mean(dim=maps, keepdim=True) + 1e-6)
