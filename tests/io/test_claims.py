"""A job holds its outputs from before it computes; links stay links; names fit; locks are no condition."""

import errno
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

from napari_emsynth import io
from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.atomic import claiming, lock, undisturbed, work, work_folder, working
from napari_emsynth.io.fields import read_field, write_field
from napari_emsynth.volume import Volume

DATA = np.arange(60, dtype="u1").reshape(3, 4, 5)
FIELD = Displacement(np.ones((3, 2, 4, 5), "f4"), DATA.shape, None)
VOLUMES = ("a.tif", "a.zarr")
FIELDS = ("a.npy", "a.field.zarr")


def written(path, value=DATA, **kwargs):
    if path.name in FIELDS or path.suffix == ".npy":
        return write_field(FIELD, path, **kwargs)
    return io.write(Volume.of(value), path, **kwargs)


def shows(path, value=DATA):
    if path.name in FIELDS or path.suffix == ".npy":
        return read_field(path).shape == FIELD.shape
    return np.array_equal(io.read(path).read(slice(None)), value)


# ------------------------------------------------------------------------------------- held


@pytest.mark.parametrize("name", [*VOLUMES, *FIELDS])
def test_what_is_held_is_written_by_its_holder_alone(tmp_path, name):
    out = tmp_path / name
    with claiming([out]) as claims:
        with pytest.raises(InputError, match="being written by another job"):
            written(out)
        with pytest.raises(InputError, match="being written by another job"), claiming([out]):
            pass
        written(out, claims=claims)
        assert shows(out)
    assert [p.name for p in tmp_path.iterdir()] == [name]


def test_all_or_none_is_held(tmp_path):
    out, other = tmp_path / "a.zarr", tmp_path / "b.zarr"
    with working(other):
        with pytest.raises(InputError, match=r"b\.zarr is being written"), claiming([out, other]):
            pass
        assert not work_folder(out).exists()


def test_nothing_is_left_of_a_job_that_fails_before_it_writes(tmp_path):
    with pytest.raises(RuntimeError), claiming([tmp_path / "a.zarr", tmp_path / "b.tif", tmp_path / "a.zarr"]):
        raise RuntimeError
    assert not list(tmp_path.iterdir())


def test_the_check_is_asked_again_once_nobody_else_can_write(tmp_path):
    out, asked = tmp_path / "a.zarr", []

    def check():
        asked.append(work_folder(out).exists())

    with claiming([out], check):
        pass
    assert asked == [False, True]


def test_a_folder_that_is_let_go_never_takes_another_jobs_along(tmp_path, monkeypatch):
    """Another job comes at every moment of letting go; it is refused, or has a folder of its own."""
    out, seen = tmp_path / "a.zarr", []

    def meanwhile(*args):
        try:
            with working(out) as other:
                seen.append(other.folder.exists())
        except InputError:
            seen.append(None)

    class Meddled(type(out)):
        def unlink(self, *args, **kwargs):
            meanwhile()
            super().unlink(*args, **kwargs)
            meanwhile()

        def rmdir(self):
            meanwhile()
            super().rmdir()
            meanwhile()

    with working(out) as mine:
        monkeypatch.setattr(mine, "folder", Meddled(mine.folder))
    assert False not in seen
    assert True in seen
    assert not work_folder(out).exists()


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
@pytest.mark.parametrize("code", sorted({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS}))
@pytest.mark.parametrize("name", [*VOLUMES, *FIELDS])
def test_where_there_are_no_locks_that_is_said_and_no_obstacle(tmp_path, monkeypatch, code, name):
    def flock(*args):
        raise OSError(code, os.strerror(code))

    told = []
    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with claiming([tmp_path / name], note=told.append) as claims:
        written(tmp_path / name, claims=claims)
    assert shows(tmp_path / name)
    assert len(told) == 1
    assert "no file locks" in told[0]
    assert [p.name for p in tmp_path.iterdir()] == [name]


@pytest.mark.skipif(sys.platform == "win32", reason="flock")
def test_another_refusal_of_the_lock_is_one_line_and_leaves_nothing(tmp_path, monkeypatch):
    def flock(*args):
        raise OSError(errno.EIO, "input/output error")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with pytest.raises(InputError, match=r"cannot write .* input/output error"):
        written(tmp_path / "a.zarr")
    assert not (tmp_path / "a.zarr").exists()


# ------------------------------------------------------------------------------------- links


@pytest.mark.parametrize("name", [*VOLUMES, *FIELDS])
@pytest.mark.parametrize("kind", ["absolute", "relative", "to a link", "to nothing"])
def test_overwriting_through_a_link_replaces_what_it_points_to(tmp_path, name, kind):
    (tmp_path / "there").mkdir()
    target, link = tmp_path / "there" / name, tmp_path / name
    if kind != "to nothing":
        written(target)
    if kind == "to a link":
        (tmp_path / "there" / f"link-{name}").symlink_to(name)
        link.symlink_to(tmp_path / "there" / f"link-{name}")
    else:
        link.symlink_to(target if kind != "relative" else Path("there", name))
    before = link.readlink()
    with pytest.raises(InputError, match="exists"):
        written(link)
    written(link, DATA + 1, overwrite=True)
    assert link.is_symlink()
    assert link.readlink() == before
    assert shows(link, DATA + 1)
    assert shows(target, DATA + 1)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([name, "there"])
    assert {p.name for p in (tmp_path / "there").iterdir()} <= {name, f"link-{name}"}


def test_two_names_of_one_output_are_one_output(tmp_path):
    (tmp_path / "link.zarr").symlink_to(tmp_path / "a.zarr")
    with working(tmp_path / "a.zarr"), pytest.raises(InputError, match="being written by another job"):
        written(tmp_path / "link.zarr", overwrite=True)


def test_a_link_to_itself_is_one_line(tmp_path):
    (tmp_path / "a.zarr").symlink_to(tmp_path / "a.zarr")
    with pytest.raises(InputError) as caught:
        written(tmp_path / "a.zarr", overwrite=True)
    assert "\n" not in str(caught.value)


# ------------------------------------------------------------------------------------- names


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".npy"])
@pytest.mark.parametrize("letter", ["x", "µ"])
def test_a_name_that_just_fits_is_written(tmp_path, suffix, letter):
    """The work folder's name would be longer, and is shortened."""
    room = 255 - len(suffix)
    for length in (room // len(letter.encode()), (room - 12) // len(letter.encode())):
        out = tmp_path / (letter * length + suffix)
        written(out)
        assert shows(out)
        assert [p.name for p in tmp_path.iterdir()] == [out.name]
        assert work_folder(out) != work_folder(tmp_path / ("y" * length + suffix))
        written(out, overwrite=True)
        work.remove(out)


@pytest.mark.parametrize("suffix", [".tif", ".zarr", ".npy"])
def test_a_name_that_does_not_fit_is_refused_before_work(tmp_path, suffix):
    out = tmp_path / ("x" * (256 - len(suffix)) + suffix)
    for write in (written, lambda path: io.check_output(path, tmp_path, overwrite=True)):
        if suffix == ".npy" and write is not written:
            continue
        with pytest.raises(InputError, match="256 bytes, the file system's limit is 255 bytes") as caught:
            write(out)
        assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------- undisturbed


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_signal_waits_until_the_block_is_done():
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # tests in the background ignore it

    def work_on():
        with undisturbed():
            os.kill(os.getpid(), signal.SIGINT)
            with undisturbed():
                done.append("inside")
            done.append("after")
        done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work_on()
    assert done == ["inside", "after"]
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
