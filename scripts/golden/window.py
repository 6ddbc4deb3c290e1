"""The cases of ``golden`` of napari's window: docks and commands by the manifest's names, buttons by their words."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from cases import Case, digest, given

PLUGIN = "napari-emsynth"
SECTION = 5
"""Section on screen."""
# A dock's title: the method it is given, and the buttons that are pressed before Run.
DOCKS: dict[str, tuple[str, tuple[str, ...]]] = {
    "Restore sections": ("linear", ("+ Damaged",)),
    "Fine alignment": ("optical-flow", ()),
    "Upsample z": ("kriging", ()),
    "Super-resolve": ("bicubic", ()),
}
# A command of the manifest: whether a new layer comes of it.
MENU = {"interpolate_section": True, "insert_section": True, "mark_damaged": False, "detect_damaged": False}


def cases() -> Iterator[tuple[str, Case]]:
    """Yield the cases by name."""
    for title, (method, buttons) in DOCKS.items():
        yield f"window/{title}", partial(docked, title, method, buttons)
    for command, adds in MENU.items():
        yield f"window/{command}", partial(ordered, command, adds)


def docked(title: str, method: str, buttons: tuple[str, ...]) -> dict[str, Any]:
    """Return the layers that a dock's Run adds, the code it copies, and what Undo leaves."""
    from qtpy.QtWidgets import QComboBox

    viewer = opened("scan" if title == "Super-resolve" else "shaken")
    _, dock = viewer.window.add_plugin_dock_widget(PLUGIN, title)
    offers = until(lambda: [box for box in dock.findChildren(QComboBox) if box.findData(method) >= 0])
    offers[0].setCurrentIndex(offers[0].findData(method))
    offers[0].activated.emit(offers[0].currentIndex())
    clipboard().clear()
    for text in (*buttons, "Copy as code", "Run"):
        press(dock, text)
    until(lambda: complete(viewer) and pressable(dock, "Run"))
    layers, code = layers_of(viewer), clipboard().text()
    press(dock, "Undo")
    left = [layer.name for layer in viewer.layers]
    viewer.close()
    return {"layers": layers, "code": code, "undone": left}


def ordered(command: str, adds: bool) -> dict[str, Any]:
    """Return the layers that a command of the menus leaves, and the code of what was marked or done."""
    from npe2 import PluginManager

    execute = PluginManager.instance().commands.execute
    viewer = opened("blank")
    execute(f"{PLUGIN}.{command}", (viewer,))
    until(lambda: complete(viewer) or not adds)
    clipboard().clear()
    # What is looked for takes its time, and until it is found there is nothing to copy.
    until(lambda: execute(f"{PLUGIN}.copy_as_code", (viewer,)) or clipboard().text(), steady_s=0.0)
    layers, code = layers_of(viewer), clipboard().text()
    viewer.close()
    return {"layers": layers, "code": code}


def opened(name: str) -> Any:
    """Return a window with one layer and a section of it on screen."""
    import napari

    viewer = napari.Viewer()
    place: dict[str, Any] = {"scale": (10, 10, 10), "units": ["nm"] * 3, "contrast_limits": (0, 255)}
    viewer.add_image(given(name).data, name="stack", **place)
    viewer.dims.set_point(0, 10 * SECTION)
    return viewer


def complete(viewer: Any) -> bool:
    """Return whether a result's mask, the last of it, is there, and no preview any more."""
    names = [layer.name for layer in viewer.layers]
    return any("synthetic" in name for name in names) and not any("preview" in name for name in names)


def clipboard() -> Any:
    """Return the window's clipboard."""
    from qtpy.QtWidgets import QApplication

    return QApplication.clipboard()


def layers_of(viewer: Any) -> dict[str, Any]:
    """Return what is kept of every layer, by name."""
    return {layer.name: layer_of(layer) for layer in viewer.layers}


def layer_of(layer: Any) -> dict[str, Any]:
    """Return a layer's hash, its place and its record."""
    place = {"scale": layer.scale.tolist(), "translate": layer.translate.tolist(), "units": list(map(str, layer.units))}
    shown = {"kind": type(layer).__name__, "visible": layer.visible, "record": layer.metadata.get("emsynth")}
    return digest(layer.data) | place | shown


def pressable(dock: Any, text: str) -> list[Any]:
    """Return the enabled buttons of a dock that say so."""
    from qtpy.QtWidgets import QPushButton

    return [button for button in dock.findChildren(QPushButton) if button.text() == text and button.isEnabled()]


def press(dock: Any, text: str) -> None:
    """Press the first button that says so, once it can be pressed."""
    until(lambda: pressable(dock, text))[0].click()
    until(lambda: True)


def until(ready: Callable[[], Any], limit_s: float = 120.0, steady_s: float = 0.5) -> Any:
    """Let the window work until something has been there for a while, and return it."""
    from qtpy.QtWidgets import QApplication

    started = since = time.monotonic()
    while True:
        QApplication.processEvents()
        time.sleep(0.01)
        found, now = ready(), time.monotonic()
        since = since if found else now
        if found and now - since >= steady_s:
            return found
        if now - started > limit_s:
            raise TimeoutError("the window did not answer")
