import json

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.metrics import band_power
from napari_emsynth.testing.damage import (
    REGION_KINDS,
    SECTION_KINDS,
    Planted,
    damage_region,
    damage_section,
    plant,
    plant_regions,
    spread,
)
from napari_emsynth.testing.phantoms import Phantom

DTYPES = ["uint8", "uint16", "int16", "float32"]


@pytest.fixture(scope="module")
def stack():
    return Phantom(shape=(12, 64, 80)).volume().data


def rng():
    return np.random.default_rng(1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", SECTION_KINDS)
def test_section_damage_changes_a_copy(kind, dtype):
    section = Phantom(shape=(1, 64, 80), dtype=dtype).volume().data[0]
    before = section.copy()
    damaged, detail = damage_section(section, kind, rng())
    assert (section == before).all()
    assert damaged.dtype == section.dtype
    assert damaged.shape == section.shape
    assert (damaged != section).mean() > 0.3
    assert all(isinstance(value, float | int) for value in detail.values())


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", REGION_KINDS)
def test_region_damage_stays_in_its_mask(kind, dtype):
    section = Phantom(shape=(1, 64, 80), dtype=dtype).volume().data[0]
    damaged, mask = damage_region(section, kind, rng())
    assert damaged.dtype == section.dtype
    assert 0.003 < mask.mean() < 0.4
    assert (damaged == section)[~mask].all()
    assert (damaged != section)[mask].mean() > 0.7


def test_each_kind_is_what_it_says(stack):
    section = stack[5]
    blank = damage_section(section, "blank", rng())[0]
    assert blank.std() < 0.1 * section.std()
    saturated, detail = damage_section(section, "saturated", rng())
    assert (saturated == 255).mean() == pytest.approx(detail["clipped_share"], abs=0.05)
    blurred = damage_section(section, "blurred", rng())[0]
    assert band_power(blurred) < 0.3 * band_power(section)
    half, detail = damage_section(section, "half-missing", rng())
    assert (half == round(detail["grey"])).mean() == pytest.approx(detail["share"], abs=0.05)
    slipped, detail = damage_section(section, "displaced", rng())
    dy, dx = int(detail["dy_px"]), int(detail["dx_px"])
    assert max(abs(dy), abs(dx)) >= 4
    inner = slice(12, -12)
    assert (np.roll(section, (dy, dx), (0, 1))[inner, inner] == slipped[inner, inner]).all()


def test_nan_stays_nan():
    section = Phantom(shape=(1, 40, 40), dtype="float32").volume().data[0].copy()
    section[:7] = np.nan
    for kind in SECTION_KINDS:
        damaged, _ = damage_section(section, kind, rng())
        assert np.array_equal(np.isnan(damaged), np.isnan(section))
    for kind in REGION_KINDS:
        damaged, _ = damage_region(section, kind, rng())
        assert np.array_equal(np.isnan(damaged), np.isnan(section))


def test_plant_leaves_the_rest_alone(stack):
    before = stack.copy()
    damaged, record = plant(stack, {3: "blank", 8: "blurred"}, seed=4)
    assert (stack == before).all()
    assert [(p.section, p.kind) for p in record] == [(3, "blank"), (8, "blurred")]
    assert [z for z in range(12) if (damaged[z] != stack[z]).any()] == [3, 8]


def test_seed_decides(stack):
    plan = {3: "saturated", 8: "displaced"}
    assert (plant(stack, plan, seed=4)[0] == plant(stack, plan, seed=4)[0]).all()
    assert (plant(stack, plan, seed=4)[0] != plant(stack, plan, seed=5)[0]).any()
    assert (plant(stack, plan, seed=4)[0][8] == plant(stack, {8: "displaced"}, seed=4)[0][8]).all()


def test_plant_regions(stack):
    damaged, mask, record = plant_regions(stack, {2: "fold", 6: "dirt"}, seed=1)
    assert mask.any(axis=(1, 2)).nonzero()[0].tolist() == [2, 6]
    assert (damaged == stack)[~mask].all()
    assert record[0].detail["share"] == mask[2].mean()


def test_refusals(stack):
    with pytest.raises(InputError, match="'melted' is not one of blank"):
        plant(stack, {1: "melted"})
    with pytest.raises(InputError, match="'melted' is not one of fold"):
        plant_regions(stack, {1: "melted"})
    with pytest.raises(InputError, match="section 12 is outside the stack's sections 0 to 11"):
        plant(stack, {12: "blank"})


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("spacing", [3, 4, 7])
def test_spread_keeps_its_distance(seed, spacing):
    plan = spread(60, seed=seed, spacing=spacing)
    sections = sorted(plan)
    assert sections[0] >= 1
    assert sections[-1] <= 58
    assert min(np.diff(sections)) >= 2
    assert set(plan.values()) == set(SECTION_KINDS)


def test_record_round_trip(stack):
    _, record = plant(stack, spread(12, spacing=3), seed=2)
    for planted in record:
        assert Planted.from_json(json.loads(json.dumps(planted.to_json()))) == planted
