"""What the dock shows of an alignment: displacements, confidence and neighbouring sections, laid over the canvas."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QCheckBox, QWidget

from napari_emsynth.plugin.align.displacement_view import HIGHEST_MAGNIFICATION
from napari_emsynth.plugin.align.views import FieldViews
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.widgets.buttons import beside, combo, form_of, spin

NOTHING = "off"
MAGNIFY_PX = 80
KINDS = {NOTHING: "", "arrows": "arrows", "grid": "grid"}
HOWS = {NOTHING: "", "red / green": "red/green", "checkerboard": "squares"}


class FieldPanel(QWidget):
    """Turns views on and off.

    Args:
        session: the viewer's.
        views: of its alignments.
        layer: gives the layer chosen in the dock.
    """

    def __init__(self, session: Session, views: FieldViews, layer: Callable[[], Any]) -> None:
        super().__init__()
        self._session, self._views, self._layer = session, views, layer
        self.displacement, self.neighbours = combo(), combo()
        for box, words in ((self.displacement, KINDS), (self.neighbours, HOWS)):
            for text, value in words.items():
                box.addItem(text, value)
        self.magnify = spin(0, HIGHEST_MAGNIFICATION, 1, "How many times too long displacements are drawn")
        self.magnify.setPrefix("x")
        self.magnify.setSpecialValueText("auto")
        self.magnify.setFixedWidth(MAGNIFY_PX)
        self.confidence = QCheckBox("Confidence, red to green")
        self.confidence.setToolTip("How far displacements can be trusted; red where the method abstains")
        self.displacement.setToolTip("Arrows end where tissue lies now; the grid is drawn on the original")
        self.neighbours.setToolTip("Each section over the next; hold Compare to see the original so")
        rows = form_of(self)
        rows.addRow("Displacement", beside(self.displacement, self.magnify))
        rows.addRow("Neighbours", self.neighbours)
        rows.addRow(self.confidence)
        self.displacement.activated.connect(lambda _i: self._displacement_chosen())
        self.magnify.valueChanged.connect(lambda _v: self._magnified())
        self.neighbours.activated.connect(lambda _i: self._neighbours_chosen())
        self.confidence.clicked.connect(self._confidence_clicked)
        session.results_changed.connect(self.refresh)
        session.viewer.layers.events.removed.connect(self.refresh)
        self.refresh()

    def release(self) -> None:
        """Stop following the viewer."""
        self._session.viewer.layers.events.removed.disconnect(self.refresh)

    def refresh(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """Show what is there: a view may have gone with its result, or by the user's hand."""
        if self._session.is_closed:
            return
        if not self._views.is_on("displacement"):
            self.displacement.setCurrentIndex(0)
        if not self._session.neighbours.is_on(self._session.viewer):
            self.neighbours.setCurrentIndex(0)
        self.confidence.setChecked(self._views.is_on("confidence"))

    def _displacement_chosen(self) -> None:
        kind = self.displacement.currentData()
        if not kind:
            self._views.hide("displacement")
        elif self._views.show_displacement(self._layer(), kind, self.magnify.value()) is None:
            self.displacement.setCurrentIndex(0)

    def _magnified(self) -> None:
        if self.displacement.currentData():
            self._displacement_chosen()

    def _neighbours_chosen(self) -> None:
        how = self.neighbours.currentData()
        if not how:
            self._session.neighbours.hide(self._session.viewer)
        elif not self._views.show_neighbours(self._layer(), how):
            self.neighbours.setCurrentIndex(0)

    def _confidence_clicked(self, on: bool) -> None:
        if not on:
            self._views.hide("confidence")
        elif self._views.show_confidence(self._layer()) is None:
            self.confidence.setChecked(False)
