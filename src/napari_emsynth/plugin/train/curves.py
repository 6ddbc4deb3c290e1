"""Live curves: the loss, and the validation against the baselines, as dB above each.

What training started from is a dotted line of each curve's colour; a star marks what would be saved now.

Conventions of a validation's record: ``psnr`` or ``psnr_<case>`` is ours; any other name with the same ending is a
floor; ``step``, ``seconds``, ``score`` and ``mid_band`` are neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pyqtgraph as pg
from qtpy.QtCore import Qt
from qtpy.QtGui import QColor
from qtpy.QtWidgets import QLabel, QSizePolicy, QVBoxLayout, QWidget

OURS = "psnr"
NO_FLOORS = ("step", "seconds", "score", "mid_band")
# What the network is built on: its curves would be those of the floor over again.
BASE = "fitted"
LOSS_HEIGHT, SCORE_HEIGHT = 96, 136
# Readable on dark and on light themes.
GREY = QColor(140, 140, 140)
COLOURS = tuple(
    QColor(*rgb) for rgb in ((90, 170, 230), (230, 160, 60), (110, 190, 110), (200, 120, 200), (220, 100, 100))
)
# Steps over which the loss is smoothed, as a share of the curve.
SMOOTH = 0.05

Checks = Sequence[dict[str, float]]


def gains(checks: Checks) -> dict[str, list[tuple[float, float]]]:
    """Return the curves of (step, dB above a floor) by their titles; the bare score where nothing has a floor."""
    curves: dict[str, list[tuple[float, float]]] = {}
    for record in checks:
        baselines = [name for name in record if name not in NO_FLOORS and not name.startswith((OURS, BASE))]
        for baseline in baselines:
            word, case = _parts(baseline, record)
            ours = record.get(OURS + case)
            if ours is not None:
                title = f"{word}, {_case(case)}" if case else word
                curves.setdefault(title, []).append((record["step"], ours - record[baseline]))
    return curves or {"score": [(record["step"], record["score"]) for record in checks]}


def _parts(name: str, record: dict[str, float]) -> tuple[str, str]:
    """Return the word and the ending ("_2", "_run_3" or "") that a figure of ours has too."""
    for n, letter in enumerate(name):
        if letter == "_" and OURS + name[n:] in record:
            return name[:n], name[n:]
    return name, ""


def _case(ending: str) -> str:
    """Return what a person calls a case: "gap 2", "run 3"."""
    words = ending.strip("_").replace("_", " ")
    return words if " " in words else f"gap {words}"


def smoothed(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return a running mean that follows a curve of any length."""
    keep = 1 - 1 / max(1.0, SMOOTH * len(points))
    out: list[tuple[float, float]] = []
    mean = points[0][1] if points else 0.0
    for x, y in points:
        mean = keep * mean + (1 - keep) * y
        out.append((x, mean))
    return out


class Plot(pg.PlotWidget):
    """A small plot that is looked at, not played with."""

    def __init__(self, left: str, height: int) -> None:
        super().__init__(background=None)
        self.setFixedHeight(height)
        self.setMinimumWidth(60)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        item = self.getPlotItem()
        item.setMenuEnabled(False)
        item.hideButtons()
        item.setMouseEnabled(False, False)
        for side in ("left", "bottom"):
            axis = item.getAxis(side)
            axis.setPen(pg.mkPen(GREY))
            axis.setTextPen(pg.mkPen(GREY))
            axis.enableAutoSIPrefix(False)
        item.getAxis("left").setWidth(46)
        item.setLabel("left", left, color=GREY.name())

    def wheelEvent(self, event: Any) -> None:  # noqa: N802 - Qt's name
        """Let the dock scroll."""
        event.ignore()


