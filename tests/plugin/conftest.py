"""A real napari window, real jobs, and a small stack with something to repair."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("napari")
pytest.importorskip("pytestqt")
if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
    pytest.skip("the window needs a display: run under xvfb-run", allow_module_level=True)

from napari_emsynth.plugin.canvas_menu import install
from napari_emsynth.plugin.session import Session
from napari_emsynth.testing.phantoms import Phantom

PROXIED = "proxied"


@pytest.fixture(params=["raw", PROXIED])
def viewer(request: Any) -> Any:
    """A viewer as widgets get it from the menu, and one as commands get it."""
    proxied = request.param == PROXIED
    return request.getfixturevalue("make_napari_viewer_proxy" if proxied else "make_napari_viewer")()


@pytest.fixture
def raw_viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer()


@pytest.fixture
def session(viewer: Any) -> Iterator[Session]:
    session = install(viewer)
    yield session
    session.close()


@pytest.fixture
def finish(qtbot: Any) -> Callable[..., None]:
    """Wait until a session's queue has nothing left to do and its companions are on the screen."""

    def wait(session: Session, timeout_ms: int = 60_000) -> None:
        qtbot.waitUntil(lambda: not (session.queue.is_busy or session.is_showing), timeout=timeout_ms)

    return wait


@pytest.fixture
def stack() -> Any:
    """[12, 64, 72] uint8 with something to see."""
    return Phantom(shape=(12, 64, 72), seed=3).volume().read(slice(None))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that were shown to the user."""
    from napari.utils.notifications import notification_manager

    lines: list[str] = []
    dispatch = notification_manager.dispatch

    def listen(notification: Any) -> None:
        lines.append(notification.message)
        dispatch(notification)

    monkeypatch.setattr(notification_manager, "dispatch", listen)
    return lines


@pytest.fixture(autouse=True)
def no_thread_left() -> Iterator[None]:
    yield
    alive = [thread.name for thread in threading.enumerate() if thread.name == "emsynth-jobs"]
    assert not alive, f"a job thread is still alive: {alive}"
