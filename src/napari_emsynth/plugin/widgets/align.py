"""The Fine alignment dock."""

from __future__ import annotations

from typing import Any

from napari_emsynth.plugin.volume_settings import AlignSettings
from napari_emsynth.plugin.widgets.volume_dock import VolumeDock
from napari_emsynth.plugin.widgets.volume_form import VolumeForm


class FineAlignment(VolumeDock):
    """Refine the alignment of a roughly aligned stack: choose a method, look, run.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = AlignSettings.task

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, AlignSettings(), VolumeForm, scores)


def scores(check: dict[str, Any]) -> str:
    """Return the self-check in words: a known jitter undone, and how neighbours agree."""
    gained = check["psnr_aligned"] - check["psnr_jittered"]
    return (
        f"Self-check on {check['n']} sections: shifted by known amounts of about 1 px, "
        f"{check['psnr_jittered']:.1f} dB; then aligned, {check['psnr_aligned']:.1f} dB ({gained:+.1f}). "
        f"Correlation of neighbours {check['cpc_before']:.2f} before, {check['cpc_after']:.2f} after"
    )
