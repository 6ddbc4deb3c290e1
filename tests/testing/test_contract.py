"""The contract has teeth: methods that break one law fail the test of that law, and a good one fails none."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth import methods
from napari_emsynth.methods.interpolate.protocol import Synthesis
from napari_emsynth.spec import MethodSpec
from napari_emsynth.testing.contract import MethodContract


def linear(gap, runtime):
    runtime.cancel.check()
    return (1 - gap.t) * gap.below + gap.t * gap.above


def nearest(gap, runtime):
    return gap.below


def inventive(gap, runtime):
    return linear(gap, runtime) + np.float32(0.05)


def moody(gap, runtime):
    return linear(gap, runtime) + np.random.default_rng().normal(0, 0.3, gap.below.shape).astype(np.float32)


def patchwork(gap, runtime):
    return linear(gap, runtime) + np.float32(runtime.tile or 0) / 100


def deaf(gap, runtime):
    return (1 - gap.t) * gap.below + gap.t * gap.above


def top_heavy(gap, runtime):
    return linear(gap, runtime) + 0.5 * (gap.above - gaussian_filter(gap.above, 2))


def dull(gap, runtime):
    return np.zeros_like(gap.below)


@dataclass
class Method:
    fn: object
    halo: int = 0
    factor: float = 1.0

    def __call__(self, gap, runtime):
        return Synthesis(self.fn(gap, runtime))


class Point:
    def __init__(self, fn):
        self.name = fn.__name__
        self.fn = fn

    def load(self):
        return MethodSpec(
            task="interpolate",
            id=f"trial-{self.name}",
            title="Trial",
            summary="A trial.",
            build=lambda params, runtime, weights: Method(self.fn),
            has_uncertainty=True,
        )


@pytest.fixture
def contract(monkeypatch):
    def make(fn, **declared):
        monkeypatch.setattr(methods, "entry_points", lambda group: [Point(fn)])
        body = {"task": "interpolate", "id": f"trial-{fn.__name__}", **declared}
        return type("Trial", (MethodContract,), body)()

    return make


def test_a_third_party_method_passes(contract):
    trial = contract(linear)
    trial.test_spec_says_what_a_menu_needs()
    trial.test_only_marked_sections_change()
    trial.test_constant_in_constant_out("float32", 0.25)
    trial.test_gain_and_offset_pass_through()
    trial.test_reversed_stack_reversed_result()
    trial.test_lazy_equals_eager()
    trial.test_tiled_equals_whole()
    trial.test_the_seed_decides()
    trial.test_provenance_survives_json()
    trial.test_better_than_the_nearest_section()
    trial.test_the_built_method_asks_before_it_computes()
    trial.test_cancel_stops_it()


@pytest.mark.parametrize(
    ("fn", "law"),
    [
        (nearest, "test_better_than_the_nearest_section"),
        (nearest, "test_reversed_stack_reversed_result"),
        (top_heavy, "test_reversed_stack_reversed_result"),
        (moody, "test_the_seed_decides"),
        (moody, "test_lazy_equals_eager"),
        (patchwork, "test_tiled_equals_whole"),
        (dull, "test_the_ends_are_extrapolated_and_say_so"),
    ],
)
def test_each_law_catches_its_breaker(contract, fn, law):
    trial = contract(fn)
    arguments = (0,) if law == "test_the_ends_are_extrapolated_and_say_so" else ()
    with pytest.raises(AssertionError):
        getattr(trial, law)(*arguments)


def test_a_method_that_invents_is_caught(contract):
    with pytest.raises(AssertionError):
        contract(inventive).test_constant_in_constant_out("float32", 0.25)


def test_a_method_that_cannot_be_cancelled_is_caught(contract):
    trial = contract(deaf)
    with pytest.raises(pytest.fail.Exception):
        trial.test_the_built_method_asks_before_it_computes()


def test_what_is_declared_is_not_asked(contract):
    contract(nearest, symmetric=False).test_reversed_stack_reversed_result()


def test_a_spec_without_words_is_caught(contract, monkeypatch):
    trial = contract(linear)
    spec = replace(trial.spec, summary="")
    monkeypatch.setattr(type(trial), "spec", property(lambda self: spec))
    with pytest.raises(AssertionError):
        trial.test_spec_says_what_a_menu_needs()
