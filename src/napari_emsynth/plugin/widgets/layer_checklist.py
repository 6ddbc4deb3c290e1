"""Layers with a box each: the list follows the viewer, and what is ticked stays ticked."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtCore import Qt, Signal
from qtpy.QtWidgets import QListWidget, QListWidgetItem

from napari_emsynth.plugin.layers.convert import type_of

LEAST_PX, MOST_PX, ROW_PX = 60, 140, 20


class LayerChecklist(QListWidget):
    """Speaks the unique ids of the ticked layers.

    Args:
        viewer: raw or proxied.
        offered: the viewer's layers that are listed.
        start: ids that are ticked at first.

    Signals:
        ticks_changed: by the user.
    """

    ticks_changed = Signal()

    def __init__(self, viewer: Any, offered: Callable[[Any], list[Any]], start: list[Any]) -> None:
        super().__init__()
        self._viewer, self._offered, self._ticked = viewer, offered, list(start)
        self.itemChanged.connect(lambda _item: self._changed())
        events = viewer.layers.events
        self._events: tuple[Any, ...] = (events.inserted, events.removed, events.reordered, events.renamed)
        for event in self._events:
            event.connect(self.refresh)
        self.refresh()

    def ticked(self) -> list[Any]:
        """Return the ids of the ticked layers, in the order of the list."""
        return [item.data(Qt.ItemDataRole.UserRole) for item in self._items() if is_on(item)]

    def tick(self, layer_ids: list[Any]) -> None:
        """Tick these layers and no others."""
        for item in self._items():
            item.setCheckState(state_of(item.data(Qt.ItemDataRole.UserRole) in layer_ids))

    def release(self) -> None:
        """Stop following the viewer."""
        for event in self._events:
            event.disconnect(self.refresh)
        self._events = ()

    def refresh(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """List the layers anew; the ticked ones stay ticked."""
        self.blockSignals(True)
        self.clear()
        for layer in self._offered(self._viewer):
            item = QListWidgetItem(f"{layer.name}  ({type_of(layer)})")
            item.setData(Qt.ItemDataRole.UserRole, layer.unique_id)
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            item.setCheckState(state_of(layer.unique_id in self._ticked))
            self.addItem(item)
        self.blockSignals(False)
        self.setFixedHeight(min(MOST_PX, max(LEAST_PX, ROW_PX * self.count() + 8)))

    def _changed(self) -> None:
        self._ticked = self.ticked()
        self.ticks_changed.emit()

    def _items(self) -> list[QListWidgetItem]:
        return [self.item(row) for row in range(self.count())]


def state_of(on: bool) -> Qt.CheckState:
    """Return the state of a box."""
    return Qt.CheckState.Checked if on else Qt.CheckState.Unchecked


def is_on(item: QListWidgetItem) -> bool:
    """True while the box of an item is ticked."""
    return bool(item.checkState() == Qt.CheckState.Checked)
