"""Li & Fan 2017: a fully convolutional network that answers two images with the displacement between them.

::

    (fixed, moving) -> E0 -> E1 -> E2 -> E3 -> E4          encoder: 1/1, 1/2, ... 1/16
                        |     |     |     |     |
                       D0 <- D1 <- D2 <- D3 <- D4          decoder: coarser state, upsampled, and the skip
                        |     |     |
                       h0    h1    h2                      regression heads at 1/1, 1/2, 1/4

    u_2 = G * h_2(D2),    u_k = G * (up(u_k+1) + h_k(D_k))                                       (1)

with ``up`` twofold linear upsampling that doubles the vectors and ``G`` a Gaussian. The displacement is at the
resolution of the images, and the network is the same in two dimensions and in three.

From the paper [P]: a fully convolutional network on the pair, displacements at image resolution, regression at several
resolutions jointly. Ours [O]: every size in :class:`Config`, the increments and the Gaussian of (1), leaky rectifiers
without normalisation layers (an answer must not depend on how an image is cut into tiles).

Conventions: images are [b, 1, y, x] or [b, 1, z, y, x], normalised, sizes multiples of ``Config.multiple``;
displacements (dy, dx) or (dz, dy, dx), pull: ``moving(p + u(p)) ~ fixed(p)``. Law: an untrained network answers zero.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Any, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.nn.gaussian import radius, smoothed
from napari_emsynth.nn.warp import LINEAR, upsample_flow

# Negative slope of the leaky rectifiers.
SLOPE = 0.1
CONV: dict[int, type[nn.Conv2d | nn.Conv3d]] = {2: nn.Conv2d, 3: nn.Conv3d}


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network, all [O].

    Args:
        dimension: 2 for sections, 3 for volumes.
        widths: feature maps at 1/1, 1/2, 1/4, ... of the images' size.
        heads: resolutions that answer, from 1/1 on.
        smooth_px: deviation of the Gaussian in (1), in px of each resolution; 0 for none.
    """

    dimension: int = 2
    widths: tuple[int, ...] = (16, 24, 48, 96, 128)
    heads: int = 3
    smooth_px: float = 1.5

    def __post_init__(self) -> None:
        if self.dimension not in CONV:
            raise InputError(f"dimension {self.dimension} of a registration network is neither 2 nor 3")
        if not self.widths or min(self.widths) < 1:
            raise InputError(f"widths {self.widths} of a registration network must be at least 1 feature map")
        if not 1 <= self.heads <= len(self.widths):
            raise InputError(f"{self.heads} heads do not fit {len(self.widths)} resolutions")
        if self.smooth_px < 0:
            raise InputError(f"Gaussian of {self.smooth_px} px is below the limit of 0 px")

    @classmethod
    def volumes(cls) -> Config:
        """Sizes for small volumes: four resolutions, fewer feature maps."""
        return cls(dimension=3, widths=(8, 16, 32, 32))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Build from a JSON object (lists become tuples); absent names take their default.

        Raises:
            InputError: unknown or impossible sizes.
        """
        known = {f.name for f in fields(cls)}
        if set(values) - known:
            raise InputError(f"unknown sizes {sorted(set(values) - known)}; known: {sorted(known)}")
        typed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**typed)

    @property
    def multiple(self) -> int:
        """Image sizes must be multiples of this many px."""
        return int(2 ** (len(self.widths) - 1))

    @property
    def reach(self) -> int:
        """How far from a px the answer there looks, px: the receptive field's half width, rounded up.

        At resolution 1/s a 3-wide convolution reaches ``s``, a stride-2 one the same of the finer resolution, linear
        upsampling ``s`` of the coarser one. The farthest way is down to the coarsest resolution and up again, through
        the coarsest head.
        """
        scales = [2**level for level in range(len(self.widths))]
        down = 1 + sum(fine + coarse for fine, coarse in pairwise(scales))
        up = sum(scales) + sum(scales[1:])
        heads = scales[: self.heads]
        answer = max(heads) + sum(radius(self.smooth_px) * s for s in heads)
        return int(down + up + answer)


def conv(dimension: int, c_in: int, c_out: int, stride: int = 1) -> nn.Module:
    """A 3-wide convolution that keeps (or halves) the size, and at the start the variance of what it is given."""
    layer = CONV[dimension](c_in, c_out, 3, stride=stride, padding=1)
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def head(dimension: int, width: int) -> nn.Module:
    """A convolution that regresses an increment of the displacement; it starts at zero."""
    layer = CONV[dimension](width, dimension, 3, padding=1)
    nn.init.zeros_(layer.weight)
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


def rectified(x: Tensor) -> Tensor:
    """Leaky rectifier that takes the place of its input (a convolution's answer, which nothing else needs)."""
    return F.leaky_relu(x, SLOPE, inplace=True)


class Encoder(nn.Module):
    """Features of the pair at every resolution."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, widths = config.dimension, config.widths
        self.stem = conv(d, 2, widths[0])
        self.down = nn.ModuleList(conv(d, a, b, 2) for a, b in pairwise(widths))
        self.refine = nn.ModuleList(conv(d, w, w) for w in widths[1:])

    def forward(self, pair: Tensor) -> list[Tensor]:
        """[b, 2, *size] -> [b, widths[k], *size / 2^k], finest first."""
        features = [rectified(self.stem(pair))]
        for down, refine in zip(self.down, self.refine, strict=True):
            features.append(rectified(refine(rectified(down(features[-1])))))
        return features


class Decoder(nn.Module):
    """The state at every resolution, coarse to fine: the coarser one, projected and upsampled, added to the skip."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        d, widths = config.dimension, config.widths
        self.mode = LINEAR[d]
        self.project = nn.ModuleList(CONV[d](b, a, 1, bias=False) for a, b in pairwise(widths))
        self.refine = nn.ModuleList(conv(d, w, w) for w in widths)

    def forward(self, features: list[Tensor]) -> list[Tensor]:
        """[b, widths[k], *size / 2^k] -> states of the same sizes, finest first."""
        state = rectified(self.refine[-1](features[-1]))
        states = [state]
        for level in range(len(features) - 2, -1, -1):
            skip = features[level]
            coarser = self.project[level](state)
            coarser = F.interpolate(coarser, size=skip.shape[2:], mode=self.mode, align_corners=False)
            state = rectified(self.refine[level](coarser + skip))
            states.append(state)
        return states[::-1]


class LiFan(nn.Module):
    """Predict the displacement of one image onto another (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        self.heads = nn.ModuleList(head(config.dimension, w) for w in config.widths[: config.heads])

    def forward(self, pair: Tensor) -> list[Tensor]:
        """Register the moving image onto the fixed one.

        Args:
            pair: [b, 2, *size] (fixed, moving), normalised, sizes multiples of ``config.multiple``.

        Returns:
            (1) coarse to fine, [b, d, *size / 2^k] in px of that resolution; the last one is at full size.
        """
        states = self.decoder(self.encoder(pair))
        answer: list[Tensor] = []
        for level in range(self.config.heads - 1, -1, -1):
            step = self.heads[level](states[level])
            if answer:
                step = step + upsample_flow(answer[-1], step.shape[2:])
            answer.append(smoothed(step, self.config.smooth_px))  # (1)
        return answer


class Finest(nn.Module):
    """The network with its full-size answer alone: [b, 2, *size] -> [b, d, *size] px."""

    def __init__(self, network: LiFan) -> None:
        super().__init__()
        self.network = network

    def forward(self, pair: Tensor) -> Tensor:
        """[b, 2, *size] -> [b, d, *size] px."""
        return torch.as_tensor(self.network(pair)[-1])
