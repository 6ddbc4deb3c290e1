"""The contracts have teeth: a method that breaks one law fails the test of that law, and a good one fails none."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods import get
from napari_emsynth.testing.stand_ins import DOUBLER, Doubler, redrawing, smooth
from napari_emsynth.testing.volume_contract import AlignContract, UpsampleContract


def same(block):
    return block


def moody(block):
    return smooth(block) + np.random.default_rng().normal(0, 0.3, block.shape)


def wide(block):
    return gaussian_filter(block, 4)


def inventive(block):
    return smooth(block) + 0.3 * np.arange(len(block))[:, None, None]


def restless(block):
    return smooth(block) + 0.2 * len(block)


@pytest.fixture
def aligning(install):
    def trial(fn, halo=(1, 0, 0), **declared):
        spec = redrawing(fn, halo)
        install(spec)
        return type("Trial", (AlignContract,), {"task": "align", "id": spec.id, **declared})()

    return trial


@pytest.fixture
def upsampling(install):
    def trial(method, **spec):
        install(replace(DOUBLER, build=lambda params, runtime, weights: method, id=method.name, **spec))
        return type("Trial", (UpsampleContract,), {"task": "upsample", "id": method.name})()

    return trial


def test_a_third_party_aligner_passes(aligning):
    trial = aligning(smooth, symmetric=True)
    trial.test_spec_says_what_a_menu_needs()
    trial.test_params_round_trip()
    trial.test_dtypes_tell_the_same_story("uint8")
    trial.test_constant_in_constant_out("float32", 0.25)
    trial.test_gain_and_offset_pass_through()
    trial.test_reversed_stack_reversed_result()
    trial.test_lazy_equals_eager()
    trial.test_any_box_equals_the_whole()
    trial.test_the_seed_decides()
    trial.test_unknown_voxels_stay_unknown_and_do_not_spread()
    trial.test_provenance_survives_json()
    trial.test_the_grid_stays_and_every_voxel_is_marked()
    trial.test_a_known_jitter_becomes_smaller()
    trial.test_cancel_stops_it()


@pytest.mark.parametrize(
    ("fn", "law"),
    [
        (same, "test_a_known_jitter_becomes_smaller"),
        (moody, "test_the_seed_decides"),
        (wide, "test_any_box_equals_the_whole"),
        (restless, "test_any_box_equals_the_whole"),
        (inventive, "test_reversed_stack_reversed_result"),
    ],
)
def test_each_law_of_alignment_catches_its_breaker(aligning, fn, law):
    with pytest.raises(AssertionError):
        getattr(aligning(fn, symmetric=True), law)()


class Trial(Doubler):
    name = "stand-in-doubler"


class Nearest(Trial):
    name = "stand-in-nearest"

    def __call__(self, block, positions, runtime):
        runtime.cancel.check()
        return block[[int(p) for p in positions]]


class Phased(Trial):
    name = "stand-in-phased"

    def __call__(self, block, positions, runtime):
        out = super().__call__(block, positions, runtime)
        out[::2] += 0.5
        return out


class Deaf(Trial):
    name = "stand-in-deaf"

    def __call__(self, block, positions, runtime):
        from napari_emsynth.spec import Runtime

        return super().__call__(block, positions, Runtime())


def test_a_third_party_upsampler_passes(upsampling):
    trial = upsampling(Trial())
    trial.test_every_factor_and_sampling_keeps_its_grid_law()
    trial.test_what_it_keeps_is_bit_identical_and_what_it_made_is_marked()
    trial.test_lazy_equals_eager()
    trial.test_lazy_computes_only_what_is_read()
    trial.test_any_box_equals_the_whole()
    trial.test_a_result_that_is_all_made_up_says_so()
    trial.test_provenance_survives_json()
    trial.test_odd_and_tiny_sizes((3, 1, 5))
    trial.test_what_it_cannot_do_is_refused_in_one_line()
    trial.test_the_built_method_asks_before_it_computes()


@pytest.mark.parametrize(
    ("method", "law"),
    [
        (Trial(), "test_reversed_stack_reversed_result"),
        (Nearest(), "test_nearer_to_the_hidden_sections_than_the_nearest_is"),
        (Phased(), "test_any_box_equals_the_whole"),
    ],
)
def test_each_law_of_upsampling_catches_its_breaker(upsampling, method, law):
    with pytest.raises(AssertionError):
        getattr(upsampling(method), law)()


def test_a_method_that_cannot_be_cancelled_is_caught(upsampling):
    with pytest.raises(pytest.fail.Exception):
        upsampling(Deaf()).test_the_built_method_asks_before_it_computes()


def test_a_method_that_promises_to_keep_what_was_acquired_does(upsampling):
    trial = upsampling(Trial(), keeps_acquired=True)
    trial.test_what_it_keeps_is_bit_identical_and_what_it_made_is_marked()
    assert get("upsample", "stand-in-doubler").keeps_acquired
