"""Original and result in squares."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from napari_emsynth.plugin.layers.checkerboard import SMALLEST_PX, alternated, squares
from napari_emsynth.plugin.restore.canvas_menu import open_dock
from napari_emsynth.plugin.restore.session import RestoreTask
from napari_emsynth.plugin.viewer.session import Session


def test_squares_alternate() -> None:
    pattern = squares((32, 48))
    assert not pattern[0, 0]
    assert pattern[0, SMALLEST_PX]
    assert pattern[SMALLEST_PX, 0]
    assert not pattern[SMALLEST_PX, SMALLEST_PX]
    assert pattern.mean() == 0.5


def test_every_pixel_comes_from_one_of_the_two() -> None:
    original, result = np.zeros((3, 32, 48), np.uint8), np.full((3, 32, 48), 9, np.uint8)
    board = alternated(original, result)
    assert board.dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(board), np.where(squares((32, 48)), 0, 9)[None].repeat(3, 0))


@pytest.mark.parametrize("place", ["new layer", "in place"])
def test_the_board_comes_and_goes(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any, told: list[str], place: str
) -> None:
    layer = viewer.add_image(stack, name="stack", scale=(4, 2, 2), units=["nm"] * 3, contrast_limits=(0, 200))
    repairs.set_settings(replace(repairs.settings, method="linear", with_mask=False, place=place))
    dock = open_dock(repairs)
    dock.board.click()
    assert not dock.board.isChecked(), "there is no result yet"
    assert "nothing to compare" in told[-1]
    repairs.interpolate_at(layer, 5)
    finish(session)
    result = viewer.layers[-1]
    count = len(viewer.layers)
    dock.board.click()
    board = viewer.layers[-1]
    assert board.name == f"{result.name} checkerboard"
    assert len(viewer.layers) == count + 1
    assert tuple(board.scale) == (4, 2, 2)
    assert list(board.contrast_limits) == [0, 200]
    chosen = squares(stack.shape[1:])
    np.testing.assert_array_equal(np.asarray(board.data[5]), np.where(chosen, stack[5], result.data[5]))
    assert board.unique_id not in [dock.layer_box.itemData(i) for i in range(dock.layer_box.count())]
    viewer.layers.remove(board)
    assert not dock.board.isChecked(), "removed by hand"
    dock.board.click()
    assert dock.board.isChecked()
    session.undo()
    assert not dock.board.isChecked()
    assert not [x.name for x in viewer.layers if "checkerboard" in x.name]
    dock.leave()


def test_inserted_sections_have_no_partner(
    viewer: Any, session: Session, repairs: RestoreTask, stack: Any, finish: Any
) -> None:
    repairs.set_settings(replace(repairs.settings, method="linear", with_mask=False))
    repairs.insert_at(viewer.add_image(stack, name="stack"), 5)
    finish(session)
    assert not session.show_checkerboard(True)
