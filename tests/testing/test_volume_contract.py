"""The contracts have teeth: a method that breaks one law fails the test of that law, and a good one fails none."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods import get
from napari_emsynth.methods.align.protocol import PairField
from napari_emsynth.methods.upsample.protocol import Expert
from napari_emsynth.testing.stand_ins import DOUBLER, SHIFTER, Doubler, Shifter, redrawing, smooth
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


@pytest.fixture
def moving(install):
    def trial(method):
        name = f"stand-in-{type(method).__name__.lower()}"
        install(replace(SHIFTER, build=lambda params, runtime, weights: method, id=name))
        return type("Trial", (AlignContract,), {"task": "align", "id": name})()

    return trial


def test_a_third_party_registrar_passes(moving):
    trial = moving(Shifter())
    trial.test_spec_says_what_a_menu_needs()
    trial.test_params_round_trip()
    trial.test_dtypes_tell_the_same_story(">u2")
    trial.test_constant_in_constant_out("int16", -500)
    trial.test_lazy_equals_eager()
    trial.test_any_box_equals_the_whole()
    trial.test_the_seed_decides()
    trial.test_odd_and_tiny_sizes((3, 1, 5))
    trial.test_provenance_survives_json()
    trial.test_too_few_sections_are_refused()
    trial.test_cancel_stops_it()
    trial.test_a_known_shift_is_undone_with_the_right_sign()
    trial.test_a_known_jitter_is_undone()
    trial.test_displacement_confidence_and_sections_fit_the_stack()
    trial.test_two_runs_find_the_same()
    trial.test_what_came_from_outside_is_empty_and_nothing_is_made_up()
    trial.test_a_reference_section_is_bit_identical(2)
    trial.test_nothing_moves_further_than_the_limit()
    trial.test_labels_follow_and_keep_their_ids()
    trial.test_a_section_of_noise_is_reported_and_harms_no_other()
    trial.test_a_skipped_section_says_so_and_moves_as_its_neighbours_do()
    trial.test_materials_that_are_all_tissue_change_nothing()
    trial.test_unknown_voxels_move_along_and_do_not_spread()
    trial.test_a_result_can_be_sent_to_another_process()
    trial.test_constraints_that_cannot_be_kept_are_refused_in_one_line()


class Pushing(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        found = super().__call__(moving, fixed, known, runtime)
        return PairField(-found.displacement, found.confidence)


class Idle(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        found = super().__call__(moving, fixed, known, runtime)
        return PairField(0 * found.displacement, found.confidence)


class Nervous(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        found = super().__call__(moving, fixed, known, runtime)
        shake = np.random.default_rng().normal(0, 1, (2, 1, 1)).astype(np.float32)
        return PairField(found.displacement + shake, found.confidence)


class Infinite(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        found = super().__call__(moving, fixed, known, runtime)
        return PairField(found.displacement, found.confidence * 2)


class Numb(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        from napari_emsynth.spec import Runtime

        return super().__call__(moving, fixed, known, Runtime())


@pytest.mark.parametrize(
    ("method", "law"),
    [
        (Pushing(), "test_a_known_shift_is_undone_with_the_right_sign"),
        (Idle(), "test_a_known_jitter_is_undone"),
        (Nervous(), "test_two_runs_find_the_same"),
        (Infinite(), "test_displacement_confidence_and_sections_fit_the_stack"),
    ],
)
def test_each_law_of_displacements_catches_its_breaker(moving, method, law):
    with pytest.raises(AssertionError):
        getattr(moving(method), law)()


def test_a_registrar_that_cannot_be_cancelled_is_caught(moving):
    with pytest.raises(pytest.fail.Exception):
        moving(Numb()).test_the_built_method_asks_before_it_computes()


class Trial(Doubler):
    name = "stand-in-doubler"


class Nearest(Trial):
    name = "stand-in-nearest"

    def __call__(self, block, ask, runtime):
        runtime.cancel.check()
        return [Expert("nearest", block[[int(p) for p in ask.positions]])]


class Phased(Trial):
    name = "stand-in-phased"

    def __call__(self, block, ask, runtime):
        (answer,) = super().__call__(block, ask, runtime)
        answer.mean[::2] += 0.5
        return [answer]


class Deaf(Trial):
    name = "stand-in-deaf"

    def __call__(self, block, ask, runtime):
        from napari_emsynth.spec import Runtime

        return super().__call__(block, ask, Runtime())


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
