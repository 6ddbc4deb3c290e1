"""``--plan``: what a run would take, of a volume that nobody reads."""

import numpy as np
import pytest
import zarr

from napari_emsynth.io.stored import Stored


@pytest.fixture
def huge(tmp_path):
    """A petabyte of which no chunk is there."""
    path = tmp_path / "huge.zarr"
    array = zarr.create_array(
        str(path), shape=(200_000, 70_000, 70_000), chunks=(16, 1024, 1024), dtype="u1", dimension_names=("z", "y", "x")
    )
    array.attrs["voxel_nm"] = [30, 8, 8]
    return path


@pytest.fixture(autouse=True)
def nothing_is_read(monkeypatch):
    def read(self, box):
        raise AssertionError(f"{self.path} was read")

    monkeypatch.setattr(Stored, "_read", read)


@pytest.mark.parametrize(
    ("words", "shape", "made"),
    [
        (("interpolate", "--sections", "5,9", "--method", "linear"), [200_000, 70_000, 70_000], 2 * 70_000**2),
        (("upsample", "--factor", "2", "--method", "linear"), [399_999, 70_000, 70_000], 399_999 * 70_000**2),
        (("superres", "--factor", "8", "--method", "bicubic"), [200_000, 560_000, 560_000], 200_000 * 560_000**2),
        (("align", "--method", "optical-flow"), [200_000, 70_000, 70_000], 200_000 * 70_000**2),
    ],
)
def test_a_petabyte_is_planned(huge, tmp_path, emsynth, words, shape, made):
    task, *flags = words
    answer = emsynth(task, huge, tmp_path / "out.zarr", *flags, "--plan", "--json")
    assert answer.code == 0, answer.err
    told = answer.json
    assert (told["shape"], told["made"]) == (shape, made)
    assert told["seconds"] == pytest.approx(made / told["rate"] + told["written_bytes"] / told["copy_rate"])
    assert told["chunks"] == np.prod([-(-n // c) for n, c in zip(shape, (16, 256, 256), strict=True)], dtype=object)
    assert [p.name for p in tmp_path.iterdir()] == ["huge.zarr"]


def test_a_patch_takes_little(huge, tmp_path, emsynth):
    words = ("--sections", "5,9", "--method", "linear", "--plan", "--json")
    whole = emsynth("interpolate", huge, tmp_path / "out.zarr", *words).json
    patch = emsynth("interpolate", huge, tmp_path / "p.patch.zarr", "--patch", *words).json
    assert patch["written_bytes"] < 1e-4 * whole["written_bytes"]
    assert patch["read_bytes"] < 1e-3 * whole["read_bytes"]
    shown = emsynth("interpolate", huge, tmp_path / "p.patch.zarr", "--patch", *words[:-1]).out
    assert "9.8e+09 of them made or moved" in shown


def test_what_the_run_would_refuse_is_refused(huge, tmp_path, refused):
    assert "outside the stack" in refused(
        "interpolate", huge, tmp_path / "o.zarr", "--sections", "200000", "--method", "linear", "--plan"
    )
