"""Known distortions: their sizes are what was asked for, and they belong to the section."""

import numpy as np
import pytest

from napari_emsynth.fields.distortion import Distortion, smooth_field

NOTHING = Distortion(shift_px=0, rotation_deg=0, warp_px=0)


def test_no_size_no_field():
    assert not NOTHING.draw(np.random.default_rng(0), (20, 30)).any()


def test_the_same_state_gives_the_same_field():
    fields = [Distortion().draw(np.random.default_rng(3), (40, 50)) for _ in range(2)]
    assert (fields[0] == fields[1]).all()
    assert fields[0].shape == (2, 40, 50)
    assert fields[0].dtype == np.float32


@pytest.mark.parametrize("wavelength", [8.0, 24.0, 60.0])
def test_smooth_fields_have_unit_magnitude_and_the_wavelength_asked_for(wavelength):
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_field(rng, (160, 150), wavelength) for _ in range(60)])
    assert np.sqrt((fields**2).sum(1).mean()) == pytest.approx(1.0, abs=0.12)
    # White noise under a Gaussian of deviation s correlates as exp(-d^2 / (4 s^2)).
    step = round(wavelength)
    alike = (fields[..., step:] * fields[..., :-step]).mean() / (fields**2).mean()
    assert alike == pytest.approx(np.exp(-0.25), abs=0.12)


def test_shifts_have_the_deviation_asked_for():
    rng = np.random.default_rng(0)
    shifts = [Distortion(shift_px=2, rotation_deg=0, warp_px=0).draw(rng, (4, 4)) for _ in range(400)]
    assert all(np.ptp(s, axis=(1, 2)).max() == 0 for s in shifts)
    assert np.std([s[:, 0, 0] for s in shifts]) == pytest.approx(2.0, rel=0.1)


def test_a_rotation_turns_about_the_middle_and_keeps_lengths():
    rng = np.random.default_rng(1)
    u = Distortion(shift_px=0, rotation_deg=3, warp_px=0).draw(rng, (41, 31)).astype(np.float64)
    assert np.abs(u[:, 20, 15]).max() < 1e-6
    y, x = np.mgrid[:41, :31] - np.reshape((20, 15), (2, 1, 1))
    before, after = np.hypot(y, x), np.hypot(y + u[0], x + u[1])
    assert np.abs(after - before).max() < 1e-4
    assert np.abs(u).max() > 0.1
