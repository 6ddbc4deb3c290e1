"""What alignment by an adversary is trained on, and by which rule."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.align.jain2017 import SPEC, Adversarial, Mixed
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

CPU = torch.device("cpu")
TINY = {"kind": "alignment", "maps": 2, "depth": 1}  # loses 8 voxels a side


def data():
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (2, 44, 50, 52)).astype(np.uint8)
    return TrainingData(blocks=[blocks[0]], held_out=[blocks[1]])


def recipe(cls=Mixed, **options):
    return cls(data(), config=TINY, size=26, **options)


def test_real_images_are_sections_of_the_input_and_fakes_reslices_of_the_output():
    r, rng = recipe(), np.random.default_rng(0)
    batch = r.minibatch(rng, CPU)
    assert batch.seen.shape == batch.true.shape == (1, 1, 42, 42, 42)
    output = torch.arange(26.0)[None, None, :, None, None].expand(1, 1, 26, 26, 26)  # its value is its section
    fakes, reals = r.fakes(batch, output, rng), r.reals(batch, rng)
    assert fakes.shape == reals.shape == (6, 1, 26, 26)
    assert (fakes[:, 0, :, 0] == torch.arange(26.0)).all()  # rows of a reslice are sections
    sections = batch.seen[0, 0].unfold(1, 26, 1).unfold(2, 26, 1).reshape(-1, 26 * 26)
    for image in reals.reshape(6, -1):
        assert (sections == image).all(dim=1).any()


def test_some_samples_jitter_and_the_pixel_term_knows_where_they_were():
    r, rng = recipe(), np.random.default_rng(0)
    batches = [r.minibatch(rng, CPU) for _ in range(12)]
    moved = [bool((b.seen != b.true).any()) for b in batches]
    assert 3 < sum(moved) < 12
    batch = batches[moved.index(True)]
    inner = batch.true[:, :, 8:-8, 8:-8, 8:-8]
    assert float(r.pixel_term(batch, inner)) == 0
    assert float(r.pixel_term(batch, inner + 0.5)) == pytest.approx(0.5)
    assert float(r.pixel_term(batch, batch.seen[:, :, 8:-8, 8:-8, 8:-8])) > 0.1


def test_without_pixel_term_the_adversary_teaches_alone():
    assert Adversarial.scheme.pixel == 0
    assert Mixed.scheme.pixel > 0


@pytest.mark.parametrize("objective", list(SPEC.recipes))
def test_every_objective_takes_a_step_and_is_scored(objective):
    r = recipe(SPEC.recipes[objective])
    learner = r.learner(Plan(steps=5), CPU)
    terms = learner.step(np.random.default_rng(0), 1e-3)
    assert np.isfinite(terms["loss"])
    with torch.inference_mode():
        scores = r.validate(learner.network.eval(), CPU)
    assert {"psnr", "jittered", "mid_band", "score"} <= set(scores)
    assert r.fingerprint()["objective"] == objective
