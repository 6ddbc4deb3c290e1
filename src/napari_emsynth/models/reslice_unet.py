"""The reslice U-Net: sharpens planes of a volume that was guessed between sections, told how these were acquired.

::

    planes  v-2 .. v+2 of a guessed volume    --unshuffle--> E0 -> E1 -> E2 -> E3     (guessed: kriging, means kept)
    place of every row between two sections  --unshuffle-->  |     |     |     |
                                                             D0 <- D1 <- D2 <- D3 <- factor, sampling (every level)
    row by row:  mean = plane v + residual,  log scale  <----'

A plane is a reslice: rows run along z (sections), columns along x or y; its neighbours v-2 .. v+2 lie beside it. Law
(start): with the zero-initialised head the mean is the guessed plane. Law (mirror): nothing knows up from down, but
what it was shown; where the sides are unknown they are zero, and the network is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.rectified import SLOPE, Residual, conv, rectified

# Levels run at 1/2, 1/4, ... of full resolution; the first factor of two is a pixel unshuffle.
UNSHUFFLE = 2
# What a plane is told of its acquisition: log2 of the factor, sampling, whether the side planes are known.
FACTS = 3
# What a row is told: the sine and the cosine of its place between two sections.
PLACES = 2


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network.

    Args:
        widths: feature maps at 1/2, 1/4, 1/8 and 1/16 resolution.
        sides: planes seen on each side of the wanted one.
    """

    widths: tuple[int, ...] = (32, 56, 96, 128)
    sides: int = 2

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def planes(self) -> int:
        """Planes that are seen at once."""
        return 2 * self.sides + 1

    @property
    def multiple(self) -> int:
        """Input sizes must be multiples of this many px."""
        return int(UNSHUFFLE * 2 ** (len(self.widths) - 1))


class DecoderLevel(nn.Module):
    """Merges one level's features with the coarser state and with the facts."""

    def __init__(self, width: int, coarser: int, depth: int) -> None:
        super().__init__()
        self.own = conv(width, width)
        self.coarser = nn.Conv2d(coarser, width, 1, bias=False) if coarser else None
        self.facts = nn.Linear(FACTS, width, bias=False)
        self.refine = Residual(width, depth)

    def forward(self, own: Tensor, coarser: Tensor | None, facts: Tensor) -> Tensor:
        """Merge: own [b, w, y, x], coarser [b, w', y/2, x/2] or None, facts [b, 3] -> [b, w, y, x]."""
        x: Tensor = self.own(own)
        x += self.facts(facts)[:, :, None, None]
        if coarser is not None and self.coarser is not None:
            x += F.interpolate(self.coarser(coarser), size=own.shape[-2:], mode="bilinear", align_corners=False)
        return torch.as_tensor(self.refine(x))


class ResliceUNet(nn.Module):
    """Sharpen guessed planes, with an error estimate (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        w, k = config.widths, UNSHUFFLE**2
        self.stem = conv((config.planes + PLACES) * k, w[0])
        self.down = nn.ModuleList(conv(a, b, 2) for a, b in pairwise(w))
        self.encode = nn.ModuleList(Residual(width, 2) for width in w)
        self.decode = nn.ModuleList(
            DecoderLevel(w[i], w[i + 1] if i + 1 < len(w) else 0, depth=2) for i in range(len(w))
        )
        self.head = conv(w[0], 2 * k)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, planes: Tensor, places: Tensor, facts: Tensor) -> tuple[Tensor, Tensor]:
        """Sharpen a batch of planes.

        Args:
            planes: [b, planes, y, x] normalised, rows along z; y and x multiples of ``config.multiple``.
            places: [b, y] place of every row between two sections, in [0, 1): 0 = a section's centre.
            facts: [b, 3] of :func:`facts_of`.

        Returns:
            mean [b, 1, y, x] and log of the Laplace scale [b, 1, y, x], normalised units.
        """
        middle = self.config.sides
        angle = 2 * math.pi * places[:, None, :, None].expand(-1, 1, -1, planes.shape[-1])
        seen = torch.cat((planes, torch.sin(angle), torch.cos(angle)), dim=1)
        x = rectified(self.stem(F.pixel_unshuffle(seen, UNSHUFFLE)))  # [b, w0, y/2, x/2]
        features = []
        for level, encode in enumerate(self.encode):
            if level:
                x = rectified(self.down[level - 1](x))  # half the size
            x = encode(x)
            features.append(x)
        state: Tensor | None = None
        for level in range(len(features) - 1, -1, -1):
            state = self.decode[level](features[level], state, facts)
        assert state is not None
        full = F.pixel_shuffle(self.head(F.leaky_relu(state, SLOPE)), UNSHUFFLE)  # [b, 2, y, x]
        return planes[:, middle : middle + 1] + full[:, :1], full[:, 1:] - 1.0


def facts_of(factor: float, slab: bool, sides: bool) -> tuple[float, float, float]:
    """Return what a plane is told: factor (2 to 12), whether sections are slabs, whether side planes are known."""
    return math.log2(factor) / 4, float(slab), float(sides)
