"""The window a viewer lives in: napari has no public name or signal for it, Qt has."""

from __future__ import annotations

from typing import Any

from qtpy.QtWidgets import QApplication, QMainWindow, QWidget


def window_of(viewer: Any) -> QWidget | None:
    """Return the Qt window of a raw viewer.

    napari has no public name for it. Where the private one is gone, the only window there is will do; without one
    the session still ends with the application.
    """
    known = getattr(getattr(viewer, "window", None), "_qt_window", None)
    if isinstance(known, QWidget):
        return known
    windows = [w for w in QApplication.topLevelWidgets() if isinstance(w, QMainWindow)]
    return windows[0] if len(windows) == 1 else None
