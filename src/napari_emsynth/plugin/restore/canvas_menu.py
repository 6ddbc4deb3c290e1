"""The canvas right-click menu.

The press is only remembered (napari's right-drag zoom goes on); a release after less than 4 px of movement
opens the menu. It stays out of 3-D views, of layers that are not 3-D images, and of every mode but pan and
zoom, where the right button may mean something else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qtpy.QtCore import QTimer
from qtpy.QtGui import QCursor
from qtpy.QtWidgets import QDockWidget, QMenu, QWidget

from napari_emsynth.plugin.layers.convert import is_companion, is_image, section_at
from napari_emsynth.plugin.restore.dock import RestoreSections
from napari_emsynth.plugin.restore.layer_menu import install_layer_menu
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session

RIGHT = 2
CLICK_PX = 4
RESTORE = "Restore sections"
# What napari calls it when it is opened from the menu; under another name there would be two.
DOCK_NAME = f"{RESTORE} (EMSynth)"


def install(viewer: Any) -> RestoreTask:
    """Put the menu on a viewer's canvas; a second call does nothing. Return what it acts through."""
    task = RestoreTask.of(Session.of(viewer))
    if not any(getattr(callback, "emsynth_menu", False) for callback in viewer.mouse_drag_callbacks):
        viewer.mouse_drag_callbacks.append(_callback(task))
        install_layer_menu()
    return task


def _callback(task: RestoreTask) -> Any:
    """Return the drag callback: a generator that napari resumes while the button is down."""

    def right_click(viewer: Any, event: Any) -> Iterator[None]:
        if task.session.is_closed or not is_ours(viewer, event):
            return
        start, position = tuple(event.pos), tuple(event.position)
        yield
        while event.type == "mouse_move":
            yield
        moved = max(abs(a - b) for a, b in zip(start, event.pos, strict=True))
        if moved < CLICK_PX:
            # Not now: the canvas is still in the middle of its own event.
            QTimer.singleShot(0, lambda: open_menu(task, position))

    right_click.emsynth_menu = True  # type: ignore[attr-defined]
    return right_click


def is_ours(viewer: Any, event: Any) -> bool:
    """True for a plain right press on a 3-D image that is being looked at."""
    layer = viewer.layers.selection.active
    return (
        event.button == RIGHT
        and not event.modifiers
        and viewer.dims.ndisplay == 2
        and layer is not None
        and is_image(layer)
        and not layer.rgb
        and layer.ndim == 3
        and not is_companion(layer)
        and str(layer.mode) == "pan_zoom"
    )


def open_menu(task: RestoreTask, position: tuple[float, ...]) -> QMenu | None:
    """Pop the menu up at the cursor, for a position of the world; None when that is outside the layer."""
    session = task.session
    layer = session.viewer.layers.selection.active
    section = None if layer is None else section_at(layer, position)
    if section is None:
        return None
    menu = build_menu(task, layer, section, session.window)
    # Without a parent nothing but us would keep it; the next one takes its place.
    task.menu = menu
    menu.popup(QCursor.pos())
    # While the user reads.
    session.load_engine()
    return menu


def build_menu(task: RestoreTask, layer: Any, section: int, parent: QWidget | None = None) -> QMenu:
    """Return the menu for one section of a layer."""
    menu, session, z = QMenu(parent), task.session, section
    marked = any(m.section == z and m.treatment == "replace" for m in task.marks_of(layer))
    entries = [
        (f"Interpolate missing slice (z={z})", lambda: task.interpolate_at(layer, z), True),
        ("Interpolate in place", lambda: task.interpolate_at(layer, z, place="in place"), True),
        ("Insert a section here", lambda: task.insert_at(layer, z), True),
        None,
        ("Mark as intact", lambda: task.unmark(layer, z), True) if marked
        else ("Mark as damaged", lambda: task.mark(layer, z), True),
        ("Preview here", lambda: task.preview_at(layer, z), True),
        ("Back to the result", lambda: session.compare(False), True) if session.comparison.is_on
        else ("Compare with original", lambda: session.compare(True), bool(session.shown)),
        None,
        (undo_title(session), session.undo, bool(session.history.done)),
        (f"{RESTORE}...", lambda: open_dock(task), True),
    ]  # fmt: skip
    for entry in entries:
        if entry is None:
            menu.addSeparator()
            continue
        title, act, enabled = entry
        action = menu.addAction(title)
        action.setEnabled(enabled)
        action.triggered.connect(lambda _checked=False, act=act: act())
    return menu


def undo_title(session: Session) -> str:
    """Return "Undo" with what would be undone."""
    done = session.history.done
    return f"Undo: {done[-1].title}" if done else "Undo"


def open_dock(task: RestoreTask) -> QWidget:
    """Show the Restore sections dock; the same one as Plugins > EMSynth shows."""
    dock = task.dock()
    if dock is None:
        dock = RestoreSections(task.session.viewer)
        task.session.viewer.window.add_dock_widget(dock, name=DOCK_NAME, area="right")
    if isinstance(dock.parent(), QDockWidget):
        dock.parent().show()
        dock.parent().raise_()
    return dock
