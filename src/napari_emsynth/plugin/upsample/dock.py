"""The Upsample z dock."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QCheckBox, QInputDialog, QWidget

from napari_emsynth.plugin.layers.voxel_size import guessed_nm, parse_voxel_nm, state_voxel_nm
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.upsample.form import UpsampleForm
from napari_emsynth.plugin.upsample.labels_panel import LabelsPanel
from napari_emsynth.plugin.upsample.session import UpsampleTask
from napari_emsynth.plugin.upsample.settings import UpsampleSettings
from napari_emsynth.plugin.volume_task.damage_dock import DamageDock, consistency
from napari_emsynth.plugin.widgets.collapsible import Collapsible

# Where the 90 % interval was measured: as a record says it, and in plain words.
CALIBRATED = {"in plane": "on rows posed as sections", "weights": "as its weights were, on other volumes"}


class UpsampleZ(DamageDock):
    """Make sections thinner: choose the factor, say what a section is, look, run, take labels along.

    Args:
        napari_viewer: filled in by napari.
    """

    owner = UpsampleSettings.task
    task_class = UpsampleTask
    task: UpsampleTask
    form: UpsampleForm

    def __init__(self, napari_viewer: Any) -> None:
        install(napari_viewer)
        super().__init__(napari_viewer, UpsampleSettings(), UpsampleForm, scores)

    def run(self) -> None:
        """Do the task; a voxel size that is needed and unknown is asked for first."""
        layer = self.layer()
        is_stack = layer is not None and layer.ndim >= 3 and not layer.rgb
        if is_stack and self.task.settings.isotropic and self.voxel_nm() is None:
            self.ask_voxel_size()
        super().run()

    def show_in_3d(self, on: bool) -> None:
        """Show the newest result, else the chosen layer, in 3-D; or everything as it was."""
        layer = self.task.newest() or self.layer()
        if not on:
            self.task.view_3d.hide()
        elif layer is None:
            self.task.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
        else:
            self.task.view_3d.show(layer, self.channel_index())
        self._show_view_3d()

    def ask_voxel_size(self) -> None:
        """Ask for the voxel size of the chosen layer."""
        layer = self.layer()
        if layer is None:
            return
        question = f"Voxel size of {layer.name!r}: z, y, x in nm, such as 40, 4, 4"
        text, given = QInputDialog.getText(self, "Voxel size", question, text=guessed_nm(layer))
        if given:
            self.set_voxel_size(text)

    def set_voxel_size(self, text: str) -> None:
        """State the voxel size of the chosen layer, and of what lies upon it."""
        layer = self.layer()
        voxel = self.task.attempt(parse_voxel_nm, text)
        if layer is not None and voxel is not None:
            self.session.history.add(state_voxel_nm(self.session.viewer, layer, voxel))
            self.session.results_changed.emit()

    def leave(self) -> None:
        """Let go of the viewer."""
        self.labels.release()
        super().leave()

    # -- following ---------------------------------------------------------------------------------

    def _layer_changed(self) -> None:
        super()._layer_changed()
        layer = self.layer()
        self.form.sampling.set_known(self.task.is_answered(layer) or layer is None)

    def _sampling_answered(self) -> None:
        self.task.answer(self.layer(), self.form.sampling.value())
        self.form.sampling.set_known(True)

    def _results_changed(self) -> None:
        # A voxel size may have been stated, or taken back.
        self.form.set_voxel_nm(self.voxel_nm())
        if self.form.value() != self.task.settings:
            self._settings_changed()
        self._show_view_3d()
        super()._results_changed()

    def _show_view_3d(self) -> None:
        self.view_3d.setChecked(self.task.view_3d.is_on)

    def _report(self, record: dict[str, Any]) -> list[str]:
        return report(record)

    # -- building ----------------------------------------------------------------------------------

    def more_looks(self) -> tuple[QWidget, ...]:
        """Return the box of the 3-D view."""
        self.view_3d = QCheckBox("Show in 3-D")
        self.view_3d.setToolTip("The result with the right height of its voxels; of a large one, the part in view")
        return (self.view_3d,)

    def _lay_out(self) -> None:
        super()._lay_out()
        self.labels = LabelsPanel(self.task)
        self.panels.addWidget(Collapsible("Labels that follow", self.labels))

    def _connect(self) -> None:
        super()._connect()
        self.view_3d.clicked.connect(self.show_in_3d)
        self.form.sampling_answered.connect(self._sampling_answered)
        self.form.voxel_size_asked.connect(self.ask_voxel_size)


def scores(check: dict[str, Any]) -> str:
    """Return the self-check in words: the method and the floors on hidden sections."""
    head, ahead = f"Self-check on {check['n']} hidden sections", check["psnr"] - check["linear"]
    if ahead == 0:
        return f"{head}: {check['psnr']:.1f} dB, as linear interpolation"
    best = check.get("linear_back_projected")
    if best is not None and check["psnr"] == best:
        return f"{head}: {best:.1f} dB, as linear interpolation with back-projection; without {check['linear']:.1f} dB"
    text = f"{head}: {check['psnr']:.1f} dB, linear {check['linear']:.1f} dB ({ahead:+.1f})"
    named = {"linear with back-projection": best, "kriging": check.get("kriging")}
    return ", ".join([text, *(f"{name} {value:.1f} dB" for name, value in named.items() if value is not None)])


def report(record: dict[str, Any]) -> list[str]:
    """Return what else a record says, a line each: how slab means hold, how reslices and intervals were tested."""
    lines = consistency(record)
    in_plane = (record.get("selfcheck") or {}).get("in_plane")
    if in_plane is not None:
        lines.append(f"In plane, rows posed as sections: {in_plane['psnr']:.1f} dB, linear {in_plane['linear']:.1f} dB")
    calibration = record.get("calibration")
    if calibration is not None:
        measured = calibration["measured_on"]
        lines.append(f"The 90 % interval is calibrated {CALIBRATED.get(measured, f'on {measured}')}")
    return lines
