"""What is advised where a method loses: the rival that won, and how to ask for it."""

import pytest

from napari_emsynth.methods import get
from napari_emsynth.methods.advice import METHODS, NO_METHOD, advice, verdict


def of(task, id_, **scores):
    return advice(get(task, id_), {id_: scores.pop("ours"), **scores})


def test_the_rival_that_did_best_is_named_with_its_flag():
    told = of("interpolate", "emsynth", ours=29.40, nearest=25.0, linear=29.01, blurred_linear=29.2, optical_flow=29.44)
    assert told.instead == "optical-flow"
    line = told.line("on hidden sections")
    assert "EMSynth, 29.40 dB, does not beat optical flow, 29.44 dB on hidden sections" in line
    assert "--method optical-flow (in Python method='optical-flow')" in line
    assert "linear" not in line


def test_nothing_is_advised_that_is_worse():
    # Linear loses; what wins is no method.
    told = of("interpolate", "emsynth", ours=29.40, nearest=25.0, linear=29.01, blurred_linear=29.6)
    assert told.instead is None
    assert "--method" not in told.line("")
    assert "its margin is blur" in told.line("")
    assert "half and quarter resolution" in told.line("")


def test_where_no_method_gives_the_best_the_next_best_is_named():
    told = of("interpolate", "emsynth", ours=29.0, nearest=25.0, linear=29.2, blurred_linear=29.6, optical_flow=29.1)
    assert told.instead == "linear"
    assert "its margin is blur" in told.line("")
    assert "linear, 29.20 dB, does better too: use --method linear" in told.line("")


def test_a_winner_gets_no_advice():
    assert of("interpolate", "emsynth", ours=29.5, linear=29.5, nearest=20.0) is None
    assert verdict(None, "") == {"beats_floors": True, "instead": None, "advice": None}


def test_a_difference_that_is_not_shown_is_none():
    assert of("interpolate", "emsynth", ours=25.3389, linear=25.3412, nearest=20.0) is None
    even = advice(get("align", "emsynth"), {"emsynth": 0.5049, "jittered": 0.5041}, unit="px", best=min, ties=True)
    assert "0.50 px, is no better than jittered, 0.50 px" in even.line("")


def test_a_method_is_not_advised_instead_of_itself():
    told = of("interpolate", "optical-flow", ours=29.0, optical_flow=29.3, linear=28.0)
    assert told.instead is None


def test_less_is_better_of_what_is_left():
    scores = {"emsynth": 0.3, "jittered": 1.2, "optical_flow": 0.2}
    told = advice(get("align", "emsynth"), scores, unit="px", best=min)
    assert told.instead == "optical-flow"
    assert "0.30 px" in told.line("")
    assert advice(get("align", "emsynth"), {**scores, "optical_flow": 0.4}, unit="px", best=min) is None


@pytest.mark.parametrize("task", METHODS)
def test_every_method_that_is_advised_exists(task):
    for id_ in METHODS[task].values():
        assert get(task, id_).id == id_


def test_what_is_no_method_is_not_called_one():
    ids = {name for methods in METHODS.values() for name in methods}
    assert ids.isdisjoint(NO_METHOD)
