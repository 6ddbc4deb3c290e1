"""Measure, in a fresh process, from the click to the visible section, and how long the window stood still.

Run as ``python latency.py METHOD EDGE``; prints one JSON object. ``first_s`` includes loading torch; ``..checked_s``
is when the repair is there with its self-check, after the quick answer and the refined one.
"""

from __future__ import annotations

import json
import sys
import time
from dataclasses import replace

import napari
import numpy as np
from qtpy.QtCore import QTimer
from qtpy.QtWidgets import QApplication

from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.restore.session import RestoreTask

PROBE_MS = 5
LONGEST_S = 120.0


class Probe(QTimer):
    """Remembers the longest time between two turns of the event loop beyond its interval."""

    def __init__(self) -> None:
        super().__init__()
        self.stalls_ms: list[float] = []
        self._last: float | None = None
        self.setInterval(PROBE_MS)
        self.timeout.connect(self._tick)

    def _tick(self) -> None:
        now = time.perf_counter()
        if self._last is not None:
            self.stalls_ms.append(1000 * (now - self._last) - PROBE_MS)
        self._last = now

    def worst(self) -> float:
        """Return the longest stall so far, and forget."""
        worst, self.stalls_ms = max(self.stalls_ms), []
        return round(worst, 1)


def settle(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        QApplication.processEvents()
        time.sleep(0.001)


def main(method: str, edge: int) -> None:
    heavy_before = "torch" in sys.modules
    viewer = napari.Viewer(show=True)
    rng = np.random.default_rng(0)
    blocks = rng.integers(40, 200, (16, edge // 16, edge // 16), dtype=np.uint8)
    layer = viewer.add_image(np.kron(blocks, np.ones((1, 16, 16), np.uint8)), name="stack")
    session = install(viewer).session
    repairs = RestoreTask.of(session)
    repairs.set_settings(replace(repairs.settings, method=method, device="cpu"))
    probe = Probe()
    settle(1.5)
    probe.start()
    settle(0.5)
    answer = {"method": method, "edge": edge, "heavy_before": heavy_before, "idle_stall_ms": probe.worst()}
    for name, section in (("first", 5), ("second", 9)):
        start = time.perf_counter()
        count = len(viewer.layers)
        repairs.interpolate_at(layer, section)
        while len(viewer.layers) == count and time.perf_counter() - start < LONGEST_S:
            QApplication.processEvents()
            time.sleep(0.001)
        answer[f"{name}_s"] = round(time.perf_counter() - start, 2)
        while session.queue.is_busy and time.perf_counter() - start < LONGEST_S:
            QApplication.processEvents()
            time.sleep(0.001)
        answer[f"{name}_checked_s"] = round(time.perf_counter() - start, 2)
        answer[f"{name}_working_stall_ms"] = probe.worst()
        settle(0.7)
        answer[f"{name}_showing_stall_ms"] = probe.worst()
    # What napari itself needs to add such a layer, in the same run.
    viewer.add_image(np.array(layer.data), contrast_limits=(0, 255))
    settle(0.7)
    answer["plain_add_image_stall_ms"] = probe.worst()
    session.close()
    viewer.close()
    sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
