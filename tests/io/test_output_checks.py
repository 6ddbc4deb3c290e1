"""An output that must not be written is refused before any work, in one line, and nothing is touched."""

import os
import threading

import numpy as np
import pytest
import tifffile
from PIL import Image

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import work_folder, working
from napari_emsynth.volume import Volume

DATA = np.arange(60, dtype="u1").reshape(3, 4, 5)


def refused(match, *args, **kwargs):
    with pytest.raises(InputError, match=match) as caught:
        io.check_output(*args, **kwargs)
    assert "\n" not in str(caught.value)


def test_good_outputs_pass(tmp_path):
    for name in ("a.tif", "a.tiff", "a.ome.tif", "a.zarr", "a.ome.zarr", "A.TIF"):
        io.check_output(tmp_path / name, None, overwrite=False)
    io.check_output(tmp_path / "a.zarr", tmp_path / "b.zarr", overwrite=False, resume=True)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a.png", "a.mrc", "a", "a.npy", "a.zarr.zip"])
def test_unknown_suffix(tmp_path, name):
    refused(r"cannot write .*suffix .*needs \.tif or \.tiff or \.zarr", tmp_path / name, None, overwrite=True)


def test_existing_output(tmp_path):
    for name in ("a.tif", "a.zarr"):
        io.write(Volume.of(DATA), tmp_path / name)
        refused("exists", tmp_path / name, None, overwrite=False)
        io.check_output(tmp_path / name, None, overwrite=True)
        with pytest.raises(InputError, match="exists"):
            io.write(Volume.of(DATA + 1), tmp_path / name)
        np.testing.assert_array_equal(io.read(tmp_path / name).read(slice(None)), DATA)
        io.write(Volume.of(DATA + 1), tmp_path / name, overwrite=True)
        np.testing.assert_array_equal(io.read(tmp_path / name).read(slice(None)), DATA + 1)


def test_output_is_input(tmp_path):
    for name in ("a.tif", "a.zarr"):
        io.write(Volume.of(DATA), tmp_path / name)
        volume = io.read(tmp_path / name)
        with pytest.raises(InputError, match="same file"):
            io.write(volume, tmp_path / name, overwrite=True)
        link = tmp_path / f"link-{name}"
        link.symlink_to(tmp_path / name)
        refused("same file", link, tmp_path / name, overwrite=True)
    os.link(tmp_path / "a.tif", tmp_path / "hard.tif")
    refused("same file", tmp_path / "hard.tif", tmp_path / "a.tif", overwrite=True)


def test_output_inside_or_around_input(tmp_path):
    (tmp_path / "stack").mkdir()
    Image.fromarray(DATA[0]).save(tmp_path / "stack" / "0.png")
    refused("overlap", tmp_path / "stack" / "out.tif", tmp_path / "stack", overwrite=False)
    io.write(Volume.of(DATA), tmp_path / "a.zarr")
    refused("overlap", tmp_path / "a.zarr", tmp_path / "a.zarr" / "0", overwrite=True)


def test_folders(tmp_path):
    refused("does not exist", tmp_path / "absent" / "a.tif", None, overwrite=False)
    (tmp_path / "precious.zarr").mkdir()
    (tmp_path / "precious.zarr" / "thesis.txt").write_text("years of work")
    refused("holds other things", tmp_path / "precious.zarr", None, overwrite=True)
    (tmp_path / "folder.tif").mkdir()
    refused("is a folder", tmp_path / "folder.tif", None, overwrite=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder(tmp_path):
    tmp_path.chmod(0o500)
    refused("not writable", tmp_path / "a.tif", None, overwrite=False)
    tmp_path.chmod(0o700)


def test_read_only_folder_as_the_system_says_it(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    refused("not writable", tmp_path / "a.tif", None, overwrite=False)


def test_only_zarr_resumes(tmp_path):
    refused(r"only \.zarr", tmp_path / "a.tif", None, overwrite=False, resume=True)


@pytest.mark.parametrize("name", ["a.tif", "a.zarr"])
def test_two_jobs_for_one_output(tmp_path, name):
    out = tmp_path / name
    with working(out):
        with pytest.raises(InputError, match="being written by another job"):
            io.write(Volume.of(DATA), out)
        assert work_folder(out).is_dir()
    io.write(Volume.of(DATA), out)


@pytest.mark.parametrize("suffix", ["tif", "zarr"])
def test_many_jobs_at_once_for_one_output(tmp_path, suffix):
    """One of them wins; the others are told; the file is one job's."""
    out, told = tmp_path / f"a.{suffix}", []

    def job(value):
        try:
            io.write(Volume.of(np.full((20, 64, 64), value, "u1")), out)
        except InputError as error:
            told.append(str(error))

    threads = [threading.Thread(target=job, args=(i,)) for i in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(told) == 5
    assert all("another job" in line or "exists" in line for line in told)
    assert len(np.unique(io.read(out).read(slice(None)))) == 1
    assert [p.name for p in tmp_path.iterdir()] == [out.name]


def test_import_is_light():
    """Reading and writing load zarr and dask only when a file needs them."""
    import subprocess
    import sys

    heavy = ("zarr", "dask", "mrcfile", "PIL", "napari", "torch")
    code = f"import sys, napari_emsynth.io; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_input_is_never_modified(tmp_path):
    tifffile.imwrite(tmp_path / "in.tif", DATA, photometric="minisblack")
    before = (tmp_path / "in.tif").read_bytes()
    io.write(io.read(tmp_path / "in.tif"), tmp_path / "out.zarr")
    io.write(io.read(tmp_path / "in.tif"), tmp_path / "out.tif")
    assert (tmp_path / "in.tif").read_bytes() == before
