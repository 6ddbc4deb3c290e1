"""What the dock lays over a super-resolved volume: where the method was off the data, and where a prior spoke."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from napari_emsynth.plugin.superres.session import SuperresTask
from napari_emsynth.plugin.superres.views import PRIOR, RESIDUAL
from napari_emsynth.plugin.widgets.notices import remark

WORDS = {RESIDUAL: "Where the method was off the data", PRIOR: "Where a prior was let in"}
TIPS = {
    RESIDUAL: "On the acquired pixels: blue where the method drew them too dark, red too bright, before the result was "
    "moved to where their means are right",
    PRIOR: "Magenta where a learned prior was let in: where what it draws resembles the acquired section",
}


class FidelityPanel(QWidget):
    """Turns views on and off.

    Args:
        task: the viewer's super-resolution.
        layer: gives the layer chosen in the dock.
    """

    def __init__(self, task: SuperresTask, layer: Callable[[], Any]) -> None:
        super().__init__()
        self._task, self._layer = task, layer
        self.boxes = {name: QCheckBox(text) for name, text in WORDS.items()}
        self.hint = remark()
        self.hint.setText(
            "Faint means that block means are right, no more: what is smaller than an acquired pixel is made up"
        )
        rows = QVBoxLayout(self)
        rows.setContentsMargins(0, 0, 0, 0)
        for name, box in self.boxes.items():
            box.setToolTip(TIPS[name])
            box.clicked.connect(lambda on, name=name: self._clicked(name, on))
            rows.addWidget(box)
        rows.addWidget(self.hint)
        task.session.results_changed.connect(self.refresh)
        task.session.viewer.layers.events.removed.connect(self.refresh)
        self.refresh()

    def release(self) -> None:
        """Stop following the viewer."""
        self._task.session.viewer.layers.events.removed.disconnect(self.refresh)

    def refresh(self, event: Any = None) -> None:  # noqa: ARG002 - napari hands its event over
        """Show what is there: a view may have gone with its result, or by the user's hand."""
        if self._task.session.is_closed:
            return
        shown = self._task.judged(self._layer())
        for name, box in self.boxes.items():
            box.setEnabled(shown is not None and getattr(shown.result, name) is not None)
            box.setChecked(self._task.views.is_on(name))

    def _clicked(self, name: str, on: bool) -> None:
        if not on:
            self._task.views.hide(name)
        elif self._task.views.show(name, self._task.judged(self._layer())) is None:
            self.boxes[name].setChecked(False)
