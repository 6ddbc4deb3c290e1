"""What the menu entries do; each does what a button or the canvas menu does, on the active layer.

napari fills ``viewer`` in, as a proxy that shows public names only. Every command puts the canvas menu in
place: nothing else of the plugin runs before.
"""

from __future__ import annotations

from typing import Any

from napari.viewer import Viewer

from napari_emsynth.plugin.export import patches
from napari_emsynth.plugin.layers.convert import check_layer, current_section
from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.viewer.session import Session


def _active(session: Session) -> tuple[Any, int] | None:
    """Return the active layer and its section on screen; None, and a line to the user, without a usable one."""
    viewer = session.viewer
    layer = viewer.layers.selection.active

    def act() -> tuple[Any, int]:
        check_layer(layer)
        return layer, current_section(viewer, layer)

    return session.attempt(act)


def interpolate_section(viewer: Viewer) -> None:
    """Replace the section on screen by an interpolated one, in a new layer."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        task.interpolate_at(*found)


def insert_section(viewer: Viewer) -> None:
    """Insert an interpolated section before the one on screen, in a new layer."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        task.insert_at(*found)


def mark_damaged(viewer: Viewer) -> None:
    """Mark the section on screen as damaged."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        task.mark(*found)


def detect_damaged(viewer: Viewer) -> None:
    """Look for damaged sections in the active layer and mark them."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        task.detect(found[0])


def copy_as_code(viewer: Viewer) -> None:
    """Copy the last repair, or the one that is marked, as Python and as a command line."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        task.copy(found[0])


def save_patch(viewer: Viewer) -> None:
    """Write what the active result changed as a patch."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None:
        patches.save(task.session, found[0])


def show_patch(viewer: Viewer) -> None:
    """Lay a patch over the active layer; nothing is written."""
    task = install(viewer)
    found = _active(task.session)
    if found is not None and (path := patches.chosen(task.session, "Show a patch")) is not None:
        patches.show(task.session, path, found[0])


def apply_patch(viewer: Viewer) -> None:
    """Put a patch into the file of the active layer."""
    _change_file(viewer, undo=False)


def undo_patch(viewer: Viewer) -> None:
    """Take a patch out of the file of the active layer."""
    _change_file(viewer, undo=True)


def _change_file(viewer: Viewer, *, undo: bool) -> None:
    task = install(viewer)
    found = _active(task.session)
    if found is None:
        return
    path = patches.chosen(task.session, "Undo a patch" if undo else "Apply a patch")
    if path is not None and patches.may_change(task.session, path, found[0], undo=undo):
        patches.change_file(task.session, path, found[0], undo=undo)
