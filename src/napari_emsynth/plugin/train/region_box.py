"""Choose what to learn from: a layer, and a part of it."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QHBoxLayout, QLabel

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.layers.convert import check_layer, find_layer, type_of
from napari_emsynth.plugin.train import region as regions
from napari_emsynth.plugin.train.form import narrow
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.widgets.buttons import combo, spin
from napari_emsynth.plugin.widgets.layer_box import LayerRows
from napari_emsynth.training.job import Ranges

EVERYTHING, VIEW = "Everything", "What the view shows"


class RegionForm(LayerRows):
    """A form that speaks a layer, a channel and a region of it."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._session = session
        self.region = combo()
        self.first = spin(0, 0, 1, "First section to learn from")
        self.last = spin(0, 0, 1, "Last section to learn from; the last 15 % of them are held out as the judge")
        self._lay_out()
        events = session.viewer.layers.events
        self._events: tuple[Any, ...] = (events.inserted, events.removed, events.renamed)
        for event in self._events:
            event.connect(self._list_regions)
        self._list_regions()
        self.show_layer()

    def value(self) -> Ranges | None:
        """Return the region, None for everything.

        Raises:
            InputError: no usable layer, nothing in the region.
        """
        layer, viewer = self.layer(), self._session.viewer
        check_layer(layer)
        chosen = self.region.currentData()
        if chosen == EVERYTHING:
            found = regions.everything(layer)
        elif chosen == VIEW:
            found = regions.in_view(viewer, layer)
        else:
            shapes = find_layer(viewer, chosen)
            if shapes is None:
                raise InputError("the shapes layer of the region is gone; choose another region")
            found = regions.in_shapes(viewer, shapes, layer)
        found = regions.cut_sections(found, self.first.value(), self.last.value())
        return None if found == regions.everything(layer) else found

    def release(self) -> None:
        """Stop following the viewer."""
        super().release()
        for event in self._events:
            event.disconnect(self._list_regions)
        self._events = ()

    def _list_regions(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """List the regions there are; the chosen one stays chosen."""
        chosen = self.region.currentData()
        self.region.clear()
        self.region.addItem(EVERYTHING, EVERYTHING)
        self.region.addItem(VIEW, VIEW)
        for layer in reversed(list(self._session.viewer.layers)):
            if type_of(layer) == "shapes":
                self.region.addItem(f"Box drawn in {layer.name}", layer.unique_id)
        ids = [self.region.itemData(i) for i in range(self.region.count())]
        self.region.setCurrentIndex(ids.index(chosen) if chosen in ids else 0)

    def show_layer(self) -> None:
        """Offer the layer's channels and sections."""
        layer = self.layer()
        usable = layer is not None and layer.ndim in (3, 4) and not layer.rgb
        last = regions.shape_of(layer)[0] - 1 if usable else 0
        for box, value in ((self.first, 0), (self.last, last)):
            box.setMaximum(last)
            box.setValue(value)
        super().show_layer()

    def _lay_out(self) -> None:
        self.region.setToolTip("Leave out resin and damage: what is learnt from should look like what is mended")
        self.rows.addRow("Learn from", self.region)
        line = QHBoxLayout()
        for box in (self.first, self.last):
            narrow(box)
        line.addWidget(self.first, 1)
        line.addWidget(QLabel("to"))
        line.addWidget(self.last, 1)
        self.rows.addRow("Sections", line)
