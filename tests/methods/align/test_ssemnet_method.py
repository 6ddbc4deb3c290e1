"""What ssEMnet finds: known shifts and warps, and nothing where there is nothing to find.

The encoder is a small one with its random starting weights: that features of anything register a section with itself,
moved, needs no training.
"""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import Cancelled
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.aligner import Neighbour
from napari_emsynth.methods.align.jitter import moved
from napari_emsynth.methods.align.ssemnet import Ssemnet, SsemnetParams
from napari_emsynth.methods.align.ssemnet_descent import Scale, features_of, tiles
from napari_emsynth.methods.align.ssemnet_grid import INTERPOLATIONS
from napari_emsynth.methods.flow import pull
from napari_emsynth.models.ssemnet import Autoencoder, Config
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.phantoms import Phantom

CPU = Runtime(device="cpu")
EDGE = 96
SECTIONS = Phantom(shape=(2, EDGE, EDGE), noise=0.0)


def network():
    torch.manual_seed(0)
    return Autoencoder(Config(widths=(8, 12, 16)))


def method(**params):
    return Ssemnet(network(), SsemnetParams(**({"iterations": 25} | params)))


def section(shift=(0.0, 0.0), noise=0.0, seed=0):
    clean = (SECTIONS.clean(3, shift) - 140) / 40
    return (clean + noise * np.random.default_rng(seed).standard_normal(clean.shape)).astype(np.float32)


def dense(found, shape=(EDGE, EDGE)):
    return Displacement(found.displacement[None], (1, *shape)).dense(0)


@pytest.mark.parametrize("shift", [(2.0, -1.5), (-0.6, 2.5)])
def test_a_known_shift_is_found_with_its_sign(shift):
    # moving(p) = clean(p + shift) lies on fixed(p) = clean(p) when it is pulled from p - shift.
    found = method()(section(shift, 0.1, 1), [Neighbour(section(noise=0.1, seed=2))], None, CPU)
    inner = dense(found)[:, 16:-16, 16:-16]
    assert np.abs(inner.mean(axis=(1, 2)) + shift).max() < 0.15
    assert np.abs(inner + np.reshape(shift, (2, 1, 1))).max() < 0.6


@pytest.mark.parametrize("kind", INTERPOLATIONS)
def test_a_known_warp_is_found(kind):
    truth = Distortion(shift_px=1.0, rotation_deg=1.0, warp_px=1.5, wavelength_px=30).draw(
        np.random.default_rng(0), (EDGE, EDGE)
    )
    moving = section(noise=0.05, seed=1)
    fixed = pull(section(noise=0.05, seed=2), truth)
    found = method(step_px=16, interpolation=kind)(moving, [Neighbour(fixed)], None, CPU)
    error = np.hypot(*(dense(found) - truth))[12:-12, 12:-12].mean()
    before = np.hypot(*truth)[12:-12, 12:-12].mean()
    assert before > 1
    assert error < 0.25 * before


def test_identical_sections_stay_where_they_are():
    found = method()(section(), [Neighbour(section())], None, CPU)
    assert np.abs(found.displacement).max() < 0.05
    assert found.confidence.min() > 0.99
    assert found.notes["difference"] < 1e-3


