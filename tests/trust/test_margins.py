"""What is told from tissue by its looks alone."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.trust.margins import margin_of

SHAPE = (120, 160)
Y, X = np.mgrid[: SHAPE[0], : SHAPE[1]]
PLANTED = {
    "a strip": X < 5,
    "a frame of uneven width": (X < 4) | (X > 150) | (Y < 9) | (Y >= 117),
    "half a section": Y < 60,
    "tilted": X + 0.1 * Y < 14,
    "corners of a turned section": (X + Y < 30) | (X + Y > 250),
    "steps of a montage": (Y < 20) & (X < 80) | (Y < 9),
}


def tissue(dtype: str = "uint8", seed: int = 0) -> np.ndarray:
    """Structures and noise, clipped nowhere."""
    rng = np.random.default_rng(seed)
    field = gaussian_filter(rng.standard_normal(SHAPE), 3)
    grey = (128 + 35 * field / field.std() + 6 * rng.standard_normal(SHAPE)).clip(1, 254)
    return grey.astype(dtype) if dtype != "float32" else ((grey - 128) / 40).astype(np.float32)


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32"])
@pytest.mark.parametrize("name", PLANTED)
def test_a_planted_margin_is_found_to_the_pixel(name: str, dtype: str) -> None:
    for fill in (0, tissue(dtype).max() + 1):
        section = tissue(dtype)
        section[PLANTED[name]] = fill
        found = margin_of(section)
        assert found is not None
        wrong = found != PLANTED[name]
        # Where a slanted edge is less than 3 px deep nothing is said.
        assert wrong.mean() < 0.003
        assert not (found & ~PLANTED[name]).any()


@pytest.mark.parametrize("name", PLANTED)
def test_turning_and_inverting_change_nothing(name: str) -> None:
    section = tissue()
    section[PLANTED[name]] = 0
    found = margin_of(section)
    np.testing.assert_array_equal(margin_of(255 - section), found)
    np.testing.assert_array_equal(margin_of(np.ascontiguousarray(section[::-1].T)), found[::-1].T)


def saturated(at: tuple[float, float], radius: float) -> np.ndarray:
    """Tissue with a lumen so bright that the camera clips, blurred as optics blur."""
    lumen = gaussian_filter((np.hypot(Y - at[0], X - at[1]) < radius).astype(float), 3)
    return (tissue().astype(float) * (1 - lumen) + 290 * lumen).clip(0, 255).astype(np.uint8)


@pytest.mark.parametrize("at", [(0.0, 80.0), (60.0, 0.0), (-10.0, 70.0), (0.0, 0.0), (119.0, 159.0)])
def test_a_saturated_vessel_at_the_border_is_tissue(at: tuple[float, float]) -> None:
    section = saturated(at, 40)
    assert (section == 255).mean() > 0.03
    assert margin_of(section) is None
    assert margin_of(255 - section) is None


def resin() -> np.ndarray:
    section = tissue()
    section[:, :50] = np.random.default_rng(1).normal(200, 2, (SHAPE[0], 50)).astype(np.uint8)
    return section


@pytest.mark.parametrize(
    "section",
    [
        tissue(),
        resin(),
        np.full(SHAPE, 7, np.uint8),
        np.where(X < 20, 0, 200).astype(np.uint8),
        (tissue() > 128),
        (tissue() > 128).astype(np.uint8) * 255,
        (X // 40 + 4 * (Y // 40)).astype(np.uint16),
        tissue()[:9],
        np.where((X > 60) & (X < 100) & (Y > 40) & (Y < 80), 0, tissue()),
        np.where(X < 1, 0, tissue()),
    ],
    ids=["tissue", "resin", "blank", "two values", "bool", "threshold", "labels", "tiny", "hole inside", "one column"],
)
def test_what_is_no_margin(section: np.ndarray) -> None:
    assert margin_of(section) is None
