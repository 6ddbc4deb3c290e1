"""What super-resolution by an adversary is trained on, and by which rule."""

import numpy as np
import pytest
import torch

from napari_emsynth.methods.upsample.jain2017 import SuperResolution, interleaved
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.plan import Plan

CPU = torch.device("cpu")
TINY = {"kind": "superresolution", "maps": 2, "depth": 1}


def numbered(z):
    """A block whose value is its section, with a dark and a bright row so that its statistics are tame."""
    return np.broadcast_to(np.arange(z, dtype=np.float32)[:, None, None], (z, 52, 52))


def recipe(axes):
    return SuperResolution(TrainingData(blocks=[numbered(90)], held_out=[numbered(60)], axes=axes), config=TINY)


def test_every_second_section_of_an_isotropic_block_is_left_out_and_known():
    r = recipe((0, 1, 2))
    r.samples.stacks = r.samples.stacks[:1]
    r.samples.share = np.ones(1)
    batch = next(
        b for b in (r.minibatch(np.random.default_rng(s), CPU) for s in range(20)) if (b.seen[:, 0] == b.on).all()
    )
    step = float(batch.on[0, 1, 0, 0] - batch.on[0, 0, 0, 0])
    half = float(batch.between[0, 0, 0, 0] - batch.on[0, 0, 0, 0])
    assert half == pytest.approx(step / 2, rel=1e-4)


def test_an_anisotropic_block_is_taken_as_it_is_and_only_its_own_sections_count():
    r = recipe((0,))
    batch = r.minibatch(np.random.default_rng(0), CPU)
    assert batch.between is None
    z, y, x = r.config.border
    output = torch.zeros(1, 2, 16, 32, 32)
    output[:, 0] = batch.on[:, z:-z, y:-y, x:-x]
    output[:, 1] = 99.0  # nobody knows better
    assert float(r.pixel_term(batch, output)) == pytest.approx(0, abs=1e-6)


def test_where_the_sections_between_are_known_they_count_as_much():
    r = recipe((0, 1, 2))
    batch = r.minibatch(np.random.default_rng(0), CPU)
    z, y, x = r.config.border
    inner = (slice(None), slice(z, -z), slice(y, -y), slice(x, -x))
    output = torch.stack((batch.on[inner], batch.between[inner] + 1), dim=1)
    assert float(r.pixel_term(batch, output)) == pytest.approx(0.5)


def test_the_discriminator_sees_squares_of_one_size():
    r, rng = recipe((0, 1, 2)), np.random.default_rng(0)
    batch = r.minibatch(rng, CPU)
    output = torch.randn(1, 2, 16, 32, 32)
    fakes, reals = r.fakes(batch, output, rng), r.reals(batch, rng)
    assert fakes.shape == reals.shape == (6, 1, 32, 32)
    assert r.discriminator()(fakes).shape == (6,)


def test_phases_interleave_in_order():
    pairs = torch.stack((torch.arange(4.0), torch.arange(4.0) + 0.5))[None, :, :, None, None]
    assert interleaved(pairs)[0, :, 0, 0].tolist() == [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2)])
def test_it_takes_a_step_and_is_scored(axes):
    rng = np.random.default_rng(0)
    blocks = rng.integers(0, 255, (2, 76, 60, 60)).astype(np.uint8)
    r = SuperResolution(TrainingData(blocks=[blocks[0]], held_out=[blocks[1]], axes=axes), config=TINY)
    learner = r.learner(Plan(steps=5), CPU)
    assert np.isfinite(learner.step(rng, 1e-3)["loss"])
    with torch.inference_mode():
        scores = r.validate(learner.network.eval(), CPU)
    assert scores["linear"] == pytest.approx(9.03, abs=0.3)  # 10 log10(255^2 / (1.5 * 255^2 / 12))
    assert {"psnr", "mid_band", "score"} <= set(scores)
