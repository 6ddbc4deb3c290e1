"""Choose a layer, and a channel of one that has several: both follow the viewer's layer list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Signal
from qtpy.QtWidgets import QComboBox, QSizePolicy, QSpinBox, QWidget

from napari_emsynth.plugin.layers.convert import find_layer, full_data, image_layers
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.plugin.widgets.buttons import form_of


class LayerBox(QComboBox):
    """Speaks a layer's ``unique_id``.

    Args:
        session: of the viewer.
        choose: the layers that are offered.
        nothing: a first entry that stands for no layer; "" for none.

    Signals:
        layer_changed: another layer was chosen, by the user or because the old one is gone.
    """

    layer_changed = Signal()

    def __init__(
        self, session: Session, choose: Callable[[Any], list[Any]] = image_layers, *, nothing: str = ""
    ) -> None:
        super().__init__()
        self._session, self._choose, self._nothing = session, choose, nothing
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.setMinimumContentsLength(8)
        events = session.viewer.layers.events
        self._events: tuple[Any, ...] = (events.inserted, events.removed, events.reordered, events.renamed)
        for event in self._events:
            event.connect(self.refresh)
        self.refresh()
        active = session.viewer.layers.selection.active
        if active is not None and not nothing:
            self.choose(active.unique_id)
        self.currentIndexChanged.connect(lambda _index: self.layer_changed.emit())

    def release(self) -> None:
        """Stop following the viewer."""
        for event in self._events:
            event.disconnect(self.refresh)
        self._events = ()

    def layer(self) -> Any | None:
        """Return the chosen layer."""
        return find_layer(self._session.viewer, self.currentData())

    def choose(self, unique_id: Any) -> None:
        """Choose a layer by its id, when it is offered."""
        ids = [self.itemData(i) for i in range(self.count())]
        if unique_id in ids:
            self.setCurrentIndex(ids.index(unique_id))

    def refresh(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """List the layers anew; the chosen one stays chosen."""
        wanted = [(self._nothing, None)] if self._nothing else []
        wanted += [(layer.name, layer.unique_id) for layer in self._choose(self._session.viewer)]
        if wanted == [(self.itemText(i), self.itemData(i)) for i in range(self.count())]:
            return
        chosen = self.currentData()
        self.blockSignals(True)
        self.clear()
        for name, unique_id in wanted:
            self.addItem(name, unique_id)
        self.choose(chosen)
        self.blockSignals(False)
        if self.currentData() != chosen:
            self.layer_changed.emit()


class LayerRows(QWidget):
    """A form's first rows, which speak a layer and a channel of it.

    Args:
        session: of the viewer.

    Signals:
        layer_changed: another layer was chosen, or the old one is gone.
    """

    layer_changed = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self.layer_box, self.channel = LayerBox(session), QSpinBox()
        self.rows = form_of(self)
        self.rows.addRow("Layer", self.layer_box)
        self.rows.addRow("Channel / time", self.channel)
        self.layer_box.layer_changed.connect(self.show_layer)
        self._offer_channels()

    def layer(self) -> Any | None:
        """Return the chosen layer."""
        return self.layer_box.layer()

    def channel_index(self) -> int | None:
        """Return the channel of a 4-D layer, None of a 3-D one."""
        layer = self.layer()
        return self.channel.value() if layer is not None and layer.ndim == 4 else None

    def show_layer(self) -> None:
        """Offer what the chosen layer has, and tell who follows."""
        self._offer_channels()
        self.layer_changed.emit()

    def release(self) -> None:
        """Stop following the viewer."""
        self.layer_box.release()

    def _offer_channels(self) -> None:
        layer = self.layer()
        four = layer is not None and layer.ndim == 4
        self.rows.setRowVisible(self.channel, four)
        if four:
            self.channel.setMaximum(full_data(layer).shape[0] - 1)
