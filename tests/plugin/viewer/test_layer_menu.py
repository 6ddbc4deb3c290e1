"""The layer list's context menu goes through a model of napari that is not public: this notices when it changes."""

from __future__ import annotations

from typing import Any

import pytest

from napari_emsynth.plugin.restore.layer_menu import ENTRIES, MENU, entry_id, install_layer_menu
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session


def test_entries_are_there_and_work(raw_viewer: Any, stack: Any) -> None:
    from napari._app_model import get_app_model

    app = get_app_model()
    assert install_layer_menu()
    assert install_layer_menu(), "a second call does nothing"
    ids = [item.command.id for item in app.menus.get_menu(MENU) if hasattr(item, "command")]
    assert [ids.count(entry_id(command)) for command in ENTRIES] == [1] * len(ENTRIES)
    layer = raw_viewer.add_image(stack, name="stack")
    raw_viewer.dims.set_point(0, 4)
    app.commands.execute_command(entry_id("mark_damaged")).result()
    session = Session.of(raw_viewer)
    repairs = RestoreTask.of(session)
    assert [m.section for m in repairs.marks_of(layer)] == [4]
    session.close()


def test_without_the_model_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    import napari._app_model

    monkeypatch.delattr(napari._app_model, "get_app_model")
    assert not install_layer_menu()
