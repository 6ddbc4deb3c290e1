"""The canvas menu: when it opens, what it says, what it does."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from napari_emsynth.plugin.restore.canvas_menu import build_menu, install, is_ours, open_menu
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session


def press(button: int = 2, modifiers: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(
        type="mouse_press", button=button, modifiers=modifiers, pos=(50, 50), position=(5.0, 3.0, 3.0)
    )


def titles(menu: Any) -> list[str]:
    return [action.text() for action in menu.actions() if action.text()]


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_installed_once(viewer: Any, session: Session) -> None:
    count = len(viewer.mouse_drag_callbacks)
    assert install(viewer).session is session
    assert len(viewer.mouse_drag_callbacks) == count


def test_a_proxy_and_its_viewer_share_a_session(make_napari_viewer_proxy: Any) -> None:
    viewer = make_napari_viewer_proxy()
    session = install(viewer).session
    assert install(viewer.__wrapped__).session is session
    session.close()


def test_what_it_offers(raw_viewer: Any, stack: Any) -> None:
    session = install(raw_viewer).session
    repairs = RestoreTask.of(session)
    layer = raw_viewer.add_image(stack)
    assert titles(build_menu(repairs, layer, 5)) == [
        "Interpolate missing slice (z=5)", "Interpolate in place", "Insert a section here", "Mark as damaged",
        "Preview here", "Compare with original", "Undo", "Restore sections...",
    ]  # fmt: skip
    repairs.mark(layer, 5)
    assert "Mark as intact" in titles(build_menu(repairs, layer, 5))
    assert "Undo: Mark section 5" in titles(build_menu(repairs, layer, 5))
    session.close()


def test_it_stays_out_where_the_button_has_another_meaning(raw_viewer: Any, stack: Any) -> None:
    layer = raw_viewer.add_image(stack)
    assert is_ours(raw_viewer, press())
    assert not is_ours(raw_viewer, press(button=1))
    assert not is_ours(raw_viewer, press(modifiers=("Shift",)))
    layer.mode = "transform"
    assert not is_ours(raw_viewer, press())
    layer.mode = "pan_zoom"
    raw_viewer.dims.ndisplay = 3
    assert not is_ours(raw_viewer, press())
    raw_viewer.dims.ndisplay = 2
    raw_viewer.add_labels(np.zeros(stack.shape, np.uint8)).mode = "paint"
    assert not is_ours(raw_viewer, press())
    raw_viewer.add_image(np.zeros((8, 8)))
    assert not is_ours(raw_viewer, press())
    raw_viewer.layers.clear()
    assert not is_ours(raw_viewer, press())


def test_a_drag_zooms_and_a_click_opens(
    raw_viewer: Any, stack: Any, monkeypatch: pytest.MonkeyPatch, qtbot: Any
) -> None:
    session = install(raw_viewer).session
    raw_viewer.add_image(stack)
    asked: list[Any] = []
    monkeypatch.setattr(
        "napari_emsynth.plugin.restore.canvas_menu.open_menu", lambda session, position: asked.append(position)
    )
    (callback,) = [c for c in raw_viewer.mouse_drag_callbacks if getattr(c, "emsynth_menu", False)]
    for moved, opens in ((0, True), (3, True), (9, False)):
        asked.clear()
        event = press()
        drag = callback(raw_viewer, event)
        next(drag)
        assert not hasattr(event, "handled"), "napari's own drag goes on"
        event.type, event.pos = "mouse_move", (50 + moved, 50)
        next(drag)
        event.type = "mouse_release"
        with pytest.raises(StopIteration):
            next(drag)
        qtbot.wait(20)
        assert asked == ([(5.0, 3.0, 3.0)] if opens else []), moved
    session.close()


def test_the_section_is_the_one_under_the_pointer(raw_viewer: Any, stack: Any) -> None:
    session = install(raw_viewer).session
    repairs = RestoreTask.of(session)
    raw_viewer.add_image(stack, scale=(4, 2, 2))
    menu = open_menu(repairs, (28.0, 10.0, 10.0))
    assert titles(menu)[0] == "Interpolate missing slice (z=7)"
    menu.close()
    assert open_menu(repairs, (400.0, 10.0, 10.0)) is None
    session.close()


def test_marked_neighbours_are_repaired_together(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any
) -> None:
    repairs.set_settings(replace(repairs.settings, method="linear", with_mask=False))
    layer = viewer.add_image(stack, name="stack")
    for section in (4, 5, 9):
        repairs.mark(layer, section)
    repairs.interpolate_at(layer, 6)
    repairs.insert_at(layer, 3)
    assert len(session.queue.visible_jobs) == 2, "a second job waits"
    finish(session)
    records = [viewer.layers[n].metadata["emsynth"] for n in ("stack restored", "stack restored [1]")]
    assert [e["section"] for e in records[0]["sections"]] == [4, 5, 6]
    assert [e["treatment"] for e in records[1]["sections"]] == ["inserted"]
    assert viewer.dims.current_step[0] == 3, "the new section is on the screen"


@pytest.mark.parametrize("viewer", ["raw", "proxied"], indirect=True)
def test_the_next_click_works_after_undo_and_redo(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any
) -> None:
    repairs.set_settings(replace(repairs.settings, method="linear"))
    viewer.add_image(255 - stack, name="other")
    layer = viewer.add_image(stack, name="stack")
    repairs.interpolate_at(layer, 5)
    finish(session)
    assert [x.name for x in viewer.layers][2:] == ["stack restored", "stack restored synthetic"]
    at = (5.0, 3.0, 3.0)
    for step, active in ((session.undo, "stack"), (session.redo, "stack restored"), (session.undo, "stack")):
        step()
        assert session.viewer.layers.selection.active.name == active
        menu = open_menu(repairs, at)
        assert titles(menu)[0] == "Interpolate missing slice (z=5)"
        menu.close()
