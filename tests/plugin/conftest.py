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

from napari_emsynth.plugin.restore.canvas_menu import install
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session
from napari_emsynth.testing.phantoms import Phantom

PROXIED = "proxied"


@pytest.fixture(scope="session", autouse=True)
def manifests_read_once() -> Iterator[None]:
    """For every window napari reads all that is installed in search of plugins, an eighth of a test's work."""
    from npe2 import PluginManifest

    found = list(PluginManifest.discover())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PluginManifest, "discover", lambda paths=(): iter(found))
        yield


@pytest.fixture
def viewer(request: Any) -> Any:
    """A viewer as commands get it, nothing private within reach; ``indirect`` asks for one as widgets get it."""
    proxied = getattr(request, "param", PROXIED) == PROXIED
    return request.getfixturevalue("make_napari_viewer_proxy" if proxied else "make_napari_viewer")()


@pytest.fixture
def raw_viewer(make_napari_viewer: Callable[..., Any]) -> Any:
    return make_napari_viewer()


@pytest.fixture
def session(viewer: Any) -> Iterator[Session]:
    session = install(viewer).session
    yield session
    session.close()


@pytest.fixture
def repairs(session: Session) -> RestoreTask:
    return RestoreTask.of(session)


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


@pytest.fixture
def more_methods(monkeypatch: pytest.MonkeyPatch) -> None:
    """Methods of another package: quick ones that redraw, one that only a cancel ends, and one that guesses badly."""
    from types import SimpleNamespace

    import numpy as np

    from napari_emsynth import methods
    from napari_emsynth.methods.upsample.protocol import Expert
    from napari_emsynth.spec import MethodSpec

    class Smooth:
        """Aligns by a mean over neighbours."""

        halo = (1, 2, 2)

        def __call__(self, block: Any, runtime: Any) -> Any:
            runtime.cancel.check()
            padded = np.pad(block, ((1, 1), (0, 0), (0, 0)), mode="reflect")
            return ((padded[:-2] + padded[1:-1] + padded[2:]) / 3).astype(np.float32)

    class Nearest:
        """Upsamples by the nearest section, shifted by a constant."""

        def __init__(self, shift: float = 0.0) -> None:
            self.shift = shift

        def halo(self, factor: float) -> tuple[int, int, int]:
            return (1, 2, 2)

        def __call__(self, block: Any, ask: Any, runtime: Any) -> Any:
            runtime.cancel.check()
            nearest = [min(len(block) - 1, max(0, round(p))) for p in ask.positions]
            return [Expert("nearest", block[nearest] + self.shift)]

    class Endless:
        halo = (0, 0, 0)

        def __call__(self, block: Any, *args: Any) -> Any:
            while True:
                args[-1].cancel.check()
                args[-1].cancel._event.wait(0.01)

    def point(task: Any, name: str, made: Any, **more: Any) -> Any:
        spec = MethodSpec(
            task=task, id=name, title=name.title(), summary="For tests.", build=lambda *_: made,
            keeps_acquired=False, **more,
        )  # fmt: skip
        return SimpleNamespace(name=name, load=lambda: spec)

    twice = {"factors": (2,), "samplings": ("point",)}
    found = [
        point("align", "smooth", Smooth()),
        point("align", "endless", Endless()),
        point("upsample", "twice", Nearest(), **twice),
        point("upsample", "poor", Nearest(3.0), **twice),
    ]
    monkeypatch.setattr(methods, "entry_points", lambda group: found)
