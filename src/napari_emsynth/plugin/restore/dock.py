"""The Restore sections dock."""

from __future__ import annotations

import weakref
from dataclasses import replace
from typing import Any

from qtpy.QtWidgets import QCheckBox, QHBoxLayout, QMenu, QVBoxLayout

from napari_emsynth.plugin.layers import convert as layer_tools
from napari_emsynth.plugin.restore.marks import change, without
from napari_emsynth.plugin.restore.marks_table import MarksTable
from napari_emsynth.plugin.restore.request import Settings
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.widgets.auto_preview import AutoPreview
from napari_emsynth.plugin.widgets.buttons import button, rows
from napari_emsynth.plugin.widgets.layer_dock import LayerDock
from napari_emsynth.plugin.widgets.look import LookChoice
from napari_emsynth.plugin.widgets.method_form import MethodForm, Switch


class RestoreSections(LayerDock):
    """Mark sections, choose how, look, run.

    Args:
        napari_viewer: filled in by napari.
    """

    def __init__(self, napari_viewer: Any) -> None:
        super().__init__(napari_viewer, "repair")
        session = self.session
        self.task = RestoreTask.of(session)
        self.task.dock = weakref.ref(self)
        self.table = MarksTable()
        self.form = SettingsForm(self.task.settings)
        self.auto_box = QCheckBox("Auto preview")
        self.auto_box.setToolTip("Show what the repair would put at the section on screen")
        self.board = QCheckBox("Checkerboard")
        self.board.setToolTip("Show original and result in alternating squares")
        self.auto_preview = AutoPreview(session.viewer, self)
        self._lay_out()
        self._connect()
        self._layer_changed()
        self.form.set_engine(session.engine)
        session.load_engine()

    # -- reading -----------------------------------------------------------------------------------

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
            self.task.mark(self.layer(), section, treatment)

    def remove_chosen(self) -> None:
        """Take the selected marks away, all of them when none is selected."""
        marks = self.task.marks_of(self.layer())
        rows = self.table.chosen_rows() or range(len(marks))
        if marks:
            self.task.set_marks(self.layer(), without(marks, rows), "Remove marks")

    def detect(self) -> None:
        """Mark what looks damaged."""
        self.task.detect(self.layer(), self.channel_index())

    def run(self) -> None:
        """Repair what is marked."""
        self.notices.show_lines([], "")
        self.task.run_marked(self.layer(), self.channel_index())

    def preview_now(self) -> None:
        """Preview the section on screen, when the preview is on."""
        layer = self.layer()
        if self.auto_box.isChecked() and layer is not None and not self.session.is_closed:
            section = layer_tools.current_section(self.session.viewer, layer)
            if section != self.task.preview.section or self.task.preview.layer_id is None:
                self.task.preview_at(layer, section, self.channel_index())

    def copy_code(self) -> str | None:
        """Put the repair as code on the clipboard."""
        return self.task.copy(self.layer(), self.channel_index())

    def newest(self) -> Any | None:
        """Return the layer of the newest result there is, of any task."""
        shown = [layer_tools.find_layer(self.session.viewer, s.layer_id) for s in self.session.shown]
        return next((found for found in reversed(shown) if found is not None), None)

    # -- following ---------------------------------------------------------------------------------

    def _layer_changed(self) -> None:
        self._refresh_marks()

    def _refresh_marks(self) -> None:
        self.table.set_marks(self.task.marks_of(self.layer()))
        self._preview_anew()

    def _settings_changed(self) -> None:
        self.task.set_settings(self.form.value())
        self._preview_anew()

    def _preview_anew(self) -> None:
        self.task.preview.section = None
        self.auto_preview.ask()

    def _auto_toggled(self, on: bool) -> None:
        if on:
            self.task.preview.section = None
            self.auto_preview.start()
        else:
            self.auto_preview.stop()
            self.task.end_preview()

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
            self.task.mark_from(self.layer(), mask, whole=whole)

    def leave(self) -> None:
        """Let go of the viewer."""
        self.task.dock = lambda: None
        self.auto_preview.stop()
        self.task.end_preview()
        self.session.show_checkerboard(False)
        self.session.viewer.layers.events.removed.disconnect(self._refresh_board)
        super().leave()

    # -- building ----------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        for widget in (self.top, self.table):
            self.body.addWidget(widget)
        self.body.addLayout(self._mark_buttons())
        self.body.addWidget(self.form)
        look = QHBoxLayout()
        look.addWidget(self.auto_box)
        look.addWidget(self.compare)
        self.body.addLayout(look)
        self.body.addWidget(self.board)
        self.body.addWidget(self.notices)
        self.body.addStretch(1)
        self._lay_out_foot()

    def _mark_buttons(self) -> QVBoxLayout:
        self.add_damaged = button("+ Damaged", "Mark the section on screen as damaged: it is replaced")
        self.add_missing = button("+ Missing", "A section is missing before the one on screen: insert one")
        self.remove = button("Remove", "Take the selected marks away; all when none is selected")
        self.from_ = button("From...", "Mark what is detected, or drawn in a labels or shapes layer")
        self.mask_menu = QMenu(self)
        self.from_.setMenu(self.mask_menu)
        return rows((self.add_damaged, self.add_missing), (self.from_, self.remove))

    def _connect(self) -> None:
        super()._connect()
        session = self.session
        self.table.treatment_chosen.connect(self._treatment_chosen)
        self.table.section_chosen.connect(self._go_to)
        self.add_damaged.clicked.connect(lambda: self.add_current("replace"))
        self.add_missing.clicked.connect(lambda: self.add_current("insert"))
        self.remove.clicked.connect(lambda: self.remove_chosen())
        self.mask_menu.aboutToShow.connect(self._fill_mask_menu)
        self.form.value_changed.connect(self._settings_changed)
        self.auto_box.toggled.connect(self._auto_toggled)
        self.auto_preview.rested.connect(self.preview_now)
        self.board.clicked.connect(lambda on: session.show_checkerboard(on))
        session.results_changed.connect(self._refresh_board)
        session.viewer.layers.events.removed.connect(self._refresh_board)
        self.notices.instead_asked.connect(self.task.use_instead)
        self.task.marks_changed.connect(self._refresh_marks)
        session.engine_loaded.connect(lambda: self.form.set_engine(session.engine))
        self.task.settings_changed.connect(self._settings_from_session)
        session.noticed.connect(self.notices.show_lines)
        self.task.layer_chosen.connect(self.layer_box.choose)

    def _settings_from_session(self) -> None:
        if self.form.value() != self.task.settings:
            self.form.set_value(self.task.settings)

    def _treatment_chosen(self, row: int, treatment: str) -> None:
        marks = change(self.task.marks_of(self.layer()), row, treatment)  # type: ignore[arg-type]
        self.task.set_marks(self.layer(), marks, "Change a mark")


SELFCHECK = Switch("selfcheck", "Self-check on intact neighbours")
IN_PLACE = Switch("place", "In place (undoable), no new layer", on="in place", off="new layer")
LAZY = Switch("lazy", "Lazy: compute what is shown")
WITH_MASK = Switch("with_mask", "Add the synthetic mask")
WITH_UNCERTAINTY = Switch("with_uncertainty", "Add the uncertainty")


class SettingsForm(MethodForm):
    """A form that speaks one value, :class:`Settings`."""

    def __init__(self, settings: Settings) -> None:
        self.look = LookChoice("with fine detail of a neighbour that the record names (the seed chooses it)")
        super().__init__(settings, "interpolate", (SELFCHECK, IN_PLACE, LAZY, WITH_MASK, WITH_UNCERTAINTY))
        self.in_place = self.switches[IN_PLACE]
        box = self.layout()
        box.insertWidget(box.indexOf(self.more), self.look)
        self.look.chosen.connect(self._changed)

    def value(self) -> Settings:
        """Return what the form says."""
        said: Settings = super().value()
        return replace(said, look=self.look.value())

    def set_value(self, settings: Settings) -> None:
        """Show other settings; nothing is emitted."""
        super().set_value(settings)
        self.look.set_value(settings.look)
