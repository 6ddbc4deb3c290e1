"""Only the very same job is gone on with, and only with blocks that are on the disk as they were computed."""

import os
from collections import Counter
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image

from napari_emsynth import io
from napari_emsynth.distributed import on_cluster
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io.atomic import work_folder
from napari_emsynth.io.inputs import Inputs, identity
from napari_emsynth.methods.align.stack.carry import through
from napari_emsynth.spec import CancelToken, Result
from napari_emsynth.volume import Volume

SHAPE = (48, 40, 32)
DATA = np.random.default_rng(0).integers(1, 255, SHAPE).astype("u1")


def made(calls, source=None, data=DATA, fail_at=None, **record):
    """A result of two parts whose sections are counted as they are computed, made from a file."""

    def compute(block_info=None):
        z = block_info[None]["array-location"][0][0]
        if z == fail_at:
            raise FileNotFoundError(2, "No such file", "the input")
        calls[z] += 1
        return np.stack([data[z], data[z] > 128])[None]

    both = da.map_blocks(
        compute, chunks=((1,) * SHAPE[0], (2,), *((n,) for n in SHAPE[1:])), dtype="u1", meta=np.empty((0,) * 4, "u1")
    )
    metadata = {} if source is None else {"path": str(source)}
    volume = replace(Volume.of(both[:, 0]), metadata=metadata)
    return Result(volume=volume, synthetic=Volume.of(both[:, 1]), provenance={"method": "test", **record})


def stopped(out, result, after=2, **kwargs):
    """Cancel a job after so many blocks."""
    token, left = CancelToken(), [after]

    def progress(done, total, what):
        left[0] -= 1
        if left[0] == 0:
            token.cancel()

    with pytest.raises(Cancelled):
        io.write(result, out, cancel=token, progress=progress, **kwargs)


def check(out, data=DATA):
    np.testing.assert_array_equal(io.read(out).read(slice(None)), data)
    np.testing.assert_array_equal(io.read_synthetic(out).read(slice(None)), data > 128)
    assert not work_folder(out).exists()


# ------------------------------------------------------------------------- the very same job


def zarr_store(folder):
    io.write(Volume.of(DATA), folder / "in.zarr")
    return folder / "in.zarr"


def v2_store(folder):
    zarr.create_array(store=str(folder / "in.zarr"), data=DATA, chunks=(16, 40, 32), zarr_format=2)
    return folder / "in.zarr"


def images(folder):
    (folder / "in").mkdir()
    for z in range(4):
        Image.fromarray(DATA[z]).save(folder / "in" / f"{z}.png")
    return folder / "in"


def one_file(folder):
    tifffile.imwrite(folder / "in.tif", DATA)
    return folder / "in.tif"


def rewrite_chunk(path):
    """Same size, another time."""
    file = next(f for f in sorted(path.rglob("*")) if f.is_file() and f.suffix != ".json" and f.name[0] != ".")
    file.write_bytes(bytes(255 - b for b in file.read_bytes()))
    later(file)


def later(file):
    os.utime(file, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns + 1_000_000))


def remove_chunk(path):
    next(f for f in sorted(path.rglob("*"), reverse=True) if f.is_file() and f.suffix != ".json").unlink()


def add_file(path):
    (path / "99.png").write_bytes(b"1")


def touch_metadata(path):
    later(next(f for f in path.rglob("*") if f.name in ("zarr.json", ".zarray")))


CHANGES = [
    (zarr_store, rewrite_chunk), (zarr_store, remove_chunk), (zarr_store, touch_metadata), (v2_store, rewrite_chunk),
    (v2_store, touch_metadata), (images, rewrite_chunk), (images, remove_chunk), (images, add_file), (one_file, later),
]  # fmt: skip


@pytest.mark.parametrize(("store", "change"), CHANGES, ids=[f"{s.__name__}-{c.__name__}" for s, c in CHANGES])
def test_whatever_changes_in_an_input_makes_another_job(tmp_path, store, change):
    source, out = store(tmp_path), tmp_path / "out.zarr"
    stopped(out, made(Counter(), source))
    change(source)
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(Counter(), source), out, resume=True)
    calls = Counter()
    io.write(made(calls, source), out)
    assert calls == Counter(range(SHAPE[0])), "nothing old is in it"


@pytest.mark.parametrize("store", [zarr_store, v2_store, images, one_file])
def test_an_input_that_stayed_is_the_same_job(tmp_path, store):
    source, out, calls = store(tmp_path), tmp_path / "out.zarr", Counter()
    stopped(out, made(calls, source))
    io.write(made(calls, source), out, resume=True)
    assert calls == Counter(range(SHAPE[0]))
    check(out)


def test_hidden_files_are_no_input(tmp_path):
    source = images(tmp_path)
    before = identity(source)
    (source / ".DS_Store").write_text("looked at")
    assert identity(source) == before


def test_other_inputs_have_a_say(tmp_path):
    """Such as a mask, whose voxels no record holds."""
    mask, out = tmp_path / "mask.tif", tmp_path / "out.zarr"
    tifffile.imwrite(mask, DATA)
    stopped(out, made(Counter()), inputs=Inputs.of([mask]))
    later(mask)
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(Counter()), out, resume=True, inputs=Inputs.of([mask]))


