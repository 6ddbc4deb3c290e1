"""What the docks of tasks on whole volumes share: choose, look, run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from qtpy.QtWidgets import QFileDialog, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QVBoxLayout, QWidget

from napari_emsynth.plugin.layers import full_data, voxel_nm_of
from napari_emsynth.plugin.volume_run import VolumeOutcome
from napari_emsynth.plugin.volume_session import Previewed, VolumeTask
from napari_emsynth.plugin.volume_settings import VolumeSettings
from napari_emsynth.plugin.widgets.blink import BlinkKey
from napari_emsynth.plugin.widgets.buttons import HistoryButtons, button, rows
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.plugin.widgets.export import FORMATS
from napari_emsynth.plugin.widgets.job_bar import JobBar
from napari_emsynth.plugin.widgets.layer_box import LayerBox
from napari_emsynth.plugin.widgets.method_form import spin
from napari_emsynth.plugin.widgets.notices import Notices
from napari_emsynth.plugin.widgets.reslices import LargeReslices, Reslices
from napari_emsynth.plugin.widgets.volume_form import VolumeForm

FEWEST, MOST = 3, 64
GOOD, BAD = "#6ebe6e", "#e6963c"


class VolumeDock(Dock):
    """Choose a layer and a method, preview, run.

    Args:
        napari_viewer: filled in by napari.
        start: settings of the first dock in a viewer.
        form: made of settings.
        scores: the self-check's figures in words.

    Attributes:
        task_class: what the dock acts through.
        planes: of the preview, from top to bottom.
        preview_sections: how many of the reslices, at first.
    """

    task_class: ClassVar[type[VolumeTask]] = VolumeTask
    planes: ClassVar[tuple[str, ...]] = ("xz", "yz", "xy")
    preview_sections: ClassVar[int] = 16

    def __init__(
        self,
        napari_viewer: Any,
        start: VolumeSettings,
        form: Callable[[Any], VolumeForm],
        scores: Callable[[dict[str, Any]], str],
    ) -> None:
        super().__init__(napari_viewer)
        session = self.session
        self.task = self.task_class.of(session, start)
        self._scores = scores
        self.layer_box = LayerBox(session)
        self.channel = QSpinBox()
        self.form = form(self.task.settings)
        self.reslices = Reslices(self.planes)
        self.caption, self.selfcheck = QLabel(), QLabel()
        self.notices = Notices()
        self.job_bar = JobBar(session.queue, owner=self.owner)
        self.blink = BlinkKey(session)
        self._lay_out()
        self._connect()
        self._layer_changed()
        if session.engine is not None:
            self._engine_loaded()
        session.load_engine()
        self._recall()

    # -- reading -----------------------------------------------------------------------------------

    def layer(self) -> Any | None:
        """Return the chosen layer."""
        return self.layer_box.layer()

    def channel_index(self) -> int | None:
        """Return the channel of a 4-D layer, None of a 3-D one."""
        layer = self.layer()
        return self.channel.value() if layer is not None and layer.ndim == 4 else None

    # -- acting ------------------------------------------------------------------------------------

    def run(self) -> None:
        """Do the task."""
        self.notices.show_lines([], False)
        self.task.run(self.layer(), self.channel_index())

    def preview(self) -> None:
        """Look at what it would do."""
        self.notices.show_lines([], False)
        self.task.preview(self.layer(), self.sections.value(), self.channel_index())

    def enlarge(self) -> LargeReslices | None:
        """Show the preview in a window of its own."""
        made = self.task.last_preview
        if made is None:
            return None
        title = f"{made.settings.title()}: {made.window.describe()}"
        window = LargeReslices(self, made.planes, made.look, title, self.large_planes())
        window.show()
        return window

    def large_planes(self) -> tuple[str, ...]:
        """Return the planes of the large view."""
        return ("xz", "yz")

    def export(self) -> None:
        """Ask where to, and write the newest result, else the chosen layer."""
        layer = self.task.newest() or self.layer()
        if layer is None:
            self.task.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
            return
        path, _ = QFileDialog.getSaveFileName(self, f"Export {layer.name}", f"{layer.name}.ome.tif", FORMATS)
        if path:
            # The dialog has asked about overwriting.
            self.session.export(layer, Path(path), overwrite=True)

    def copy_code(self) -> str | None:
        """Put the task as code on the clipboard."""
        return self.task.copy(self.layer(), self.channel_index())

    # -- following ---------------------------------------------------------------------------------

    def voxel_nm(self) -> tuple[float, float, float] | None:
        """Return the chosen layer's voxel size, None when it is unknown or the layer is of no use."""
        layer = self.layer()
        if layer is None or layer.rgb or layer.ndim < 3:
            return None
        return voxel_nm_of(layer)

    def _layer_changed(self) -> None:
        layer = self.layer()
        four = layer is not None and layer.ndim == 4
        self._top.setRowVisible(self.channel, four)
        if four:
            self.channel.setMaximum(full_data(layer).shape[0] - 1)
        self.form.set_voxel_nm(self.voxel_nm())
        self._check_fresh()

    def _engine_loaded(self) -> None:
        self.form.set_engine(self.session.engine)
        self._settings_changed()

    def _settings_changed(self) -> None:
        self.task.set_settings(self.form.value())
        self._check_fresh()

    def _settings_from_task(self) -> None:
        if self.form.value() != self.task.settings:
            self.form.set_value(self.task.settings)

    def _recall(self) -> None:
        """Show what an earlier dock showed."""
        self._show_preview(self.task.last_preview)
        self._show_checked(self.task.last_outcome)

    def _show_preview(self, made: Previewed | None) -> None:
        for widget in (self.reslices, self.caption, self.larger):
            widget.setVisible(made is not None)
        if made is not None:
            self.reslices.show_planes(made.planes, made.look)
            self._check_fresh()

    def _check_fresh(self) -> None:
        """A preview of other settings, or of another layer, is shown faintly."""
        made = self.task.last_preview
        if made is None:
            return
        layer = self.layer()
        fresh = layer is not None and made.layer_id == layer.unique_id and made.settings == self.form.value()
        self.reslices.set_faint(not fresh)
        self.caption.setText(describe(made) if fresh else "of other settings or another layer: preview again")

    def _show_checked(self, outcome: VolumeOutcome | None) -> None:
        check = None if outcome is None else outcome.selfcheck
        self.selfcheck.setVisible(check is not None)
        if check is not None:
            self.selfcheck.setText(self._scores(check))
            self.selfcheck.setStyleSheet(f"color: {GOOD if check['beats_floors'] else BAD};")

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take the blink key."""
        self.blink.bind()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Give the blink key back."""
        self.blink.release()
        if not self.session.is_closed:
            self.session.compare(False)
        super().hideEvent(event)

    def leave(self) -> None:
        """Let go of the viewer."""
        self.blink.release()
        self.layer_box.release()
        self.form.release()

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        top = QWidget()
        self._top = QFormLayout(top)
        self._top.setContentsMargins(0, 0, 0, 0)
        self._top.addRow("Layer", self.layer_box)
        self._top.addRow("Channel / time", self.channel)
        self.body.addWidget(top)
        self.body.addWidget(self.form)
        self.body.addLayout(self._look_buttons())
        for label in (self.caption, self.selfcheck):
            label.setWordWrap(True)
        under = QHBoxLayout()
        under.addWidget(self.caption, 1)
        under.addWidget(self.larger)
        for widget in (self.selfcheck, self.notices, self.reslices):
            self.body.addWidget(widget)
        self.body.addLayout(under)
        # What a task has more to show goes here.
        self.panels = QVBoxLayout()
        self.body.addLayout(self.panels)
        self.body.addStretch(1)
        self.foot.addWidget(self.job_bar)
        self.history = HistoryButtons(self.session)
        self.foot.addWidget(self.history)
        self.copy = button("Copy as code", "Copy the task as Python and as one command line")
        self.save = button("Export...", "Write the result, its mask and its record to a file")
        self.foot.addLayout(rows((self.copy, self.save)))

    def _look_buttons(self) -> Any:
        self.look = button("Preview", "Compute the part in view only, and show it before and after")
        self.sections = spin(FEWEST, MOST, 1, "How many sections of the reslices, around the one on screen")
        self.sections.setValue(self.preview_sections)
        self.sections.setSuffix(" z")
        self.compare = button(
            f"Compare ({self.session.blink_key})", "Hold the button, or the key, to see the original"
        )
        self.larger = button("Enlarge", "Show the reslices in a window of their own")
        return rows((self.look, self.sections, self.compare))

    def _connect(self) -> None:
        session, task = self.session, self.task
        self.layer_box.layer_changed.connect(self._layer_changed)
        self.form.value_changed.connect(self._settings_changed)
        self.look.clicked.connect(lambda: self.preview())
        self.larger.clicked.connect(lambda: self.enlarge())
        self.reslices.enlarge_asked.connect(lambda: self.enlarge())
        self.compare.pressed.connect(lambda: session.compare(True))
        self.compare.released.connect(lambda: session.compare(False))
        self.notices.floor_asked.connect(lambda: task.use_floor())
        self.job_bar.run_asked.connect(self.run)
        self.copy.clicked.connect(lambda: self.copy_code())
        self.save.clicked.connect(lambda: self.export())
        session.engine_loaded.connect(self._engine_loaded)
        task.settings_changed.connect(self._settings_from_task)
        task.previewed.connect(self._show_preview)
        task.checked.connect(self._show_checked)
        task.noticed.connect(self.notices.show_lines)


def describe(made: Previewed) -> str:
    """Return what a preview shows, in a line or two."""
    section, settings = made.window.section, made.settings
    # Point sampling shows what lies between two sections; slab sampling, a part of the section itself.
    between = settings.section_scale > 1 and settings.section_offset == 0
    after = f"; after: between {section} and {section + 1}" if between else ""
    return f"{made.window.describe()}; xy at z {section}{after}"
