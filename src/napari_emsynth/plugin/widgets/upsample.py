"""The Upsample z dock."""

from __future__ import annotations

from typing import Any

from napari_emsynth.plugin.volume_settings import UpsampleSettings
from napari_emsynth.plugin.widgets.volume_dock import VolumeDock
from napari_emsynth.plugin.widgets.volume_form import UpsampleForm


class UpsampleZ(VolumeDock):
    """Make sections thinner: choose factor and sampling, look, run.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = UpsampleSettings.task

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, UpsampleSettings(), UpsampleForm, scores)


def scores(check: dict[str, Any]) -> str:
    """Return the self-check in words: the method and linear interpolation on hidden sections."""
    head, ahead = f"Self-check on {check['n']} hidden sections", check["psnr"] - check["linear"]
    if ahead == 0:
        return f"{head}: {check['psnr']:.1f} dB, as linear interpolation"
    return f"{head}: {check['psnr']:.1f} dB, linear {check['linear']:.1f} dB ({ahead:+.1f})"
