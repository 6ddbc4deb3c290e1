"""Evaluation by name: each task is scored its own way, and says the same things."""

import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.evaluate import evaluate
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import redrawing

STACK = Phantom(shape=(9, 32, 32)).volume()
SAID = {
    "task", "method", "weights", "gap", "sections", "scores", "coverage90", "beats_floors", "seconds"
}  # fmt: skip


@pytest.mark.parametrize("name", ["interpolate/linear", "upsample/linear", "align/stand-in-smooth"])
def test_every_task_reports_the_same(install, name):
    install(redrawing())
    report = evaluate(name, STACK, limit=4)
    assert report.keys() >= SAID
    assert f"{report['task']}/{report['method']}" == name
    assert report["method"] in report["scores"]


def test_sections_are_chosen_for_interpolation_only():
    assert evaluate("interpolate/linear", STACK, sections=[4])["sections"] == [4]
    with pytest.raises(InputError, match="sections cannot be chosen to evaluate upsample/linear"):
        evaluate("upsample/linear", STACK, sections=[4])


def test_unknown_names():
    with pytest.raises(InputError, match="TASK/ID"):
        evaluate("linear", STACK)
