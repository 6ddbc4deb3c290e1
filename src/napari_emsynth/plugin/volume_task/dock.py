"""What the docks of tasks on whole volumes share: choose a layer and settings, look ahead, run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QVBoxLayout, QWidget

from napari_emsynth.plugin.layers.convert import show_section, voxel_nm_of
from napari_emsynth.plugin.volume_task.destination import MEMORY, Place, where
from napari_emsynth.plugin.volume_task.form import VolumeForm
from napari_emsynth.plugin.volume_task.preview import crosses, picked_voxel
from napari_emsynth.plugin.volume_task.preview_task import Previewed
from napari_emsynth.plugin.volume_task.reslices import Reslices, ResliceWindow
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.plugin.volume_task.session import VolumeTask
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.widgets.auto_preview import AutoPreview
from napari_emsynth.plugin.widgets.buttons import button, rows, spin
from napari_emsynth.plugin.widgets.layer_dock import LayerDock

FEWEST, MOST = 3, 64
GOOD, BAD = "#6ebe6e", "#e6963c"


class VolumeDock(LayerDock):
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
        offers_auto_preview: the preview can follow the view.
        asks_where: a large result is not begun before the user said where it goes.
    """

    task_class: ClassVar[type[VolumeTask]] = VolumeTask
    planes: ClassVar[tuple[str, ...]] = ("xz", "yz", "xy")
    preview_sections: ClassVar[int] = 16
    offers_auto_preview: ClassVar[bool] = False
    asks_where: ClassVar[bool] = False

    def __init__(
        self,
        napari_viewer: Any,
        start: VolumeSettings,
        form: Callable[[Any], VolumeForm],
        scores: Callable[[dict[str, Any]], str],
    ) -> None:
        super().__init__(napari_viewer, "task")
        session = self.session
        self._scores = scores
        self.task = self.task_class.of(session, start)
        self.form = form(self.task.settings)
        self.reslices, self.caption, self.selfcheck = Reslices(self.planes), QLabel(), QLabel()
        self.auto_preview = AutoPreview(session.viewer, self)
        self._lay_out()
        self._connect()
        self._layer_changed()
        if session.engine is not None:
            self._engine_loaded()
        session.load_engine()
        self._recall()

    # -- acting ------------------------------------------------------------------------------------

    def preview(self) -> None:
        """Look at what it would do."""
        self.notices.show_lines([], "")
        self.task.preview(self.layer(), self.sections.value(), self.channel_index())

    def preview_view(self) -> None:
        """Look at what it would do at another place, unless that is shown already."""
        layer = self.layer()
        if layer is not None and not self.session.is_closed:
            self.task.preview(layer, self.sections.value(), self.channel_index(), unasked=True)

    def pick(self, name: str, down: float, across: float) -> None:
        """Lay the reslices through a place of the preview."""
        made, layer = self.task.last_preview, self.layer()
        if made is None or layer is None or layer.unique_id != made.layer_id:
            return
        if not made.settings.previews_reslices:
            return
        z, row, column = picked_voxel(name, down, across, made.window, made.voxel)
        self.task.crosses[layer.unique_id] = (row, column)
        if z != made.window.section:
            show_section(self.session.viewer, layer, z)
        if self.auto_preview.is_on:
            self.auto_preview.ask()
        else:
            self.preview()

    def enlarge(self) -> ResliceWindow | None:
        """Show the preview in a window of its own."""
        made = self.task.last_preview
        if made is None:
            return None
        title = f"{made.settings.title()}: {made.window.describe()}"
        window = ResliceWindow(self, made.planes, made.look, title, self.large_planes())
        window.show()
        return window

    def run(self) -> None:
        """Do the task, where the user wants the result."""
        self.notices.show_lines([], "")
        place = self.place()
        if place is not None:
            self.task.run(self.layer(), self.channel_index(), target=place.target)

    def place(self) -> Place | None:
        """Return where the result goes; None when it is refused, or the user was asked and thought better of it."""
        layer = self.layer()
        if not self.asks_where or layer is None or self.task.settings.lazy:
            return MEMORY
        if self.task.attempt(self.task.asked, layer, self.channel_index()) is None:
            return None
        forecast = self.task.forecast(layer, self.channel_index())
        return where(self, self.task.settings, forecast, layer.name)

    def newest(self) -> Any | None:
        """Return the layer of the task's newest result."""
        return self.task.newest()

    def copy_code(self) -> str | None:
        """Put the task as code on the clipboard."""
        return self.task.copy(self.layer(), self.channel_index())

    def large_planes(self) -> tuple[str, ...]:
        """Return the planes of the large view."""
        return ("xz", "yz")

    # -- following ---------------------------------------------------------------------------------

    def voxel_nm(self) -> tuple[float, float, float] | None:
        """Return the chosen layer's voxel size, None when it is unknown or the layer is of no use."""
        layer = self.layer()
        if layer is None or layer.rgb or layer.ndim < 3:
            return None
        return voxel_nm_of(layer)

    def _layer_changed(self) -> None:
        self.form.set_voxel_nm(self.voxel_nm())
        self._check_fresh()
        self.auto_preview.ask()

    def _engine_loaded(self) -> None:
        self.form.set_engine(self.session.engine)
        self._settings_changed()

    def _settings_changed(self) -> None:
        self.task.set_settings(self.form.value())
        self._check_fresh()
        self.auto_preview.ask()

    def _settings_from_task(self) -> None:
        if self.form.value() != self.task.settings:
            self.form.set_value(self.task.settings)

    def _recall(self) -> None:
        """Show what an earlier dock showed."""
        self._show_preview(self.task.last_preview)
        self._show_checked(self.task.last_outcome)

    def _show_preview(self, made: Previewed | None) -> None:
        is_first = made is not None and self.reslices.isHidden()
        for widget in (self.reslices, self.caption, self.larger):
            widget.setVisible(made is not None)
        if is_first:
            # Where it is known how high it is.
            QTimer.singleShot(0, self._reveal)
        if made is not None:
            self.reslices.show_planes(made.planes, made.look)
            lines = crosses(made.window, made.voxel) if made.settings.previews_reslices else {}
            self.reslices.set_crosses(lines)
            self._check_fresh()

    def _show_checked(self, outcome: VolumeOutcome | None) -> None:
        check = None if outcome is None else outcome.selfcheck
        self.selfcheck.setVisible(check is not None)
        if check is not None:
            self.selfcheck.setText(self._scores(check))
            self.selfcheck.setStyleSheet(f"color: {GOOD if check['beats_floors'] else BAD};")

    def _reveal(self) -> None:
        self.scroll.ensureWidgetVisible(self.reslices)

    def _check_fresh(self) -> None:
        """A preview of other settings, or of another layer, is shown faintly."""
        made = self.task.last_preview
        if made is None:
            return
        layer = self.layer()
        fresh = layer is not None and made.layer_id == layer.unique_id and made.settings == self.form.value()
        self.reslices.set_faint(not fresh)
        self.caption.setText(describe(made) if fresh else "of other settings or another layer: preview again")

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take the blink key, and follow the view again."""
        self._auto_toggled()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Give the blink key back; a hidden dock previews nothing."""
        self.auto_preview.stop()
        super().hideEvent(event)

    def _auto_toggled(self) -> None:
        self.task.auto_preview = self.auto_box.isChecked()
        if self.task.auto_preview and not self.session.is_closed:
            self.auto_preview.start()
        else:
            self.auto_preview.stop()

    def leave(self) -> None:
        """Let go of the viewer."""
        self.auto_preview.stop()
        self.form.release()
        super().leave()

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        for label in (self.caption, self.selfcheck):
            label.setWordWrap(True)
        for widget in (self.top, self.form):
            self.body.addWidget(widget)
        self.body.addLayout(self._look_buttons())
        for widget in (self.selfcheck, self.notices, self.reslices):
            self.body.addWidget(widget)
        under = QHBoxLayout()
        under.addWidget(self.caption, 1)
        under.addWidget(self.larger)
        self.body.addLayout(under)
        # What a task has more to show goes here.
        self.panels = QVBoxLayout()
        self.body.addLayout(self.panels)
        self.body.addStretch(1)
        self._lay_out_foot()

    def _look_buttons(self) -> Any:
        self.look = button("Preview", "Compute the part in view only, and show it before and after")
        self.sections = spin(FEWEST, MOST, 1, "How many sections of the reslices, around the one on screen")
        self.sections.setValue(self.preview_sections)
        self.sections.setSuffix(" z")
        self.sections.setVisible(self.task.settings.previews_reslices)
        self.larger = button("Enlarge", "Show the reslices in a window of their own")
        self.auto_box = QCheckBox("Auto")
        self.auto_box.setToolTip("Preview anew whenever the view is moved or zoomed, or settings change")
        self.auto_box.setChecked(self.task.auto_preview)
        self.auto_box.setVisible(self.offers_auto_preview)
        if not self.offers_auto_preview:
            return rows((self.look, self.sections, self.compare))
        return rows((self.look, self.auto_box, self.sections), (self.compare, *self.more_looks()))

    def more_looks(self) -> tuple[QWidget, ...]:
        """Return other ways to look at a result, to stand beside the comparison."""
        return ()

    def _connect(self) -> None:
        super()._connect()
        session, task = self.session, self.task
        self.form.value_changed.connect(self._settings_changed)
        self.look.clicked.connect(lambda: self.preview())
        self.auto_box.toggled.connect(lambda _on: self._auto_toggled())
        self.auto_preview.rested.connect(self.preview_view)
        self.sections.valueChanged.connect(lambda _n: self.auto_preview.ask())
        self.reslices.picked.connect(self.pick)
        self.larger.clicked.connect(lambda: self.enlarge())
        self.reslices.enlarge_asked.connect(lambda: self.enlarge())
        session.engine_loaded.connect(self._engine_loaded)
        task.settings_changed.connect(self._settings_from_task)
        task.previewed.connect(self._show_preview)
        task.noticed.connect(self.notices.show_lines)
        task.checked.connect(self._show_checked)
        self.notices.instead_asked.connect(task.use_instead)


def describe(made: Previewed) -> str:
    """Return what a preview shows, in a line or two."""
    section, settings = made.window.section, made.settings
    # Point sampling shows what lies between two sections; slab sampling, a part of the section itself.
    between = settings.voxel((1.0, 1.0, 1.0))[0] < 1 and settings.offset[0] == 0
    after = f"; after: between {section} and {section + 1}" if between else ""
    return f"{made.window.describe()}; xy at z {section}{after}"