def test_the_answer_has_the_nodes_asked_for():
    for shape in ((EDGE, 70), (64, 40), (9, 12), (1, 5)):
        image = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        found = method(iterations=2)(image, [Neighbour(image)], None, CPU)
        nodes = tuple(-(-n // 32) for n in shape)
        assert found.displacement.shape == (2, *nodes)
        assert found.displacement.dtype == np.float32
        assert found.confidence.shape == nodes
        assert np.isfinite(found.displacement).all()


def test_empty_space_does_not_pull():
    # Beside the tissue lies the same frame in both images: it stays where it is while the tissue moves.
    shift = (0.0, 2.0)
    moving, fixed = section(shift, 0.1, 1), section(noise=0.1, seed=2)
    moving[:, 60:] = fixed[:, 60:] = 2 * section((30.0, 9.0))[:, 60:]
    known = np.ones(moving.shape, bool)
    known[:, 60:] = False
    inner = (slice(None), slice(12, -12), slice(12, 56))

    def answer(known):
        found = method(step_px=16)(moving, [Neighbour(fixed, 1.0, known)], known, CPU)
        return found, np.abs(dense(found)[inner] + np.reshape(shift, (2, 1, 1))).mean()

    found, error = answer(known)
    assert error < 0.15
    assert found.confidence[:, 4:].max() == 0
    assert found.confidence[:, :3].min() > 0.5
    assert answer(None)[1] > 1.5 * error


def test_several_neighbours_outvote_a_wrong_one_by_weight():
    here, away = section(noise=0.1, seed=2), section((0.0, -2.0), 0.1, 3)
    moving = section(noise=0.1, seed=1)

    def x_of(*weights):
        neighbours = [Neighbour(image, w) for image, w in zip((away, here, here), weights, strict=True)]
        return float(dense(method()(moving, neighbours, None, CPU))[1, 16:-16, 16:-16].mean())

    assert x_of(1.0, 0.0, 0.0) == pytest.approx(-2, abs=0.3)
    assert abs(x_of(1.0, 1.0, 1.0)) < 0.5
    assert x_of(1.0, 0.3, 0.3) < x_of(1.0, 1.0, 1.0)


def test_confidence_is_high_for_the_same_and_low_for_strangers():
    rng = np.random.default_rng(0)
    noise, other = rng.standard_normal((2, EDGE, EDGE)).astype(np.float32)
    same = method()(section(noise=0.1, seed=1), [Neighbour(section(noise=0.1, seed=2))], None, CPU)
    strange = method()(noise, [Neighbour(other)], None, CPU)
    assert same.confidence.min() > 0.7
    assert strange.confidence.max() < 0.4
    assert same.notes["difference"] < 0.3 < strange.notes["difference"]


def test_sections_without_structure_say_nothing():
    flat = np.zeros((EDGE, EDGE), np.float32)
    for fixed in (flat, section()):
        found = method(iterations=3)(flat, [Neighbour(fixed)], None, CPU)
        assert np.isfinite(found.displacement).all()
        assert found.confidence.max() < 0.2
    nothing = np.zeros(flat.shape, bool)
    found = method(iterations=3)(section(), [Neighbour(section((2.0, 0.0)))], nothing, CPU)
    assert np.abs(found.displacement).max() < 1e-4
    assert found.confidence.max() == 0


def test_it_stops_between_iterations():
    class Impatient(CancelToken):
        asked = 0

        def check(self):
            self.asked += 1
            if self.asked == 4:
                raise Cancelled("cancelled")

    token = Impatient()
    with pytest.raises(Cancelled):
        method()(section(), [Neighbour(section())], None, Runtime(device="cpu", cancel=token))
    assert token.asked == 4


def test_tiled_equals_whole():
    moving, fixed = section((1.0, 2.0), 0.1, 1), section(noise=0.1, seed=2)
    answers = [
        method(iterations=8)(moving, [Neighbour(fixed)], None, Runtime(device="cpu", tile=tile))
        for tile in (None, 40)
    ]
    assert np.abs(answers[0].displacement - answers[1].displacement).max() < 0.01
    assert np.abs(answers[0].confidence - answers[1].confidence).max() < 0.01


def test_features_of_tiles_are_those_of_the_whole():
    net, image = network(), torch.from_numpy(section())
    whole = features_of(net, image, EDGE)
    torch.testing.assert_close(features_of(net, image, 24), whole, atol=1e-4, rtol=1e-4)
    assert len(tiles(image.shape, 27, 8)) == 16


def test_sections_are_not_binned_until_nothing_is_left():
    assert method(scales=5)._binnings((600, 300)) == [8, 4, 2, 1]
    assert method(scales=2)._binnings((600, 300)) == [2, 1]
    assert method(scales=5)._binnings((60, 300)) == [1]


def test_the_energy_falls(monkeypatch):
    seen = []
    descend = Scale.descend

    def watched(self, v, params, runtime):
        ends = [v, descend(self, v, params, runtime)]
        free = [float("inf")] * len(self.targets)
        seen.append([sum(float(self.data_term(e, t, free)) for t in self.tiles) for e in ends])
        return ends[1]

    monkeypatch.setattr(Scale, "descend", watched)
    method(scales=1)(section((1.0, 2.0)), [Neighbour(section())], None, CPU)
    assert seen[0][1] < 0.3 * seen[0][0]


def test_sub_pixel_shifts_of_real_sampling():
    # The same section twice, the second resampled: what a stack on disk offers.
    fixed = section()
    moving = moved(fixed[None], np.array([[0.5, -0.25]]))[0]
    found = method()(moving, [Neighbour(fixed)], None, CPU)
    assert np.abs(dense(found)[:, 16:-16, 16:-16].mean(axis=(1, 2)) - (-0.5, 0.25)).max() < 0.1
