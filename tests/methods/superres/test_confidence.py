"""How wide intervals are on sections of any roughness."""

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from napari_emsynth.methods.superres.confidence import Confidence, block_made_smaller, measured
from napari_emsynth.nn.lateral import enlarged
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.trust.oversampled import smoothness
from napari_emsynth.volume import Volume
from napari_emsynth.weights.card import Card


def card(**known):
    return Card(id="a", method="superres/single-stage", name="x8", **known)


def phantom():
    return np.asarray(Phantom(shape=(7, 192, 192), dtype="uint8").volume().data)


def rough():
    """Sections with structures of all sizes from 3 to 60 px, adjacent ones alike."""
    rng = np.random.default_rng(0)
    section = sum(s * gaussian_filter(rng.normal(size=(384, 384)), s) for s in (3.0, 8.0, 20.0))
    return np.repeat(section[None], 7, axis=0)


def test_a_factor_is_looked_up_and_ends_where_measurements_end():
    volume = Volume.of(phantom())
    c = smoothness(volume)
    law = Confidence(((c - 0.2, 4.0), (c - 0.1, 3.0), (c + 0.1, 1.0)))
    assert law.on(volume) == pytest.approx(2.0)
    assert Confidence(((c + 0.1, 1.0), (c + 0.2, 0.5))).on(volume) == 1.0
    assert law.on(Volume.of(np.full((3, 32, 32), 7, np.uint8))) == 1.0


def test_cards_without_a_law_have_one_factor_for_all():
    assert Confidence.of(card(factor=2.5)).on(Volume.of(phantom())) == 2.5
    assert Confidence.of(card(factor=2.5, factors=((0.3, 4.0), (0.7, 2.5)))).factors == ((0.3, 4.0), (0.7, 2.5))


def test_a_card_keeps_its_law():
    known = card(factor=2.5, factors=((0.3, 4.0), (0.7, 2.5)))
    assert Card.from_toml(known.to_toml()) == known


def test_the_law_is_measured_on_sections_of_several_pixel_sizes():
    def bicubic(case):
        mean = enlarged(torch.from_numpy(case.low[2:3])[None], 8)[0, 0].numpy()
        return mean, np.zeros_like(mean)

    facts = measured([rough()], 8, 5, bicubic)
    smooth, factors = zip(*facts["factors"], strict=True)
    assert len(smooth) == 4
    assert list(smooth) == sorted(smooth)
    assert facts["factor"] == factors[-1]
    # In units of the acquired deviation, what bicubic misses grows as pixels do.
    assert factors[0] > 1.2 * factors[-1]


def test_blocks_too_small_for_a_case_have_the_factor_of_a_laplace_law():
    assert measured([phantom()[:, :16, :16]], 8, 5, lambda case: case) == {"factor": pytest.approx(math.log(10))}


def test_made_smaller_means_are_kept():
    block = phantom()
    small = block_made_smaller(block, 3)
    assert small.shape == (7, 64, 64)
    assert small.mean() == pytest.approx(block.mean(), abs=0.01)
    assert block_made_smaller(block, 1) is block
