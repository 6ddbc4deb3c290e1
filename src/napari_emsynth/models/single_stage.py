"""A plain network for lateral super-resolution: neighbouring sections in, the middle one finer, no prior.

::

    sections --stem--> residual block x n --trunk--> (+ stem) --doubling--> 2x --doubling--> ... f x --head--> residual
        middle section --bicubic------------------------------------------------------------------------> (+) mean
                                                                                                 head --> log scale

From the stem on it is :class:`~napari_emsynth.models.gpemsr.reconstruction.Reconstruction`. What a network with a
generative prior is worth is what it gains over this one. Sizes are the usual ones of residual super-resolution
networks; that it sees the sections as channels, and says how far off it expects to be, is ours.

Conventions: sections come in the normalised units of the low-resolution volume (zero mean, unit deviation), and go out
in the same. Laws: the heads start at zero, so that training starts at bicubic enlargement; edges are kept, so that
low-resolution pixel ``i`` stands for fine pixels ``f i`` to ``f i + f - 1``.

Source: the residual blocks and the pixel shuffle of Lim, Son, Kim, Nah and Lee 2017, "Enhanced deep residual networks
for single image super-resolution".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from napari_emsynth.errors import InputError
from napari_emsynth.models.gpemsr.reconstruction import Reconstruction, doublings
from napari_emsynth.nn.lateral import enlarged
from napari_emsynth.nn.rectified import conv


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network.

    Args:
        factor: by which pixels become smaller, a power of two.
        sections: seen at once, odd; the middle one is made finer.
        width: feature maps at low resolution.
        blocks: residual blocks of two convolutions.
        fine: feature maps after each doubling; the last number serves all further ones.

    Raises:
        InputError: impossible sizes.
    """

    factor: int = 8
    sections: int = 5
    width: int = 64
    blocks: int = 8
    fine: tuple[int, ...] = (48, 32, 16)

    def __post_init__(self) -> None:
        if self.factor < 2 or self.factor & (self.factor - 1):
            raise InputError(f"the factor of a network must be a power of two and at least 2, got {self.factor}")
        if self.sections < 1 or self.sections % 2 == 0:
            raise InputError(f"a network sees an odd number of sections, got {self.sections}")
        if not self.fine or min(self.width, self.blocks, *self.fine) < 1:
            raise InputError(f"sizes of the single-stage network must be at least 1, got {self}")

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def doublings(self) -> tuple[int, ...]:
        """Feature maps after each doubling."""
        return doublings(self.factor, self.fine)

    @property
    def halo(self) -> int:
        """Low-resolution px on each side that a pixel depends on: one a convolution at its own resolution."""
        finer = sum(0.5**i for i in range(len(self.doublings)))
        return 2 + 2 * self.blocks + math.ceil(finer + 1 / self.factor)


class SingleStage(Reconstruction):
    """Make the middle one of some sections finer, and say how far off that may be (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__(config.width, config.blocks, config.doublings, outputs=2)
        self.config = config
        self.stem = conv(config.sections, config.width)

    def forward(self, sections: Tensor) -> tuple[Tensor, Tensor]:  # type: ignore[override]
        """Make the middle section finer.

        Args:
            sections: [b, n, y, x] neighbouring sections, low resolution, normalised.

        Returns:
            mean [b, 1, f y, f x] and log of the Laplace scale of its error [b, 1, f y, f x], normalised.
        """
        residual, log_scale = self.drawn(self.stem(sections)).chunk(2, dim=1)  # [b, 1, f y, f x] each
        middle = self.config.sections // 2
        mean = torch.as_tensor(enlarged(sections[:, middle : middle + 1], self.config.factor) + residual)
        return mean, log_scale - 1.0
