"""The figures of the methods' pages can be drawn: the floors stand for all methods of their task."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from napari_emsynth.methods import get_by_name
from napari_emsynth.testing.phantoms import Phantom

SCRIPT = Path(__file__).parents[1] / "scripts" / "method_figures.py"


@pytest.mark.parametrize("name", ["interpolate/linear", "upsample/linear", "superres/bicubic"])
def test_a_figure_is_drawn(name, tmp_path):
    spec = importlib.util.spec_from_file_location("method_figures", SCRIPT)
    figures = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(figures)
    stack = np.asarray(Phantom(shape=(97, 160, 160), dtype="uint8").volume().data)
    method = get_by_name(name)
    rows = figures.TASKS[method.task](method, stack)
    assert [title for title, _ in rows[-1]][-1] in ("truth", "yz")
    assert all(np.ptp(image) > 0 for row in rows for _, image in row)
    figures.draw(rows, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 10_000
