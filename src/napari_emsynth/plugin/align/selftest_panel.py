"""The self-test button: does the chosen method find a known warp of the user's own sections?"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qtpy.QtWidgets import QLabel, QVBoxLayout, QWidget

from napari_emsynth.plugin.align.session import AlignTask
from napari_emsynth.plugin.widgets.buttons import button

GOOD, BAD = "#6ebe6e", "#e6963c"


class SelfTestPanel(QWidget):
    """A button, and what came of it.

    Args:
        task: the viewer's alignment.
        layer: gives the layer chosen in the dock.
        channel: gives its channel.
    """

    def __init__(self, task: AlignTask, layer: Callable[[], Any], channel: Callable[[], int | None]) -> None:
        super().__init__()
        self.button = button(
            "Self-test", "Warp sections of this layer by a known field and see whether the method finds it"
        )
        self.verdict, self.figures = QLabel(), QLabel()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(3)
        for widget in (self.button, self.verdict, self.figures):
            layout.addWidget(widget)
        for label in (self.verdict, self.figures):
            label.setWordWrap(True)
        self.button.clicked.connect(lambda: task.self_test(layer(), channel()))
        task.self_tested.connect(self.show_found)
        self.show_found(task.last_self_test)

    def show_found(self, found: dict[str, Any] | None) -> None:
        """Show a self-test as its JSON object says; None hides the last one."""
        for label in (self.verdict, self.figures):
            label.setVisible(found is not None)
        if found is not None:
            self.verdict.setText(found["verdict"])
            self.verdict.setStyleSheet(f"color: {GOOD if found['fit'] else BAD};")
            self.figures.setText(figures(found))


def figures(found: dict[str, Any]) -> str:
    """Return the figures of a self-test, a line each."""
    pairs = ", ".join(f"{a}-{b}" for a, b in found["pairs"])
    lines = [
        f"known warp {found['warp_px']:.2f} px, on sections {pairs}",
        f"EPE {said(found['epe_px'], 'px')}, EqE {said(found['eqe_px'], 'px')}",
        f"folds {said(found['folds'] and 100 * found['folds'], '%')}, harm {said(found['harm_px'], 'px')}",
        f"CPC {said(found['cpc_before'])} before, {said(found['cpc_after'])} after",
        f"{said(found['seconds'], 's')} an answer",
    ]
    return "\n".join(lines)


def said(value: float | None, unit: str = "") -> str:
    """Return a figure with its unit; a dash when it could not be told."""
    return "–" if value is None else f"{value:.2f} {unit}".rstrip()
