"""The flow's answers: a known warp is found with the right sign, and what cannot be matched is not trusted."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import Cancelled
from napari_emsynth.fields.optical_flow import enlarged, flow, pull, shrunk
from napari_emsynth.methods.align.optical_flow import (
    OpticalFlow,
    OpticalFlowParams,
    at_nodes,
    confidence,
    correlation,
    smoothed,
)
from napari_emsynth.methods.align.protocol import Neighbour
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.volume_contract import AlignContract


class Test(AlignContract):
    task = "align"
    id = "optical-flow"


PHANTOM = Phantom(shape=(3, 96, 112), noise=2.0, dtype="float32")
FINE = OpticalFlowParams(shrink=1, step_px=8)


def normalised(section):
    return ((section - section.mean()) / section.std()).astype(np.float32)


def shown(shift=(0.0, 0.0), z=1):
    return normalised(PHANTOM.clean(z, shift))


def asked(moving, fixed, params=FINE, *, known=None, theirs=None):
    return OpticalFlow(params)(moving, [Neighbour(fixed, known=theirs)], known, Runtime())


@pytest.mark.parametrize(("shrink", "miss"), [(1, 0.15), (2, 0.4)])
def test_a_known_shift_is_found_with_the_right_sign(shrink, miss):
    # What lies at p + s in the moving section lies at p in the fixed one: the pull is s.
    found = asked(shown(), shown((2.0, -1.5)), OpticalFlowParams(shrink=shrink, step_px=8))
    inner = found.displacement[:, 2:-2, 2:-2]
    assert inner.shape[1:] == (8, 10)
    assert np.hypot(inner[0] - 2.0, inner[1] + 1.5).mean() < miss
    assert found.confidence[2:-2, 2:-2].mean() > 0.9


def test_equal_sections_do_not_move():
    found = asked(shown(), shown())
    assert np.abs(found.displacement).max() < 1e-3
    assert found.confidence.min() > 0.99


def test_nodes_are_centres_of_cells_and_cover_odd_sizes():
    ramp = np.arange(100, dtype=np.float32)[None].repeat(30, axis=0)
    assert at_nodes(ramp, (3, 10))[0] == pytest.approx(np.arange(10) * 10 + 4.5)
    found = asked(shown()[:50, :61], shown()[:50, :61], OpticalFlowParams(step_px=16))
    assert found.displacement.shape == (2, 4, 4)
    assert found.confidence.shape == (4, 4)


NOISE = np.random.default_rng(0).standard_normal((2, 96, 112)).astype(np.float32)


@pytest.mark.parametrize(
    "other",
    [
        NOISE[0],
        np.zeros_like(NOISE[0]),
        normalised(gaussian_filter(NOISE[1], 2)),
        normalised(Phantom(shape=PHANTOM.shape, seed=1, cell_px=11).clean(0)),
    ],
    ids=["noise", "blank", "blobs", "other tissue"],
)
def test_what_cannot_be_matched_is_not_trusted(other):
    for moving, fixed in ((other, shown()), (shown(), other)):
        found = asked(moving, fixed)
        assert found.confidence.mean() < 0.2
        assert np.isfinite(found.displacement).all()


def test_noise_is_not_matched_with_noise():
    assert asked(*NOISE).confidence.mean() < 0.1


def test_a_blank_half_is_not_trusted_and_the_other_half_is_unharmed():
    half = shown((1.0, 1.0)).copy()
    half[:, :56] = 0
    found = asked(shown(), half)
    assert found.confidence[2:-2, :3].max() < 0.1
    right = found.displacement[:, 2:-2, 10:-2]
    assert np.hypot(*(right - 1)).mean() < 0.25
    # What nobody knows is filled in by what somebody does.
    assert np.abs(found.displacement).max() < 4


def test_what_is_not_tissue_is_not_trusted():
    known = np.ones((96, 112), bool)
    known[:, :48] = False
    for options in ({"known": known}, {"theirs": known}):
        found = asked(shown(), shown(), **options)
        assert found.confidence[:, :5].max() == 0
        assert found.confidence[:, 8:].min() > 0.9


def test_small_sections_are_not_guessed_at():
    tiny = shown()[:12, :50]
    found = asked(tiny, tiny)
    assert (found.confidence == 0).all()
    assert (found.displacement == 0).all()
    # Large enough for the flow, not for its shrunk sections: the flow is estimated on what there is.
    assert asked(shown()[:24, :50], shown()[:24, :50], OpticalFlowParams(shrink=4)).confidence.mean() > 0.9


def test_confidence_falls_with_what_the_way_back_misses():
    image, zero = shown(), np.zeros((2, 96, 112), np.float32)
    missing = [np.full_like(zero, miss / np.sqrt(2)) for miss in (0, 1, 2, 4)]
    found = [float(confidence(image, image, zero, back).mean()) for back in missing]
    assert found == pytest.approx([1, np.exp(-0.25), np.exp(-1), np.exp(-4)], abs=0.02)


def test_correlation_knows_gain_sign_and_nothing():
    image = shown()
    assert correlation(image, image).min() > 0.98
    assert correlation(image, -image).max() < -0.98
    assert np.abs(correlation(image, np.zeros_like(image))).max() == 0
    assert np.abs(correlation(*NOISE)).mean() < 0.1


def test_smoothing_keeps_a_constant_and_lets_the_trusted_speak():
    trust = np.zeros((20, 30), np.float32)
    trust[:, :15] = 1
    field = np.stack([np.full((20, 30), 3.0), np.full((20, 30), -1.0)]).astype(np.float32)
    assert smoothed(field, trust, 4.0) == pytest.approx(field, abs=1e-4)
    wild = field.copy()
    wild[:, :, 15:] = 50
    assert np.abs(smoothed(wild, trust, 4.0) - field)[:, :, :18].max() < 0.1


def test_a_cancelled_run_stops_before_the_flow():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        OpticalFlow(FINE)(shown(), [Neighbour(shown())], None, Runtime(cancel=token))


def test_flows_pull_and_scale_with_their_sections():
    found = flow(shown((1.5, 0.0)), shown(), 10, 6)
    assert found[0, 10:-10, 10:-10].mean() == pytest.approx(1.5, abs=0.1)
    assert np.abs(pull(shown(), found) - shown((1.5, 0.0)))[10:-10, 10:-10].mean() < 0.1
    small = shrunk(shown(), 2)
    assert small.shape == (48, 56)
    assert enlarged(np.ones((2, 48, 56), np.float32), (96, 112)) == pytest.approx(2.0)
    assert shrunk(small, 1) is small
