"""What the menu entries do; each does what a button or the canvas menu does, on the active layer.

napari fills ``viewer`` in, as a proxy that shows public names only. Every command puts the canvas menu in
place: nothing else of the plugin runs before.
"""

from __future__ import annotations

from typing import Any

from napari.viewer import Viewer
from qtpy.QtWidgets import QApplication

from napari_emsynth.plugin.copy_as_code import as_code, source_path
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.layers.convert import check_layer, current_section, volume_of
from napari_emsynth.plugin.restore.request import Request
from napari_emsynth.plugin.viewer.canvas_menu import install
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
    session = install(viewer)
    found = _active(session)
    if found is not None:
        session.interpolate_at(*found)


def insert_section(viewer: Viewer) -> None:
    """Insert an interpolated section before the one on screen, in a new layer."""
    session = install(viewer)
    found = _active(session)
    if found is not None:
        session.insert_at(*found)


def mark_damaged(viewer: Viewer) -> None:
    """Mark the section on screen as damaged."""
    session = install(viewer)
    found = _active(session)
    if found is not None:
        session.mark(*found)


def detect_damaged(viewer: Viewer) -> None:
    """Look for damaged sections in the active layer and mark them."""
    session = install(viewer)
    found = _active(session)
    if found is not None:
        session.detect(found[0])


def copy_as_code(viewer: Viewer) -> None:
    """Copy the last repair, or the one that is marked, as Python and as a command line."""
    session = install(viewer)
    found = _active(session)
    if found is not None:
        copy(session, found[0])


def copy(session: Session, layer: Any, channel: int | None = None) -> str | None:
    """Put the code of what is marked in a layer on the clipboard, else of the last repair; return it."""
    request = Request.of(session.marks_of(layer), session.settings)
    if not (request.sections or request.inserts or request.regions) and session.last_request is not None:
        layer, request, channel = session.last_request

    def act() -> str:
        volume = volume_of(layer, channel)
        request.check(volume.shape[0])
        return as_code(request, volume, source_path(layer))

    text = session.attempt(act)
    if text is not None:
        QApplication.clipboard().setText(text)
        notify.info("copied: Python, and one line for a terminal")
    return text
