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
from napari_emsynth.fields.optical_flow import pull
from napari_emsynth.methods.align.protocol import Neighbour, Question
from napari_emsynth.methods.align.scoring.jitter import moved
from napari_emsynth.methods.align.ssemnet.descent import BETAS, Adam, Springs, features_of, flat, tiles
from napari_emsynth.methods.align.ssemnet.grid import INTERPOLATIONS
from napari_emsynth.methods.align.ssemnet.method import Ssemnet, SsemnetParams, energy, stacked
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
        method(iterations=8)(moving, [Neighbour(fixed)], None, Runtime(device="cpu", tile=tile)) for tile in (None, 40)
    ]
    assert np.abs(answers[0].displacement - answers[1].displacement).max() < 0.01
    assert np.abs(answers[0].confidence - answers[1].confidence).max() < 0.01


def test_features_of_tiles_are_those_of_the_whole():
    net, images = network(), torch.from_numpy(np.stack((section(), section((1.0, 2.0)))))[:, None]
    whole = features_of(net, images, EDGE)
    torch.testing.assert_close(features_of(net, images, 24), whole, atol=1e-4, rtol=1e-4)
    assert len(tiles((EDGE, EDGE), 27, 8)) == 16


def questions():
    """Sections of one size with one, two and three neighbours, some of them not known throughout."""
    known = np.ones((EDGE, EDGE), bool)
    known[:30, 40:] = False
    here, near, far = (Neighbour(section(noise=0.1, seed=k), w) for k, w in ((2, 1.0), (3, 0.5), (4, 0.33)))
    patched = Neighbour(near.image, near.weight, known)
    return [
        Question(section((1.0, 2.0), 0.1, 1), [here, near, far]),
        Question(section((-2.0, 0.5), 0.1, 5), [near], known),
        Question(section((0.3, -1.0), 0.1, 6), [far, patched]),
    ]


@pytest.mark.parametrize("tile", [None, 40])
def test_together_is_one_by_one(tile):
    runtime, asked = Runtime(device="cpu", tile=tile), method(iterations=12, scales=2)
    together = asked.together(questions(), runtime)
    for answer, q in zip(together, questions(), strict=True):
        alone = asked(q.moving, q.fixed, q.known, runtime)
        assert np.abs(answer.displacement - alone.displacement).max() < 0.01
        assert np.abs(answer.confidence - alone.confidence).max() < 0.01
        assert answer.notes["difference"] == pytest.approx(alone.notes["difference"], rel=0.01)


def scale_of(params):
    asked = Ssemnet(network(), params)
    return asked._scale(questions(), stacked(questions(), torch.device("cpu")), 1, EDGE)


def test_the_slope_is_that_of_the_energy():
    params = SsemnetParams(step_px=16, alpha=0.02, beta=3.0, gamma=5.0)
    scale = scale_of(params)
    maps = (0.7 * torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))).requires_grad_()
    targets, tile = scale.targets, scale.tiles[0]
    (places, step) = tile.places(flat(maps)), scale.step
    moved = scale.encoder(energy.pulled(scale.moving, places))
    rim = scale.halo // scale.multiple
    errors = energy.difference(targets.features, moved[..., rim:-rim, rim:-rim])
    say = targets.weights / targets.weights.sum(dim=1, keepdim=True)
    variance = targets.features[:, 0].flatten(2).var(dim=2, correction=0).mean(dim=1)
    data = (tile.mask(places) * targets.known * errors * say[..., None, None]).sum(dim=1).mean(dim=(1, 2)) / variance
    rough = sum(maps.diff(dim=d).square().mean(dim=(2, 3)) / step[d - 2] ** 2 for d in (2, 3))  # [b, (dy, dx)]
    springs = 0.02 * maps.square().sum(dim=1).mean(dim=(1, 2)) + 5.0 * rough[:, 0] + 3.0 * rough[:, 1]
    (expected,) = torch.autograd.grad((data + springs).sum(), maps)
    start = flat(maps.detach())
    found = Springs(scale, params)(scale.slope(start, 0.0), start).view(3, 2, 6, 6).flip(1)
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-4)


def test_dropped_features_have_no_slope():
    scale = scale_of(SsemnetParams())
    maps = torch.zeros(6, 3, 3)
    everything, half = scale.slope(maps, 0.0), scale.slope(maps, 0.5)
    assert 0.05 < float(half.norm() / everything.norm()) < 0.9


def test_a_step_of_adam_is_that_of_pytorch():
    rng = torch.Generator().manual_seed(0)
    ours, theirs = torch.zeros(4, 3), torch.zeros(4, 3, requires_grad=True)
    adam, candidate = Adam(ours, 1e-3), torch.optim.Adam([theirs], eps=1e-3, betas=BETAS)
    for k in range(6):
        theirs.grad = torch.randn(4, 3, generator=rng) * torch.logspace(-4, 0, 3)
        candidate.param_groups[0]["lr"] = 0.1 * (k + 1)
        adam.step(theirs.grad, 0.1 * (k + 1))
        candidate.step()
    torch.testing.assert_close(ours, theirs.detach())


def test_sections_are_not_binned_until_nothing_is_left():
    assert method(scales=5)._binnings((600, 300)) == [8, 4, 2, 1]
    assert method(scales=2)._binnings((600, 300)) == [2, 1]
    assert method(scales=5)._binnings((60, 300)) == [1]


def test_the_energy_falls():
    moving, fixed = section((1.0, 2.0)), section()
    left = [
        method(scales=1, iterations=n)(moving, [Neighbour(fixed)], None, CPU).notes["difference"] for n in (1, 10, 25)
    ]
    assert left[2] < left[1] < left[0]
    assert left[2] < 0.1 * left[0]


def test_sub_pixel_shifts_of_real_sampling():
    # The same section twice, the second resampled: what a stack on disk offers.
    fixed = section()
    moving = moved(fixed[None], np.array([[0.5, -0.25]]))[0]
    found = method()(moving, [Neighbour(fixed)], None, CPU)
    assert np.abs(dense(found)[:, 16:-16, 16:-16].mean(axis=(1, 2)) - (-0.5, 0.25)).max() < 0.1
