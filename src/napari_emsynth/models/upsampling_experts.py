"""The two networks of ``upsample/emsynth``: one for planes along z (reslices), one for planes across it (sections).

The second is the network that synthesises missing sections, :mod:`napari_emsynth.models.interpolation_unet`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from napari_emsynth.models import interpolation_unet, reslice_unet


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of both networks.

    Args:
        reslices: of the one.
        sections: of the other.
    """

    reslices: reslice_unet.Config = field(default_factory=reslice_unet.Config)
    sections: interpolation_unet.Config = field(default_factory=interpolation_unet.Config)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object of two; absent ones take their default."""
        return cls(
            reslices=reslice_unet.Config.from_json(values.get("reslices", {})),
            sections=interpolation_unet.Config.from_json(values.get("sections", {})),
        )


class Experts(nn.Module):
    """Both networks, in one weights file."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.reslices = reslice_unet.ResliceUNet(config.reslices)
        self.sections = interpolation_unet.InterpolationUNet(config.sections)
