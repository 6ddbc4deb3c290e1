import numpy as np
import pytest

from napari_emsynth.metrics import psnr
from napari_emsynth.testing.phantoms import Phantom, with_unknown


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32", ">u2", ">f4"])
def test_dtypes_carry_the_same_picture(dtype):
    reference = Phantom(shape=(2, 48, 48)).volume().data.astype(float)
    phantom = Phantom(shape=(2, 48, 48), dtype=dtype)
    data = phantom.volume().data
    gain, offset = phantom.scale
    assert data.dtype == np.dtype(dtype)
    assert np.abs((data.astype(float) - offset) / gain - reference).max() <= 0.51


def test_int16_goes_below_zero():
    data = Phantom(dtype="int16", shape=(1, 48, 48)).volume().data
    assert data.min() < -1000 < 1000 < data.max()


def test_seed_decides():
    a, b = Phantom(shape=(3, 32, 32)), Phantom(shape=(3, 32, 32), seed=1)
    assert (a.volume().data == a.volume().data).all()
    assert psnr(a.clean(0), b.clean(0)) < 20


def test_continuous_in_depth():
    phantom = Phantom(shape=(8, 64, 64))
    here = phantom.clean(3.0)
    errors = [psnr(here, phantom.clean(3.0 + step)) for step in (0.01, 0.1, 1.0, 4.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[0] > 50
    assert errors[3] < 22


def test_neighbours_say_more_than_nothing():
    phantom = Phantom(shape=(8, 64, 64))
    mean = np.full((64, 64), phantom.clean(4).mean())
    assert psnr(phantom.clean(4), phantom.clean(5)) > psnr(phantom.clean(4), mean) + 3


def test_noise_is_independent_and_as_asked():
    phantom = Phantom(shape=(2, 64, 64), noise=6.0, dtype="float32")
    noise = [phantom.volume().data[z] * 255 - phantom.clean(z) for z in range(2)]
    assert np.std(noise[0]) == pytest.approx(6, rel=0.1)
    assert abs(np.corrcoef(noise[0].ravel(), noise[1].ravel())[0, 1]) < 0.1


def test_it_looks_like_tissue():
    image = Phantom(shape=(1, 128, 128)).clean(0)
    assert image.min() < 70
    assert np.median(image) > 140
    assert 0.05 < (image < 100).mean() < 0.5


@pytest.mark.parametrize("shape", [(1, 1, 5), (2, 7, 3), (3, 33, 65)])
def test_tiny_shapes(shape):
    assert Phantom(shape=shape).volume().shape == shape


def test_with_unknown_leaves_the_original():
    volume = Phantom(shape=(2, 16, 16), dtype="float32").volume()
    holed = with_unknown(volume)
    assert np.isfinite(volume.data).all()
    assert np.isnan(holed.data[:, :, :2]).all()
    assert np.isfinite(holed.data[:, :, 2:]).all()
    assert holed.grid == volume.grid


def test_a_jittered_phantom_is_the_clean_one_seen_at_known_places():
    phantom = Phantom(shape=(4, 48, 48), jitter=3.0, noise=0.0)
    shifts = phantom.shifts
    assert shifts.shape == (4, 2)
    assert np.allclose(shifts.mean(axis=0), 0)
    seen = phantom.volume().data
    for z, (dy, dx) in enumerate(shifts):
        assert np.abs(seen[z] - phantom.clean(z, (dy, dx))).max() <= 0.5


def test_pull_convention_of_a_whole_pixel():
    phantom = Phantom(shape=(2, 48, 48))
    assert np.allclose(phantom.clean(1, (2.0, -1.0))[:-2, 1:], phantom.clean(1)[2:, :-1], atol=1e-3)


def test_without_jitter_nothing_moves():
    assert (Phantom().shifts == 0).all()
    assert Phantom(jitter=1.0, shape=(40, 8, 8)).shifts.std() == pytest.approx(1, rel=0.3)
