import numpy as np

from napari_emsynth.methods.interpolate.seams import FADE_PX, harmonise


def hole(edge=96):
    keep = np.ones((edge, edge), np.float32)
    keep[30:66, 30:66] = 0
    return keep


def texture(edge=96):
    return np.random.default_rng(0).normal(0, 1, (edge, edge)).astype(np.float32)


def test_a_synthesis_that_is_right_is_not_changed():
    truth = texture()
    np.testing.assert_allclose(harmonise(truth, truth, hole()), truth, atol=1e-5)


def test_a_constant_offset_is_removed_at_the_border():
    truth, keep = np.zeros((96, 96), np.float32), hole()
    mended = harmonise(truth + 0.5, truth, keep)
    assert abs(mended[30, 48]) < 0.02
    assert abs(mended[65, 40]) < 0.02


def test_the_correction_fades_inwards():
    truth, keep = np.zeros((200, 200), np.float32), np.ones((200, 200), np.float32)
    keep[20:180, 20:180] = 0
    mended = harmonise(truth + 0.5, truth, keep)
    assert abs(mended[100, 100] - 0.5) < 0.01
    row = mended[20:100, 100]
    assert (np.diff(row) >= -1e-6).all()
    assert row[int(FADE_PX)] > 0.25


def test_noise_outside_is_not_carried_in():
    keep, mean = hole(), np.zeros((96, 96), np.float32)
    mended = harmonise(mean, texture(), keep)
    assert np.abs(mended[34:62, 34:62]).max() < 0.4


def test_whole_sections_have_no_seam():
    mean = texture()
    assert harmonise(mean, mean + 1, np.zeros_like(mean)) is mean
    assert harmonise(mean, mean + 1, np.ones_like(mean)) is mean