class TrainingCurves(QWidget):
    """Loss above, validation below, and the last validation in words."""

    def __init__(self) -> None:
        super().__init__()
        self.loss, self.score = Plot("loss", LOSS_HEIGHT), Plot("dB", SCORE_HEIGHT)
        self.score.setLabel("bottom", "step", color=GREY.name())
        self.raw = self.loss.plot(pen=pg.mkPen(GREY.darker(130)))
        self.mean = self.loss.plot(pen=pg.mkPen(COLOURS[0], width=2))
        self.baseline = pg.InfiniteLine(pos=0, angle=0, pen=pg.mkPen(GREY, style=Qt.PenStyle.DashLine))
        self.score.addItem(self.baseline)
        self.lines: dict[str, Any] = {}
        self.starts: dict[str, pg.InfiniteLine] = {}
        self.saved = pg.ScatterPlotItem(symbol="star", size=12, pen=None)
        self.score.addItem(self.saved)
        self.words = QLabel()
        self.words.setWordWrap(True)
        self.words.setTextFormat(Qt.TextFormat.RichText)
        # Its longest word must not push the dock beyond its width.
        self.words.setMinimumWidth(60)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        for widget in (self.loss, self.score, self.words):
            layout.addWidget(widget)

    def show_loss(self, points: Sequence[tuple[float, float]]) -> None:
        """Draw the loss, (step, loss)."""
        for line, curve in ((self.raw, points), (self.mean, smoothed(points))):
            line.setData([x for x, _ in curve], [y for _, y in curve])

    def show_checks(self, checks: Checks) -> None:
        """Draw the validations."""
        curves = gains(checks)
        for title in [title for title in self.lines if title not in curves]:
            self.score.removeItem(self.lines.pop(title))
            self.score.removeItem(self.starts.pop(title))
        for n, (title, points) in enumerate(curves.items()):
            colour = COLOURS[n % len(COLOURS)]
            if title not in self.lines:
                self.lines[title] = self.score.plot(
                    pen=pg.mkPen(colour, width=2), symbol="o", symbolSize=4, symbolBrush=colour, symbolPen=None
                )
                self.starts[title] = pg.InfiniteLine(angle=0, pen=pg.mkPen(colour, style=Qt.PenStyle.DotLine))
                self.score.addItem(self.starts[title])
            self.lines[title].setData([x for x, _ in points], [y for _, y in points])
            if points:
                self.starts[title].setPos(points[0][1])
        self._mark_saved(checks, curves)
        has_floor = bool(checks) and "score" not in curves
        self.baseline.setVisible(has_floor)
        self.score.setLabel("left", "dB" if has_floor else "score", color=GREY.name())
        self.words.setText(describe(curves, has_floor=has_floor) if checks else "")

    def _mark_saved(self, checks: Checks, curves: dict[str, list[tuple[float, float]]]) -> None:
        step = best_step(checks)
        spots = [
            {"pos": point, "brush": COLOURS[n % len(COLOURS)]}
            for n, points in enumerate(curves.values())
            for point in points
            if point[0] == step
        ]
        self.saved.setData(spots)


def best_step(checks: Checks) -> float | None:
    """Return the step of the validation that is kept; None while that is the start."""
    if not checks:
        return None
    best = max(checks, key=lambda record: record["score"])
    return best["step"] if best["score"] > checks[0]["score"] else None


def describe(curves: dict[str, list[tuple[float, float]]], *, has_floor: bool) -> str:
    """Return the last values as rich text, each in its curve's colour; one floor that all share is named once."""
    baselines = {title.partition(", ")[0] for title in curves}
    shared = f" {baselines.pop()}" if has_floor and len(baselines) == 1 else ""
    parts = []
    for n, (title, points) in enumerate(curves.items()):
        words = (title.partition(", ")[2] if shared else title).replace(" ", "&nbsp;")
        dot = f'<span style="color:{COLOURS[n % len(COLOURS)].name()}">&#9679;</span>'
        parts.append(f"{dot}&nbsp;{words}&nbsp;<b>{points[-1][1]:+.2f}</b>")
    what = f"Held-out sections, dB above{shared}:" if has_floor else "Held-out sections:"
    return f"{what}<br>{'&nbsp; '.join(parts)}"