@pytest.mark.parametrize("key", ["tile", "precision", "device", "version", "weights", "seed"])
def test_what_the_record_says_has_a_say(tmp_path, key):
    stopped(tmp_path / "out.zarr", made(Counter(), **{key: 1}))
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(Counter(), **{key: 2}), tmp_path / "out.zarr", resume=True)


def test_voxels_in_memory_have_a_say(tmp_path, monkeypatch):
    monkeypatch.setattr("napari_emsynth.io.zarr.write.BLOCK_BYTES", 1)
    stopped(tmp_path / "out.zarr", Volume.of(DATA), after=1)
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(Volume.of(255 - DATA), tmp_path / "out.zarr", resume=True)
    io.write(Volume.of(DATA), tmp_path / "out.zarr", resume=True)
    np.testing.assert_array_equal(io.read(tmp_path / "out.zarr").read(slice(None)), DATA)


def test_a_field_that_was_found_anew_has_a_say(tmp_path):
    """Two fields must not meet in one volume."""
    lazy = Volume.of(da.from_array(DATA, chunks=(16, 40, 32)))

    def moved(by):
        u = np.zeros((48, 2, 5, 4), "f4")
        u[40] = by
        return replace(through(lazy, Displacement(u, SHAPE, None)), provenance={"method": "test"})

    out = tmp_path / "out.zarr"
    stopped(out, moved(1))
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(moved(2), out, resume=True)
    io.write(moved(1), out, resume=True)
    np.testing.assert_array_equal(io.read(out).read(slice(None)), moved(1).volume.read(slice(None)))


class Here:
    """Stands for a cluster: computes at once."""

    def nthreads(self):
        return {"worker": 1}

    def compute(self, parts):
        return [Here.Done(part.compute(scheduler="synchronous")) for part in parts]

    class Done:
        def __init__(self, value):
            self.value = value

        def result(self):
            return self.value


@pytest.mark.parametrize("first", ["alone", "cluster"])
def test_who_computes_has_no_say(tmp_path, first):
    calls, out = Counter(), tmp_path / "out.zarr"

    def result(where):
        plain = made(calls, sections=[{"section": z} for z in range(48)])
        return plain if where == "alone" else on_cluster(plain, Here())

    second = {"alone": "cluster", "cluster": "alone"}[first]
    stopped(out, result(first))
    calls.clear()
    io.write(result(second), out, resume=True)
    assert calls.keys() == set(range(32, 48))
    check(out)


# ------------------------------------------------------------------------- damage in between


def journal_of(out):
    return work_folder(out) / "journal"


