"""Known jitter, and alignment scored against it."""

import json

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.scoring.evaluate import evaluate
from napari_emsynth.methods.align.scoring.jitter import distort, jitter, moved, shifts
from napari_emsynth.metrics.scores import METRICS
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import redrawing, smooth
from napari_emsynth.volume import Volume

STACK = Phantom(shape=(20, 48, 48)).volume()


def test_whole_shifts_pull():
    stack = np.random.default_rng(0).normal(size=(2, 12, 12)).astype(np.float32)
    pulled = moved(stack, np.array([[2.0, 0.0], [0.0, -3.0]]))
    assert np.allclose(pulled[0, :-2], stack[0, 2:], atol=1e-4)
    assert np.allclose(pulled[1, :, 3:], stack[1, :, :-3], atol=1e-4)


def test_fractions_of_a_pixel_come_near_the_exactly_moved_phantom():
    phantom = Phantom(shape=(3, 48, 48), noise=0.0, dtype="float32")
    by = np.array([[0.4, -0.3], [-0.7, 0.2], [0.5, 0.5]])
    exact = np.stack([phantom.clean(z, tuple(u)) for z, u in enumerate(by)]) / 255
    error = (moved(phantom.volume().data, by) - exact)[:, 4:-4, 4:-4]
    assert np.sqrt((error**2).mean()) < 0.02


def test_unknown_pixels_stay_where_they_are_and_do_not_spread():
    stack = gaussian_filter(np.random.default_rng(0).normal(size=(1, 20, 20)), 1).astype(np.float32)
    stack[0, :, :3] = np.nan
    pulled = moved(stack, np.array([[0.5, 0.5]]))
    assert (np.isnan(pulled) == np.isnan(stack)).all()


def test_shifts_are_known_bounded_and_the_seeds():
    drawn = shifts(2000, 2.0, seed=3)
    assert (drawn == shifts(2000, 2.0, seed=3)).all()
    assert (drawn != shifts(2000, 2.0, seed=4)).any()
    assert drawn.std() == pytest.approx(2, rel=0.05)
    assert np.abs(drawn).max() <= 6


def test_the_margin_that_comes_in_from_outside_does_not_count():
    known = jitter(STACK, 2.0, 0, edge=30, depth=8)
    assert known.whole.shape == (8, 42, 42)
    assert known.inner(known.whole).shape == (8, 30, 30)
    assert known.sections == tuple(range(6, 14))
    assert (known.whole == STACK.data[6:14, 3:45, 3:45]).all()
    assert known.volume.data.dtype == np.uint8


def test_small_sections_have_small_margins():
    known = jitter(Volume.of(STACK.data[:, :12, :12]), 4.0, 0, edge=30, depth=8)
    assert known.inner(known.whole).shape == (8, 6, 6)


def test_the_report_has_floors_correlations_and_a_verdict(install):
    install(redrawing())
    report = evaluate(STACK, method="stand-in-smooth", limit=6)
    assert set(report["scores"]) == {"stand-in-smooth", "jittered", "blurred_z"}
    assert set(report["scores"]["jittered"]) == set(METRICS)
    assert report["scores"]["stand-in-smooth"]["psnr"] > report["scores"]["jittered"]["psnr"]
    assert report["sections"] == list(range(7, 13))
    assert report["cpc"]["truth"] > report["cpc"]["jittered"]
    assert json.loads(json.dumps(report)) == report


def test_a_method_that_loses_to_a_blur_does_not_beat_the_floors(install):
    def timid(block):
        return 0.9 * block + 0.1 * smooth(block)

    install(redrawing(timid))
    assert evaluate(STACK, method="stand-in-timid", limit=6)["beats_floors"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gap": 0}, r"gap of 0 px \(deviation of the jitter\) is outside 1 to 8 px"),
        ({"gap": 9}, "gap of 9 px"),
        ({"limit": 2}, "the limit is 3 sections"),
        ({"weights": "x"}, "no weights to choose"),
    ],
)
def test_bad_requests(install, options, words):
    install(redrawing())
    with pytest.raises(InputError, match=words):
        evaluate(STACK, **({"method": "stand-in-smooth"} | options))


def test_known_distortions_pull_and_are_the_seeds():
    known = distort(STACK, Distortion(shift_px=1.0, warp_px=0.5), 3, edge=30, depth=6)
    again = distort(STACK, Distortion(shift_px=1.0, warp_px=0.5), 3, edge=30, depth=6)
    assert known.known.shape == (6, 2, *known.whole.shape[1:])
    assert (known.known == again.known).all()
    assert (known.volume.data == again.volume.data).all()
    assert known.volume.grid.voxel_nm == STACK.grid.voxel_nm
    assert known.inner(known.known).shape[2:] == known.inner(known.whole).shape[1:]
    # What was pulled by k and is pulled by the inverse shows what was there.
    exact = moved(np.asarray(known.whole, np.float32), known.known)
    assert np.abs(exact - known.volume.data).max() <= 0.51


def test_dense_displacements_of_one_shift_equal_the_shift():
    section = gaussian_filter(np.random.default_rng(0).normal(size=(1, 24, 30)), 2).astype(np.float32)
    u = np.array([[0.7, -1.3]])
    bent = moved(section, np.broadcast_to(u[:, :, None, None], (1, 2, 24, 30)))
    assert np.allclose(bent, moved(section, u), atol=1e-4)


def test_the_jitter_is_known_at_every_pixel():
    known = jitter(STACK, 1.0, 0, edge=30, depth=4)
    assert known.known.shape == (4, 2, *known.whole.shape[1:])
    assert np.ptp(known.known, axis=(2, 3)).max() == 0
