"""Alignments upon alignments, fields from files, and what a labels layer says of the tissue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.fields.algebra import compose
from napari_emsynth.fields.apply import moved, outside
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.field import write_field
from napari_emsynth.plugin.align.align_with import with_field
from napari_emsynth.plugin.align.run import Earlier, materials_of
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.volume_task.run import VolumeOutcome
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Volume

SHAPE = (4, 48, 64)
SETTINGS = AlignSettings(selfcheck=False)


def smooth(seed: int, size: float) -> Displacement:
    noise = np.random.default_rng(seed).standard_normal((4, 2, 6, 8))
    data = gaussian_filter(noise, (0, 0, 1, 1))
    return Displacement((size * data / np.abs(data).max()).astype(np.float32), SHAPE, (8, 4, 4))


def section_like(seed: int) -> Volume:
    noise = np.random.default_rng(seed).standard_normal(SHAPE)
    data = gaussian_filter(noise, (0, 1.5, 1.5))
    return Volume.of(
        np.round(128 + 300 * data).clip(0, 255).astype(np.uint8), voxel_nm=(8, 4, 4), name="stack"
    )


def result_of(volume: Volume, field: Displacement, **more: Any) -> Result:
    record = {"task": "align", "method": "test", "sections": [], "notices": []}
    return Result(
        volume=moved(volume, field, "cubic"), synthetic=outside(field, volume), displacement=field,
        provenance=record, **more,
    )  # fmt: skip


@pytest.fixture
def volume() -> Volume:
    return section_like(0)


def test_aligned_twice_is_drawn_once(volume: Volume) -> None:
    first, then = smooth(1, 2.0), smooth(2, 2.0)
    once = result_of(volume, first)
    again = result_of(once.volume, then)
    earlier = Earlier.of(VolumeOutcome(settings=SETTINGS, result=once, source=volume))
    both = earlier.under(again, SETTINGS)
    wanted = moved(volume, compose(first, then), "cubic").data
    ours = np.asarray(both.volume.data)
    np.testing.assert_array_equal(ours, wanted)
    assert not np.array_equal(ours, again.volume.data), "drawing it twice blurs it"
    assert earlier.source(once.volume) is volume
    assert both.provenance["previous"] == once.provenance
    assert both.volume.grid.voxel_nm == (8, 4, 4)
    third = Earlier.of(VolumeOutcome(settings=SETTINGS, result=both, source=volume, previous=earlier))
    still = third.under(result_of(both.volume, Displacement.zero(SHAPE, 8)), SETTINGS)
    np.testing.assert_allclose(still.displacement.dense(2), both.displacement.dense(2), atol=1e-5)


def test_what_was_made_up_before_moves_along(volume: Volume) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[1] = 1
    mask[2, 20:30, 20:30] = 1
    data = np.zeros((4, 2, 6, 8), np.float32)
    data[2, 0] = 5.0
    field = Displacement(data, SHAPE)
    made = Earlier(synthetic=mask, provenance={}).under(result_of(volume, field), SETTINGS)
    synthetic = np.asarray(made.synthetic.data)
    assert synthetic[1].all()
    assert not synthetic[0].any()
    wanted = np.zeros(SHAPE[1:], bool)
    wanted[15:25, 20:30] = wanted[-5:] = True
    np.testing.assert_array_equal(synthetic[2] > 0, wanted)


def test_a_redrawn_result_keeps_the_record(volume: Volume) -> None:
    plain = replace(result_of(volume, smooth(1, 1.0)), displacement=None)
    made = Earlier(synthetic=None, provenance={"method": "before"}).under(plain, SETTINGS)
    assert made.provenance["previous"] == {"method": "before"}
    assert made.volume is plain.volume


def test_materials_by_the_users_own_labels() -> None:
    labels = np.zeros(SHAPE, np.uint16)
    labels[0, :5], labels[1, :5], labels[2, :5] = 7, 300, 2
    made = materials_of(Volume.of(labels), SHAPE, [7], [300, 301])
    data = made.read(slice(None))
    assert data.dtype == np.uint8
    np.testing.assert_array_equal(data[:, 0, 0], [1, 2, 0, 0])
    assert not data[:, 5:].any()
    with pytest.raises(InputError, match="need the stack's"):
        materials_of(Volume.of(labels), (4, 48, 65), [7], [])
    with pytest.raises(InputError, match="label 7"):
        materials_of(Volume.of(labels), SHAPE, [7], [7])


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_a_saved_field_aligns_as_it_did(volume: Volume, tmp_path: Path, suffix: str, lazy: bool) -> None:
    result = result_of(volume, smooth(3, 3.0))
    reports = [{"section": z, "treatment": "moved", "cpc_before": 0.5} for z in range(4)]
    path = write_field(
        replace(result, provenance={**result.provenance, "sections": reports}),
        tmp_path / f"field{suffix}", dense=suffix == ".npy",
    )  # fmt: skip
    made = with_field(volume, path, replace(SETTINGS, lazy=lazy), Runtime()).result
    assert made.volume.is_lazy == lazy
    np.testing.assert_array_equal(np.asarray(made.volume.data), result.volume.data)
    np.testing.assert_array_equal(np.asarray(made.synthetic.data), result.synthetic.data)
    assert path.name in made.provenance["notices"][0]
    assert (made.provenance["sections"] == reports) == (suffix == ".zarr")


def test_a_field_of_a_binned_copy_serves_the_full_size(tmp_path: Path) -> None:
    small = Displacement(smooth(4, 1.5).data, SHAPE, (8, 8, 8))
    path = write_field(small, tmp_path / "field.zarr", dense=False)
    full = Volume.of(
        np.random.default_rng(0).integers(0, 255, (4, 96, 128)).astype(np.uint8), voxel_nm=(8, 4, 4)
    )
    made = with_field(full, path, SETTINGS, Runtime()).result
    np.testing.assert_allclose(made.displacement.dense(1)[:, 1::2, 1::2], 2 * small.dense(1), atol=0.2)
    with pytest.raises(InputError, match="does not fit"):
        with_field(Volume.of(np.zeros((4, 96, 96), np.uint8)), path, SETTINGS, Runtime())
