"""The Restore sections dock."""

from __future__ import annotations

import weakref
from pathlib import Path
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFormLayout,
    QHBoxLayout,
    QMenu,
    QPushButton,
    QSpinBox,
    QVBoxLayout,
    QWidget,
)

from napari_emsynth.plugin.commands import copy
from napari_emsynth.plugin.layers import convert as layer_tools
from napari_emsynth.plugin.restore.marks import change, without
from napari_emsynth.plugin.restore.marks_table import MarksTable
from napari_emsynth.plugin.restore.settings_form import SettingsForm
from napari_emsynth.plugin.widgets.blink import BlinkKey
from napari_emsynth.plugin.widgets.buttons import HistoryButtons, button, rows
from napari_emsynth.plugin.widgets.dock import Dock
from napari_emsynth.plugin.widgets.job_bar import JobBar
from napari_emsynth.plugin.widgets.layer_box import LayerBox
from napari_emsynth.plugin.widgets.notices import Notices

# The slider may run through many sections; a preview waits until it rests.
PREVIEW_DELAY_MS = 150
FORMATS = "OME-TIFF (*.ome.tif);;OME-Zarr (*.ome.zarr)"


class RestoreSections(Dock):
    """Mark sections, choose how, look, run.

    Args:
        napari_viewer: filled in by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer)
        session = self.session
        session.dock = weakref.ref(self)
        self.layer_box = LayerBox(session)
        self.channel = QSpinBox()
        self.table = MarksTable()
        self.form = SettingsForm(session.settings)
        self.notices = Notices()
        self.job_bar = JobBar(session.queue)
        self.live = QCheckBox("Live preview")
        self.live.setToolTip("Show what the repair would put at the section on screen")
        self.compare = QPushButton(f"Compare ({session.blink_key})")
        self.compare.setToolTip("Hold the button, or the key, to see the original")
        self.board = QCheckBox("Checkerboard")
        self.board.setToolTip("Show original and result in alternating squares")
        self.blink = BlinkKey(session)
        self._preview_timer = QTimer(self, singleShot=True, interval=PREVIEW_DELAY_MS)
        self._lay_out()
        self._connect()
        self._layer_changed()
        if session.engine is not None:
            self.form.set_engine(session.engine)
        session.load_engine()

    # -- reading -----------------------------------------------------------------------------------

    def layer(self) -> Any | None:
        """Return the chosen layer."""
        return self.layer_box.layer()

    def channel_index(self) -> int | None:
        """Return the channel of a 4-D layer, None of a 3-D one."""
        layer = self.layer()
        return self.channel.value() if layer is not None and layer.ndim == 4 else None

    def section(self) -> int | None:
        """Return the section on screen, None (and a line to the user) without a usable layer."""
        layer = self.layer()

        def act() -> int:
            layer_tools.check_layer(layer)
            return layer_tools.current_section(self.session.viewer, layer)

        return self.session.attempt(act)

    # -- acting ------------------------------------------------------------------------------------

    def add_current(self, treatment: str = "replace") -> None:
        """Mark the section on screen."""
        section = self.section()
        if section is not None:
            self.session.mark(self.layer(), section, treatment)

    def remove_chosen(self) -> None:
        """Take the selected marks away, all of them when none is selected."""
        marks = self.session.marks_of(self.layer())
        rows = self.table.chosen_rows() or range(len(marks))
        if marks:
            self.session.set_marks(self.layer(), without(marks, rows), "Remove marks")

    def detect(self) -> None:
        """Mark what looks damaged."""
        self.session.detect(self.layer(), self.channel_index())

    def run(self) -> None:
        """Repair what is marked."""
        self.notices.show_lines([], "")
        self.session.run_marked(self.layer(), self.channel_index())

    def preview_now(self) -> None:
        """Preview the section on screen, when the preview is on."""
        layer = self.layer()
        if self.live.isChecked() and layer is not None and not self.session.is_closed:
            section = layer_tools.current_section(self.session.viewer, layer)
            if section != self.session.preview.section or self.session.preview.layer_id is None:
                self.session.preview_at(layer, section, self.channel_index())

    def copy_code(self) -> str | None:
        """Put the repair as code on the clipboard."""
        return copy(self.session, self.layer(), self.channel_index())

    def export(self) -> None:
        """Ask where to, and write the active result, else the chosen layer."""
        shown = [layer_tools.find_layer(self.session.viewer, s.layer_id) for s in self.session.shown]
        layer = next((found for found in reversed(shown) if found is not None), self.layer())
        if layer is None:
            self.session.refuse("no layer is chosen; needs a 3-D image layer (z, y, x)")
            return
        path, _ = QFileDialog.getSaveFileName(self, f"Export {layer.name}", f"{layer.name}.ome.tif", FORMATS)
        if path:
            # The dialog has asked about overwriting.
            self.session.export(layer, Path(path), overwrite=True)

    # -- following ---------------------------------------------------------------------------------

    def _layer_changed(self) -> None:
        layer = self.layer()
        four = layer is not None and layer.ndim == 4
        self._top.setRowVisible(self.channel, four)
        if four:
            self.channel.setMaximum(layer_tools.full_data(layer).shape[0] - 1)
        self._refresh_marks()
        self._ask_preview()

    def _refresh_marks(self) -> None:
        self.table.set_marks(self.session.marks_of(self.layer()))
        self._ask_preview(anew=True)

    def _settings_changed(self) -> None:
        self.session.set_settings(self.form.value())
        self._ask_preview(anew=True)

    def _ask_preview(self, event: Any = None, *, anew: bool = False) -> None:  # noqa: ARG002 - napari's event
        if self.live.isChecked():
            if anew:
                self.session.preview.section = None
            self._preview_timer.start()

    def _live_toggled(self, on: bool) -> None:
        if on:
            self._ask_preview(anew=True)
        else:
            self._preview_timer.stop()
            self.session.end_preview()

    def _refresh_board(self, event: Any = None) -> None:  # noqa: ARG002 - napari's event
        self.board.setChecked(self.session.checkerboard.is_on(self.session.viewer))

    def _go_to(self, section: int) -> None:
        layer = self.layer()
        if layer is not None:
            layer_tools.show_section(self.session.viewer, layer, section)

    def _fill_mask_menu(self) -> None:
        self.mask_menu.clear()
        self.mask_menu.addAction("Detect damaged sections", self.detect)
        self.mask_menu.addSeparator()
        for mask in layer_tools.mask_layers(self.session.viewer):
            for words, whole in (("painted pixels", False), ("whole sections", True)):
                self.mask_menu.addAction(f"{mask.name}: {words}").triggered.connect(
                    lambda _checked=False, mask=mask, whole=whole: self.mark_from(mask, whole=whole)
                )
        if not layer_tools.mask_layers(self.session.viewer):
            self.mask_menu.addAction("(no labels or shapes layer to take a mask from)").setEnabled(False)

    def mark_from(self, mask: Any, *, whole: bool) -> None:
        """Mark what is drawn in a labels or shapes layer."""
        if self.layer() is not None:
            self.session.mark_from(self.layer(), mask, whole=whole)

    def showEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Take the blink key."""
        self.blink.bind()
        super().showEvent(event)

    def hideEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Give the blink key back; a hidden dock previews nothing."""
        self.blink.release()
        if not self.session.is_closed:
            self.session.compare(False)
        super().hideEvent(event)

    def leave(self) -> None:
        """Let go of the viewer."""
        self.session.dock = lambda: None
        self._preview_timer.stop()
        self.blink.release()
        self.session.end_preview()
        self.layer_box.release()
        self.session.show_checkerboard(False)
        self.session.viewer.layers.events.removed.disconnect(self._refresh_board)
        self.session.viewer.dims.events.current_step.disconnect(self._ask_preview)

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        top = QWidget()
        self._top = QFormLayout(top)
        self._top.setContentsMargins(0, 0, 0, 0)
        self._top.addRow("Layer", self.layer_box)
        self._top.addRow("Channel / time", self.channel)
        for widget in (top, self.table):
            self.body.addWidget(widget)
        self.body.addLayout(self._mark_buttons())
        self.body.addWidget(self.form)
        look = QHBoxLayout()
        look.addWidget(self.live)
        look.addWidget(self.compare)
        self.body.addLayout(look)
        self.body.addWidget(self.board)
        self.body.addWidget(self.notices)
        self.body.addStretch(1)
        self.foot.addWidget(self.job_bar)
        self.history = HistoryButtons(self.session)
        self.undo, self.redo = self.history.undo, self.history.redo
        self.foot.addWidget(self.history)
        self.foot.addLayout(self._output_buttons())

    def _mark_buttons(self) -> QVBoxLayout:
        self.add_damaged = button("+ Damaged", "Mark the section on screen as damaged: it is replaced")
        self.add_missing = button("+ Missing", "A section is missing before the one on screen: insert one")
        self.remove = button("Remove", "Take the selected marks away; all when none is selected")
        self.from_ = button("From...", "Mark what is detected, or drawn in a labels or shapes layer")
        self.mask_menu = QMenu(self)
        self.from_.setMenu(self.mask_menu)
        return rows((self.add_damaged, self.add_missing), (self.from_, self.remove))

    def _output_buttons(self) -> QVBoxLayout:
        self.copy = button("Copy as code", "Copy the repair as Python and as one command line")
        self.save = button("Export...", "Write the result, its mask and its record to a file")
        return rows((self.copy, self.save))

    def _connect(self) -> None:
        session = self.session
        self.layer_box.layer_changed.connect(self._layer_changed)
        self.table.treatment_chosen.connect(self._treatment_chosen)
        self.table.section_chosen.connect(self._go_to)
        self.add_damaged.clicked.connect(lambda: self.add_current("replace"))
        self.add_missing.clicked.connect(lambda: self.add_current("insert"))
        self.remove.clicked.connect(lambda: self.remove_chosen())
        self.mask_menu.aboutToShow.connect(self._fill_mask_menu)
        self.form.value_changed.connect(self._settings_changed)
        self.live.toggled.connect(self._live_toggled)
        self._preview_timer.timeout.connect(self.preview_now)
        self.compare.pressed.connect(lambda: session.compare(True))
        self.compare.released.connect(lambda: session.compare(False))
        self.board.clicked.connect(lambda on: session.show_checkerboard(on))
        session.results_changed.connect(self._refresh_board)
        session.viewer.layers.events.removed.connect(self._refresh_board)
        self.notices.instead_asked.connect(session.use_instead)
        self.job_bar.run_asked.connect(self.run)
        self.copy.clicked.connect(lambda: self.copy_code())
        self.save.clicked.connect(lambda: self.export())
        session.marks_changed.connect(self._refresh_marks)
        session.engine_loaded.connect(lambda: self.form.set_engine(session.engine))
        session.settings_changed.connect(self._settings_from_session)
        session.noticed.connect(self.notices.show_lines)
        session.layer_chosen.connect(self.layer_box.choose)
        session.viewer.dims.events.current_step.connect(self._ask_preview)

    def _settings_from_session(self) -> None:
        if self.form.value() != self.session.settings:
            self.form.set_value(self.session.settings)

    def _treatment_chosen(self, row: int, treatment: str) -> None:
        marks = change(self.session.marks_of(self.layer()), row, treatment)  # type: ignore[arg-type]
        self.session.set_marks(self.layer(), marks, "Change a mark")
