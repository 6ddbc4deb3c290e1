"""What the docks of tasks on whole volumes share before they run: choose a layer and settings, look ahead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QCheckBox, QFormLayout, QHBoxLayout, QLabel, QSpinBox, QWidget

from napari_emsynth.plugin.layers.convert import full_data, show_section, voxel_nm_of
from napari_emsynth.plugin.volume_task.form import VolumeForm
from napari_emsynth.plugin.volume_task.large_reslices import LargeReslices
from napari_emsynth.plugin.volume_task.look import Previewed
from napari_emsynth.plugin.volume_task.preview import crosses, picked_voxel
from napari_emsynth.plugin.volume_task.reslices import Reslices
from napari_emsynth.plugin.volume_task.session import VolumeTask
from napari_emsynth.plugin.volume_task.settings import VolumeSettings
from napari_emsynth.plugin.widgets.auto_preview import Live
from napari_emsynth.plugin.widgets.blink import BlinkKey
from napari_emsynth.plugin.widgets.buttons import button, rows
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.plugin.widgets.layer_box import LayerBox
from napari_emsynth.plugin.widgets.method_form import spin
from napari_emsynth.plugin.widgets.notices import Notices

FEWEST, MOST = 3, 64


class LookingDock(Dock):
    """Choose a layer and a method, preview.

    Args:
        napari_viewer: filled in by napari.
        start: settings of the first dock in a viewer.
        form: made of settings.

    Attributes:
        task_class: what the dock acts through.
        planes: of the preview, from top to bottom.
        preview_sections: how many of the reslices, at first.
        looks_live: the preview can follow the view.
    """

    task_class: ClassVar[type[VolumeTask]] = VolumeTask
    planes: ClassVar[tuple[str, ...]] = ("xz", "yz", "xy")
    preview_sections: ClassVar[int] = 16
    looks_live: ClassVar[bool] = False

    def __init__(self, napari_viewer: Any, start: VolumeSettings, form: Callable[[Any], VolumeForm]) -> None:
        super().__init__(napari_viewer)
        session = self.session
        self.task = self.task_class.of(session, start)
        self.layer_box = LayerBox(session)
        self.channel = QSpinBox()
        self.form = form(self.task.settings)
        self.reslices, self.caption = Reslices(self.planes), QLabel()
        self.notices = Notices()
        self.blink = BlinkKey(session)
        self.live = Live(session.viewer, self)
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

    def preview(self) -> None:
        """Look at what it would do."""
        self.notices.show_lines([], "")
        self.task.preview(self.layer(), self.sections.value(), self.channel_index())

    def preview_live(self) -> None:
        """Look at what it would do at another place, unless that is shown already."""
        layer = self.layer()
        if layer is not None and not self.session.is_closed:
            self.task.preview(layer, self.sections.value(), self.channel_index(), live=True)

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
        if self.live.is_on:
            self.live.ask()
        else:
            self.preview()

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
        self.live.ask()

    def _engine_loaded(self) -> None:
        self.form.set_engine(self.session.engine)
        self._settings_changed()

    def _settings_changed(self) -> None:
        self.task.set_settings(self.form.value())
        self._check_fresh()
        self.live.ask()

    def _settings_from_task(self) -> None:
        if self.form.value() != self.task.settings:
            self.form.set_value(self.task.settings)

    def _recall(self) -> None:
        """Show what an earlier dock showed."""
        self._show_preview(self.task.last_preview)

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
        self.blink.bind()
        self._live_toggled()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Give the blink key back; a hidden dock previews nothing."""
        self.blink.release()
        self.live.stop()
        if not self.session.is_closed:
            self.session.compare(False)
        super().hideEvent(event)

    def _live_toggled(self) -> None:
        self.task.live = self.live_box.isChecked()
        if self.task.live and not self.session.is_closed:
            self.live.start()
        else:
            self.live.stop()

    def leave(self) -> None:
        """Let go of the viewer."""
        self.live.stop()
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
        self.caption.setWordWrap(True)
        for widget in (top, self.form):
            self.body.addWidget(widget)
        self.body.addLayout(self._look_buttons())
        for widget in (self.notices, self.reslices):
            self.body.addWidget(widget)
        under = QHBoxLayout()
        under.addWidget(self.caption, 1)
        under.addWidget(self.larger)
        self.body.addLayout(under)

    def _look_buttons(self) -> Any:
        self.look = button("Preview", "Compute the part in view only, and show it before and after")
        self.sections = spin(FEWEST, MOST, 1, "How many sections of the reslices, around the one on screen")
        self.sections.setValue(self.preview_sections)
        self.sections.setSuffix(" z")
        self.sections.setVisible(self.task.settings.previews_reslices)
        self.compare = button(
            f"Compare ({self.session.blink_key})", "Hold the button, or the key, to see the original"
        )
        self.larger = button("Enlarge", "Show the reslices in a window of their own")
        self.live_box = QCheckBox("Live")
        self.live_box.setToolTip("Preview anew whenever the view is moved or zoomed, or settings change")
        self.live_box.setChecked(self.task.live)
        self.live_box.setVisible(self.looks_live)
        if not self.looks_live:
            return rows((self.look, self.sections, self.compare))
        return rows((self.look, self.live_box, self.sections), (self.compare, *self.more_looks()))

    def more_looks(self) -> tuple[QWidget, ...]:
        """Return other ways to look at a result, to stand beside the comparison."""
        return ()

    def _connect(self) -> None:
        session, task = self.session, self.task
        self.layer_box.layer_changed.connect(self._layer_changed)
        self.form.value_changed.connect(self._settings_changed)
        self.look.clicked.connect(lambda: self.preview())
        self.live_box.toggled.connect(lambda _on: self._live_toggled())
        self.live.rested.connect(self.preview_live)
        self.sections.valueChanged.connect(lambda _n: self.live.ask())
        self.reslices.picked.connect(self.pick)
        self.larger.clicked.connect(lambda: self.enlarge())
        self.reslices.enlarge_asked.connect(lambda: self.enlarge())
        self.compare.pressed.connect(lambda: session.compare(True))
        self.compare.released.connect(lambda: session.compare(False))
        session.engine_loaded.connect(self._engine_loaded)
        task.settings_changed.connect(self._settings_from_task)
        task.previewed.connect(self._show_preview)
        task.noticed.connect(self.notices.show_lines)


def describe(made: Previewed) -> str:
    """Return what a preview shows, in a line or two."""
    section, settings = made.window.section, made.settings
    # Point sampling shows what lies between two sections; slab sampling, a part of the section itself.
    between = settings.section_scale > 1 and settings.section_offset == 0
    after = f"; after: between {section} and {section + 1}" if between else ""
    return f"{made.window.describe()}; xy at z {section}{after}"
