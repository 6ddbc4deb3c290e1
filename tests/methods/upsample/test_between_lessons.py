"""What the network that looks along z is shown and judged by."""

import numpy as np
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.upsample.between_lessons import RunLessons
from napari_emsynth.models.reslice_unet import Config, ResliceUNet
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.planes import Simulation

CPU = torch.device("cpu")
PLAIN = Simulation(rescale=0, jitter=0, contrast=0, noise=0)


def lessons(axes=(0, 1, 2), simulation=PLAIN):
    blocks = np.random.default_rng(0).integers(0, 255, (1, 96, 90, 92)).astype(np.uint8)
    data = TrainingData(blocks=list(blocks), held_out=[], axes=axes)
    return RunLessons(data, count=12, size=32, simulation=simulation)


@pytest.fixture(scope="module")
def runs():
    rng, found = np.random.default_rng(0), []
    teacher = lessons()
    while {r.slab is None for r in found} != {True, False} or len(found) < 12:
        found += teacher.batch(rng)
    return found


def test_a_batch_has_as_many_sections_as_asked_for_in_whole_runs(runs):
    batch = lessons().batch(np.random.default_rng(1))
    assert sum(len(r.truth) for r in batch) >= 12
    assert sum(len(r.truth) for r in batch[:-1]) < 12
    for run in runs:
        n = len(run.truth)
        factor = round(2 ** (4 * run.facts[0, 0]))
        assert n == (factor - 1 if run.slab is None else factor)
        assert run.planes.shape == (n, 5, 32, 32)


def test_places_go_from_one_section_to_the_next(runs):
    for run in runs:
        factor = round(2 ** (4 * run.facts[0, 0]))
        first = 1 / factor if run.slab is None else (0.5 / factor + 0.5) % 1
        expected = (first + np.arange(len(run.truth)) / factor) % 1
        np.testing.assert_allclose(run.places, expected, atol=1e-5)


def test_a_slab_is_the_mean_of_its_truth_and_answers_are_moved_there(runs):
    slabs = [run for run in runs if run.slab is not None]
    for run in slabs:
        np.testing.assert_allclose(run.truth.mean(0), run.slab, atol=1e-5)
        answer = run.consistent(torch.randn(run.truth.shape))
        np.testing.assert_allclose(answer.mean(0), run.slab, atol=1e-5)
    points = [run for run in runs if run.slab is None]
    guess = torch.randn(points[0].truth.shape)
    assert points[0].consistent(guess) is guess


def test_steps_make_the_loss_smaller():
    torch.manual_seed(0)
    net, teacher = ResliceUNet(Config(widths=(8, 8))), lessons(simulation=Simulation())
    steps = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(6):
        loss, terms = teacher.loss(net, np.random.default_rng(3), CPU)  # the same runs every time
        steps.zero_grad()
        loss.backward()
        steps.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert set(terms) == {"l1", "mse"}


def test_anisotropic_volumes_are_refused():
    with pytest.raises(InputError, match="known in isotropic volumes only"):
        lessons(axes=(0,))
