"""Alignments upon alignments, fields from files, and what a labels layer says of the tissue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.fields import write_field
from napari_emsynth.methods.align.stack.carry import through
from napari_emsynth.plugin.align.align_with import with_field
from napari_emsynth.plugin.align.run import materials_of
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.spec import Runtime
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
    return Volume.of(np.round(128 + 300 * data).clip(0, 255).astype(np.uint8), voxel_nm=(8, 4, 4), name="stack")


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


@pytest.fixture
def volume() -> Volume:
    return section_like(0)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_a_saved_field_aligns_as_it_did(volume: Volume, tmp_path: Path, suffix: str, lazy: bool) -> None:
    result = through(volume, smooth(3, 3.0), name="before")
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
    full = Volume.of(np.random.default_rng(0).integers(0, 255, (4, 96, 128)).astype(np.uint8), voxel_nm=(8, 4, 4))
    made = with_field(full, path, SETTINGS, Runtime()).result
    np.testing.assert_allclose(made.displacement.dense(1)[:, 1::2, 1::2], 2 * small.dense(1), atol=0.2)
    with pytest.raises(InputError, match="does not fit"):
        with_field(Volume.of(np.zeros((4, 96, 96), np.uint8)), path, SETTINGS, Runtime())
