"""The convolutional autoencoder of ssEMnet (Yoo, Hildebrand, Tobin, Lee and Jeong 2017): features to register by.

::

    section --down--> 1/2 --refine--> --down--> 1/4 --refine--> --down--> 1/8 --refine--> features        encoder, theta
    section <---up--- 1/2 <--refine-- <---up--- 1/4 <--refine-- <---up--- 1/8 <--refine-- features        decoder, phi

``down`` is a 4x4 convolution of stride 2, ``up`` the transposed one ('deconvolution'), ``refine`` a 3x3 convolution;
each but the last ``up`` ends in a rectifier. The paper fixes that the network is fully convolutional, rectified and
decoded by deconvolutions; sizes and numbers of maps are ours, and so is the linear output, because sections come
normalised (zero mean, unit deviation).

Laws: even kernels make a feature the centre of the pixels it stands for: feature i of n lies at px
``(i + 0.5) * N / n - 0.5``; a section moved by ``Config.multiple`` px gives features moved by one (away from the
border, beyond which everything is 0).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Edges of the kernels that change the size by STRIDE and of those that keep it.
KERNEL, STRIDE, REFINE = 4, 2, 3


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network.

    Args:
        widths: feature maps at 1/2, 1/4, ... of the section's size; the last are the features.
    """

    widths: tuple[int, ...] = (16, 32, 64)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def multiple(self) -> int:
        """Input sizes must be multiples of this many px; features are this many times smaller."""
        return int(STRIDE ** len(self.widths))

    @property
    def receptive_field(self) -> int:
        """Edge in px of the square that one feature depends on."""
        field, jump = 1, 1
        for _ in self.widths:
            field += (KERNEL - 1) * jump
            jump *= STRIDE
            field += (REFINE - 1) * jump
        return field


def spread(layer: nn.Conv2d | nn.ConvTranspose2d, gain: float = 2.0) -> None:
    """Initialise so that the variance of what comes in is kept (gain 2 makes up for a rectifier).

    PyTorch counts a transposed kernel's inputs as if all of it met at every pixel.
    """
    taps = layer.kernel_size[0] * layer.kernel_size[1]
    if isinstance(layer, nn.ConvTranspose2d):
        taps //= layer.stride[0] * layer.stride[1]
    nn.init.normal_(layer.weight, std=(gain / (layer.in_channels * taps)) ** 0.5)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)


def down(c_in: int, c_out: int) -> nn.Conv2d:
    """Halve the size."""
    return nn.Conv2d(c_in, c_out, KERNEL, stride=STRIDE, padding=1)


def up(c_in: int, c_out: int) -> nn.ConvTranspose2d:
    """Double the size."""
    return nn.ConvTranspose2d(c_in, c_out, KERNEL, stride=STRIDE, padding=1)


def refine(width: int) -> nn.Conv2d:
    """Keep size and maps."""
    return nn.Conv2d(width, width, REFINE, padding=1)


class Encoder(nn.Module):
    """Section to features."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.down = nn.ModuleList(down(a, b) for a, b in pairwise((1, *widths)))
        self.refine = nn.ModuleList(refine(w) for w in widths)

    def forward(self, section: Tensor) -> Tensor:
        """[b, 1, y, x] -> [b, widths[-1], y / 2^n, x / 2^n], not negative."""
        return self.states(section)[-1]

    def states(self, section: Tensor) -> list[Tensor]:
        """Return what every layer answers; the last are the features."""
        found, x = [], section
        for layer in self._layers():
            x = F.relu(layer(x))  # [b, w, y / 2^(i+1), x / 2^(i+1)]
            found.append(x)
        return found

    def back(self, states: list[Tensor], slope: Tensor) -> Tensor:
        """Return the slope of a number over the section, [b, 1, y, x], from its slope over the features.

        The same as autograd's, for a frozen network, without its bookkeeping.

        Args:
            states: of :meth:`states`.
            slope: [b, c, y', x'] over the last of them.
        """
        for layer, state in zip(reversed(self._layers()), reversed(states), strict=True):
            slope = torch.ops.aten.threshold_backward(slope, state, 0)  # of the rectifier
            # The adjoint of the layer, whose padding is a number along each axis.
            padding = (layer.kernel_size[0] - 1) // 2, (layer.kernel_size[1] - 1) // 2
            slope = F.conv_transpose2d(slope, layer.weight, stride=layer.stride, padding=padding)
        return slope

    def _layers(self) -> list[nn.Conv2d]:
        """Return the convolutions in order; all are followed by a rectifier."""
        pairs = zip(self.down, self.refine, strict=True)
        return [layer for pair in pairs for layer in pair if isinstance(layer, nn.Conv2d)]


class Decoder(nn.Module):
    """Features to section."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        sizes = (*reversed(widths), 1)
        self.refine = nn.ModuleList(refine(w) for w in sizes[:-1])
        self.up = nn.ModuleList(up(a, b) for a, b in pairwise(sizes))

    def forward(self, features: Tensor) -> Tensor:
        """[b, widths[-1], y, x] -> [b, 1, 2^n y, 2^n x]."""
        x = features
        for i, (keep, double) in enumerate(zip(self.refine, self.up, strict=True)):
            x = double(F.relu(keep(x)))
            if i + 1 < len(self.up):
                x = F.relu(x)
        return x


class Autoencoder(nn.Module):
    """Encoder and decoder (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config.widths)
        self.decoder = Decoder(config.widths)
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
                spread(layer)
        spread(self.decoder.up[-1], gain=1.0)  # type: ignore[arg-type]  # the one layer without a rectifier

    def forward(self, section: Tensor) -> Tensor:
        """Redraw sections from their features.

        Args:
            section: [b, 1, y, x] normalised, y and x multiples of ``config.multiple``.

        Returns:
            [b, 1, y, x] normalised.
        """
        return torch.as_tensor(self.decoder(self.encoder(section)))
