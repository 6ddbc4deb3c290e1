"""The Super-resolve dock."""

from __future__ import annotations

from typing import Any

from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.superres.fidelity_panel import FidelityPanel
from napari_emsynth.plugin.superres.form import SuperresForm
from napari_emsynth.plugin.superres.session import SuperresTask
from napari_emsynth.plugin.superres.settings import SuperresSettings
from napari_emsynth.plugin.volume_task.damage_dock import DamageDock
from napari_emsynth.plugin.volume_task.dock import FEWEST
from napari_emsynth.plugin.widgets.collapsible import Collapsible


class SuperResolve(DamageDock):
    """Make pixels smaller: choose the factor, look, run, see how far the result can be trusted.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = SuperresSettings.task
    task_class = SuperresTask
    planes = ("xy",)
    preview_sections = FEWEST
    task: SuperresTask
    form: SuperresForm

    def __init__(self, napari_viewer: Any) -> None:
        install(napari_viewer)
        super().__init__(napari_viewer, SuperresSettings(), SuperresForm, scores)

    def large_planes(self) -> tuple[str, ...]:
        """Return the planes of the large view."""
        return self.planes

    def leave(self) -> None:
        """Let go of the viewer."""
        self.fidelity.release()
        super().leave()

    def _layer_changed(self) -> None:
        super()._layer_changed()
        self.fidelity.refresh()

    def _lay_out(self) -> None:
        super()._lay_out()
        self.fidelity = FidelityPanel(self.task, self.layer)
        self.fold = Collapsible("Fidelity", self.fidelity)
        self.panels.addWidget(self.fold)


def scores(check: dict[str, Any]) -> str:
    """Return the self-check in words: the method and the floors on pixels made coarser."""
    head, ahead = f"Self-check on {check['n']} sections made coarser", check["psnr"] - check["bicubic"]
    if ahead == 0:
        return f"{head}: {check['psnr']:.1f} dB, as bicubic; pixels as they are {check['nearest']:.1f} dB"
    return f"{head}: {check['psnr']:.1f} dB, bicubic {check['bicubic']:.1f} dB ({ahead:+.1f})"
