"""Scores of upsampling on sections that were left out: of the floors themselves, of bad requests."""

import json

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.scoring.evaluate import evaluate
from napari_emsynth.methods.upsample.scoring.hidden import hide
from napari_emsynth.metrics.scores import METRICS
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import DOUBLER
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(21, 32, 32), drift=1.0).volume()


def test_linear_beside_the_floors():
    report = evaluate(STACK, method="linear", gap=1)
    assert set(report["scores"]) == {"linear", "nearest", "blurred_linear", "kriging"}
    assert set(report["scores"]["linear"]) == set(METRICS)
    assert report["scores"]["linear"]["psnr"] > report["scores"]["nearest"]["psnr"]
    assert report["sections"] == list(range(1, 20, 2))
    assert (report["factor"], report["sampling"], report["coverage90"]) == (2, "point", None)
    assert json.loads(json.dumps(report)) == report


def test_a_wider_gap_is_harder_and_its_sections_are_named():
    one, four = (evaluate(STACK, method="linear", gap=g) for g in (1, 4))
    assert one["scores"]["linear"]["psnr"] > four["scores"]["linear"]["psnr"] + 1
    assert four["sections"] == [z for z in range(21) if z % 5]


def test_a_limit_takes_the_middle_of_the_stack():
    report = evaluate(STACK, method="linear", gap=1, limit=3)
    assert report["sections"] == [8, 10, 12]


def test_slab_scores_every_section():
    report = evaluate(STACK, method="linear", gap=2, sampling="slab")
    assert report["sections"] == list(range(21))


def test_a_worse_method_does_not_beat_the_floors(install):
    install(DOUBLER)
    assert evaluate(STACK, method=DOUBLER.id)["beats_floors"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gap": 0}, "gap of 0 sections is outside 1 to 11"),
        ({"gap": 12}, "gap of 12 sections"),
        ({"limit": 0}, "limit of 0 sections"),
        ({"gap": 4, "z": 5}, "needs at least 6 sections, got 5"),
        ({"method": "magic"}, "unknown upsample method"),
        ({"weights": "x"}, "no weights to choose"),
    ],
)
def test_bad_requests(options, words):
    stack = STACK.data[: options.pop("z", 21)]
    with pytest.raises(InputError, match=words):
        evaluate(stack, **({"method": "linear"} | options))


def test_what_is_hidden_is_what_upsampling_must_give():
    hidden = hide(STACK, 3, "point", edge=16, depth=12)
    assert hidden.truth.shape == (10, 16, 16)
    assert (hidden.truth == STACK.data[5:15, 8:24, 8:24]).all()
    assert (hidden.thin.data == hidden.truth[::3]).all()
    assert hidden.sections == [1, 2, 4, 5, 7, 8]


def test_slabs_are_means():
    hidden = hide(Volume.of(np.arange(12.0).reshape(12, 1, 1)), 4, "slab", edge=4, depth=12)
    assert hidden.thin.data.ravel().tolist() == [1.5, 5.5, 9.5]
    assert hidden.lattice.grid(hidden.thin.grid).shape == hidden.truth.shape


@pytest.mark.parametrize("factor", [2.3, 2.5, 3.75, 4])
@pytest.mark.parametrize("depth", range(12, 22))
def test_slabs_of_any_factor_give_what_was_hidden(factor, depth):
    hidden = hide(STACK, factor, "slab", edge=8, depth=depth)
    assert hidden.lattice.grid(hidden.thin.grid).shape == hidden.truth.shape
    assert len(hidden.thin.data) == int(depth / factor)


def test_nothing_can_be_hidden_in_a_short_stack():
    assert hide(Volume.of(STACK.data[:3]), 3, "point", edge=16, depth=12) is None
    assert hide(Volume.of(STACK.data[:5]), 3, "slab", edge=16, depth=12) is None