DAMAGE = {
    "garbage header": lambda lines: [b"\x93NUMPY garbage\n", *lines[1:]],
    "no JSON": lambda lines: [b"job\n", *lines[1:]],
    "no object": lambda lines: [b"[1, 2]\n", *lines[1:]],
    "no job": lambda lines: [b"{}\n", *lines[1:]],
    "job is no text": lambda lines: [b'{"job": 5}\n', *lines[1:]],
    "zeros": lambda lines: [lines[0], b"\0" * 64 + b"\n", *lines[2:]],
    "zeros at the end": lambda lines: [*lines, b"\0" * 4096],
    "not text": lambda lines: [lines[0], b"\xff\xfe\xfa\n", *lines[1:]],
    "another number": lambda lines: [lines[0], b"2" + lines[1][1:], *lines[2:]],
    "a number alone": lambda lines: [*lines, b"2\n"],
    "a huge number": lambda lines: [*lines, b"9" * 5000 + b" a b\n"],
    "a line twice": lambda lines: [*lines, lines[-1]],
    "a torn line": lambda lines: [*lines[:-1], lines[-1][:-5]],
    "only a header": lambda lines: lines[:1],
    "nothing": lambda lines: [],
    "all zeros": lambda lines: [b"\0" * 300],
    "a torn header": lambda lines: [lines[0][:20]],
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_journal_costs_work_and_nothing_else(tmp_path, damage):
    out, calls, told = tmp_path / "out.zarr", Counter(), []
    stopped(out, made(Counter()))
    lines = journal_of(out).read_bytes().splitlines(keepends=True)
    assert len(lines) == 3
    journal_of(out).write_bytes(b"".join(DAMAGE[damage](lines)))
    io.write(made(calls), out, resume=True, note=told.append)
    check(out)
    assert calls.keys() >= set(range(32, 48))
    assert set(calls.values()) == {1}
    assert len(told) <= 1
    # What was being written when a job dies is no damage.
    torn = ("a torn line", "a torn header", "zeros at the end", "all zeros", "only a header", "nothing", "a line twice")
    assert bool(told) == (damage not in torn)


@pytest.mark.parametrize("damage", ["garbage header", "not text", "a line twice", "a number alone"])
def test_what_of_a_damaged_journal_can_be_trusted_is_used(tmp_path, damage):
    out, calls = tmp_path / "out.zarr", Counter()
    stopped(out, made(Counter()))
    lines = journal_of(out).read_bytes().splitlines(keepends=True)
    journal_of(out).write_bytes(b"".join(DAMAGE[damage](lines)))
    io.write(made(calls), out, resume=True)
    assert calls == Counter(range(32, 48))


def test_a_job_stopped_again_after_a_torn_line_goes_on(tmp_path):
    """What is appended must not melt into the torn line."""
    out, calls = tmp_path / "out.zarr", Counter()
    stopped(out, made(calls), after=1)
    journal_of(out).write_bytes(journal_of(out).read_bytes() + b"1")
    stopped(out, made(calls), after=2, resume=True)
    io.write(made(calls), out, resume=True)
    assert calls == Counter(range(48))
    check(out)


def chunk_of(out, z, part="0"):
    return work_folder(out) / "data" / part / "c" / str(z) / "0" / "0"


SPOIL = {
    "emptied": lambda file: file.write_bytes(b""),
    "cut": lambda file: file.write_bytes(file.read_bytes()[:-7]),
    "deleted": lambda file: file.unlink(),
    "zeros": lambda file: file.write_bytes(b"\0" * file.stat().st_size),
    "one bit": lambda file: file.write_bytes(file.read_bytes()[:-9] + b"!" + file.read_bytes()[-8:]),
}


@pytest.mark.parametrize("spoil", SPOIL)
@pytest.mark.parametrize("part", ["0", "labels/synthetic/0"])
def test_a_finished_chunk_that_is_damaged_is_computed_again(tmp_path, spoil, part):
    out, calls, told = tmp_path / "out.zarr", Counter(), []
    stopped(out, made(Counter()))
    SPOIL[spoil](chunk_of(out, 1, part))
    io.write(made(calls), out, resume=True, note=told.append)
    check(out)
    assert calls == Counter(range(16, 48)), "block 0 is whole"
    assert len(told) == 1


def test_a_journal_that_claims_more_than_there_is(tmp_path):
    out, calls = tmp_path / "out.zarr", Counter()
    stopped(out, made(Counter()))
    for z in (0, 1):
        chunk_of(out, z).unlink()
        chunk_of(out, z, "labels/synthetic/0").unlink()
    io.write(made(calls), out, resume=True)
    assert calls == Counter(range(48))
    check(out)


@pytest.mark.parametrize("name", ["zarr.json", "0/zarr.json", "labels/zarr.json", "labels/synthetic/0/zarr.json"])
@pytest.mark.parametrize("spoil", ["emptied", "cut", "deleted", "zeros"])
def test_damaged_metadata_begins_anew(tmp_path, name, spoil):
    out, told = tmp_path / "out.zarr", []
    stopped(out, made(Counter()))
    SPOIL[spoil](work_folder(out) / "data" / name)
    io.write(made(Counter()), out, resume=True, note=told.append)
    check(out)
    assert len(told) <= 1


# ------------------------------------------------------------------- inputs that do not stay


def test_an_input_that_vanishes_is_one_line_and_what_is_finished_stays(tmp_path):
    source, out, calls = zarr_store(tmp_path), tmp_path / "out.zarr", Counter()

    def vanish(done, total, what):
        if done == 2:
            source.rename(tmp_path / "away.zarr")

    with pytest.raises(InputError, match=r"in\.zarr has vanished .*2 of 3 blocks .*--resume") as caught:
        io.write(made(calls, source), out, progress=vanish)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    (tmp_path / "away.zarr").rename(source)
    calls.clear()
    io.write(made(calls, source), out, resume=True)
    assert calls == Counter(range(32, 48))
    check(out)


def test_an_input_that_cannot_be_read_keeps_what_is_finished(tmp_path):
    out = tmp_path / "out.zarr"
    with pytest.raises(InputError, match="a block cannot be read or computed: the input: No such file; 2 of 3 blocks"):
        io.write(made(Counter(), fail_at=40), out)
    calls = Counter()
    io.write(made(calls), out, resume=True)
    assert calls == Counter(range(32, 48))


@pytest.mark.parametrize("name", ["out.zarr", "out.tif"])
def test_an_input_that_changes_while_it_is_read_makes_no_result(tmp_path, name):
    source, out = zarr_store(tmp_path), tmp_path / name

    def change(done, total, what):
        if done == total:
            rewrite_chunk(source)

    with pytest.raises(InputError, match=r"in\.zarr was changed while it was read"):
        io.write(made(Counter(), source), out, progress=change)
    assert [p.name for p in tmp_path.iterdir()] == ["in.zarr"]


@pytest.mark.parametrize("name", ["out.zarr", "out.tif"])
def test_an_input_that_vanishes_leaves_no_half_file(tmp_path, name):
    source, out = zarr_store(tmp_path), tmp_path / name

    def vanish(done, total, what):
        if source.exists():
            source.rename(tmp_path / "away.zarr")

    with pytest.raises(InputError, match="has vanished"):
        io.write(made(Counter(), source), out, progress=vanish)
    assert not out.exists()
    assert work_folder(out).exists() == (name == "out.zarr"), "a TIFF cannot be gone on with"
