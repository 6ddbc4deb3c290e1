"""Lazy results are written block by block: nothing twice, little at a time, and a stop loses little."""

import errno
import os
import shutil
import subprocess
import sys
import textwrap
import tracemalloc
from collections import Counter
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import tifffile
import zarr

from napari_emsynth import io
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.io.atomic import work_folder
from napari_emsynth.io.content import Content, blocks, slabs
from napari_emsynth.io.zarr.write import block_shape, chunk_shape
from napari_emsynth.spec import CancelToken, Result
from napari_emsynth.volume import Volume

SHAPE = (40, 64, 48)
NAMES = ("out.ome.tif", "out.ome.zarr")


def section(z, shape=SHAPE):
    return np.random.default_rng(z).integers(0, 255, shape[1:]).astype("u1")


def counted(calls, shape=SHAPE, fail_at=None):
    """A result whose three arrays come from one computation a section; ``calls`` counts them."""

    def compute(block_info=None):
        z = block_info[None]["array-location"][0][0]
        if z == fail_at:
            raise RuntimeError("the method failed")
        calls[z] += 1
        image = section(z, shape).astype("f4")
        return np.stack([image, image > 128, image / 7])[None]

    chunks = ((1,) * shape[0], (3,), (shape[1],), (shape[2],))
    made = da.map_blocks(compute, chunks=chunks, dtype="f4", meta=np.empty((0, 0, 0, 0), "f4"))
    return Result(
        volume=Volume.of(made[:, 0].astype("u1"), voxel_nm=(40, 4, 4)),
        synthetic=Volume.of(made[:, 1].astype("u1")),
        uncertainty=Volume.of(made[:, 2]),
        provenance={"method": "test", "created": str(id(calls))},
    )


def check(path, shape=SHAPE):
    truth = np.stack([section(z, shape) for z in range(shape[0])])
    np.testing.assert_array_equal(io.read(path).read(slice(None)), truth)
    np.testing.assert_array_equal(io.read_synthetic(path).read(slice(None)), truth > 128)
    np.testing.assert_array_equal(io.read_uncertainty(path).read(slice(None)), (truth.astype("f4") / 7).astype("f4"))


def alone(path):
    return [p.name for p in path.parent.iterdir()] == [path.name]


class StopAt:
    """A progress that acts after so many blocks."""

    def __init__(self, count, act):
        self.left, self.act, self.seen = count, act, []

    def __call__(self, done, total, message):
        self.seen.append((done, total))
        self.left -= 1
        if self.left == 0:
            self.act()


# -------------------------------------------------------------------------- work and memory


@pytest.mark.parametrize("name", NAMES)
def test_shared_work_is_done_once(tmp_path, name):
    calls = Counter()
    progress = StopAt(0, None)
    io.write(counted(calls), tmp_path / name, progress=progress)
    assert calls == Counter(range(SHAPE[0]))
    check(tmp_path / name)
    done, totals = zip(*progress.seen, strict=True)
    assert list(done) == sorted(done)
    assert done[-1] == totals[-1]


@pytest.mark.parametrize("name", NAMES)
def test_memory_stays_flat(tmp_path, name):
    """A tenth of the sections is held at once, with what computes them: well under half of the whole."""
    shape = (160, 192, 192)
    io.write(counted(Counter()), tmp_path / f"first-{name}")  # what is imported then is not counted
    made = counted(Counter(), shape)
    tracemalloc.start()
    try:
        io.write(made, tmp_path / name)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 160 * 192 * 192 * 6 / 2, f"{peak / 2**20:.0f} MiB"


def test_large_sections_make_shallow_chunks():
    huge = da.zeros((100, 20000, 20000), chunks=(1, 20000, 20000), dtype="u1")
    content = Content.of(Result(volume=Volume.of(huge), synthetic=Volume.of(huge), provenance={}))
    chunk = chunk_shape(content)
    assert chunk == (1, 256, 256)
    # Whole sections are computed at once, rounded up to whole chunks.
    assert block_shape(content, chunk)[0] == 1
    assert len(blocks(huge.shape, block_shape(content, chunk))) == 100
    assert list(slabs(content)) == [slice(z, z + 1) for z in range(100)]


@pytest.mark.parametrize(
    "chunks", [(1, 500, 700), (8, 512, 512), (64, 64, 64), (16, 250, 700), ((5, 3, 1, 31), 500, 700), (7, 128, 128)]
)
def test_no_source_chunk_is_shared_by_two_blocks_of_y_x(chunks):
    data = da.zeros((40, 500, 700), chunks=chunks, dtype="u1")
    content = Content.of(Volume.of(data))
    edge = block_shape(content, chunk_shape(content))
    for axis in (1, 2):
        cuts = {0, *np.cumsum(data.chunks[axis]).tolist()}
        assert all(start in cuts for start in range(0, data.shape[axis], edge[axis]))
        assert edge[axis] % chunk_shape(content)[axis] == 0 or edge[axis] >= data.shape[axis]


def test_slabs_follow_the_source_within_the_budget():
    data = da.zeros((40, 10, 10), chunks=((5, 3, 1, 31), 10, 10), dtype="u1")
    content = Content.of(Volume.of(data))
    assert [(s.start, s.stop) for s in slabs(content)] == [(0, 5), (5, 8), (8, 9), (9, 40)]
    assert [s.stop - s.start for s in slabs(content, 1000)] == [5, 3, 1, 10, 10, 10, 1]
    assert len(list(slabs(Content.of(Volume.of(np.zeros((4, 5, 6)))), 1))) == 4


# --------------------------------------------------------------------------- cancel and fail


@pytest.mark.parametrize("count", [1, 2])
def test_cancelled_tiff_leaves_nothing(tmp_path, count):
    token = CancelToken()
    with pytest.raises(Cancelled):
        io.write(counted(Counter()), tmp_path / "out.tif", cancel=token, progress=StopAt(count, token.cancel))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", NAMES)
def test_cancelled_before_it_began_leaves_nothing(tmp_path, name):
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        io.write(counted(Counter()), tmp_path / name, cancel=token)
    assert not list(tmp_path.iterdir())


def test_cancelled_zarr_resumes_without_computing_twice(tmp_path):
    out, calls, token = tmp_path / "out.zarr", Counter(), CancelToken()
    with pytest.raises(Cancelled):
        io.write(counted(calls), out, cancel=token, progress=StopAt(2, token.cancel))
    assert calls == Counter(range(32))
    assert not out.exists()
    io.write(counted(calls), out, resume=True)
    assert calls == Counter(range(SHAPE[0]))
    check(out)
    assert alone(out)


def test_failed_zarr_resumes_and_failed_tiff_leaves_nothing(tmp_path):
    calls = Counter()
    for name in NAMES:
        with pytest.raises(RuntimeError, match="the method failed"):
            io.write(counted(calls, fail_at=35), tmp_path / name)
        assert not (tmp_path / name).exists()
    assert [p.name for p in tmp_path.iterdir()] == [".out.ome.zarr.emsynth-part"]
    calls.clear()
    io.write(counted(calls), tmp_path / "out.ome.zarr", resume=True)
    assert calls == Counter(range(32, 40))


def test_cancelled_zarr_is_cleaned_by_a_fresh_write(tmp_path):
    out, token = tmp_path / "out.zarr", CancelToken()
    with pytest.raises(Cancelled):
        io.write(counted(Counter()), out, cancel=token, progress=StopAt(2, token.cancel))
    calls = Counter()
    io.write(counted(calls), out)
    assert calls == Counter(range(SHAPE[0]))
    check(out)
    assert alone(out)


def test_another_jobs_journal_is_refused_and_kept(tmp_path):
    out, token = tmp_path / "out.zarr", CancelToken()
    with pytest.raises(Cancelled):
        io.write(counted(Counter()), out, cancel=token, progress=StopAt(2, token.cancel))
    other = counted(Counter())
    other.provenance["method"] = "another"
    with pytest.raises(InputError, match="belongs to another job") as caught:
        io.write(other, out, resume=True)
    assert "\n" not in str(caught.value)
    calls = Counter()
    io.write(counted(calls), out, resume=True)
    assert calls == Counter(range(32, 40))


def test_resume_with_nothing_to_resume_starts(tmp_path):
    io.write(counted(Counter()), tmp_path / "out.zarr", resume=True)
    check(tmp_path / "out.zarr")
    with pytest.raises(InputError, match="exists"):
        io.write(counted(Counter()), tmp_path / "out.zarr", resume=True)


def test_a_torn_last_line_is_a_block_to_do_again(tmp_path):
    out, token = tmp_path / "out.zarr", CancelToken()
    with pytest.raises(Cancelled):
        io.write(counted(Counter()), out, cancel=token, progress=StopAt(2, token.cancel))
    journal = work_folder(out) / "journal"
    journal.write_text(journal.read_text()[:-1])
    calls = Counter()
    io.write(counted(calls), out, resume=True)
    assert calls == Counter(range(16, 40))
    check(out)


# ------------------------------------------------------------------------------------ kill -9

JOB = """
    import os, signal, sys
    from collections import Counter
    from pathlib import Path
    sys.path.insert(0, {tests!r})
    from test_streaming import StopAt, counted
    from napari_emsynth import io
    kill = StopAt({after}, lambda: os.kill(os.getpid(), signal.SIGKILL))
    io.write(counted(Counter()), Path({out!r}), progress=kill, overwrite=True)
"""


def killed(out, after):
    """Write ``out`` in another process that kills itself after so many blocks."""
    code = textwrap.dedent(JOB.format(tests=str(Path(__file__).parent), after=after, out=str(out)))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr.decode()


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", NAMES)
def test_kill_leaves_no_output_and_its_rest_is_cleaned(tmp_path, name):
    out = tmp_path / name
    killed(out, 2)
    assert not out.exists()
    assert [p.name for p in tmp_path.iterdir()] == [work_folder(out).name]
    io.write(counted(Counter()), out)
    check(out)
    assert alone(out)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_killed_zarr_resumes_without_computing_twice(tmp_path):
    out, calls = tmp_path / "out.ome.zarr", Counter()
    killed(out, 2)
    io.write(counted(calls), out, resume=True)
    assert calls == Counter(range(32, 40))
    check(out)
    assert alone(out)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
@pytest.mark.parametrize("name", NAMES)
def test_kill_while_overwriting_keeps_the_old(tmp_path, name):
    out = tmp_path / name
    old = np.full((3, 4, 5), 7, "u1")
    io.write(Volume.of(old), out)
    killed(out, 2)
    np.testing.assert_array_equal(io.read(out).read(slice(None)), old)
    io.write(counted(Counter()), out, overwrite=True)
    check(out)
    assert alone(out)


def test_killed_between_the_two_renames(tmp_path):
    """The next job finishes the swap, since the new one was complete, and then minds what is there."""
    out = tmp_path / "out.zarr"
    work = work_folder(out)
    work.mkdir()
    io.write(Volume.of(np.zeros((1, 2, 3), "u1")), tmp_path / "old.zarr")
    io.write(counted(Counter()), tmp_path / "new.zarr")
    (tmp_path / "old.zarr").rename(work / "old")
    (tmp_path / "new.zarr").rename(work / "data")
    with pytest.raises(InputError, match="exists"):
        io.write(Volume.of(np.ones((1, 2, 3), "u1")), out)
    check(out)
    assert alone(out)


# ------------------------------------------------------------------------------------ full disk


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disk_is_one_line_and_leaves_nothing(tmp_path, name, code, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(zarr.Array, "__setitem__", full)
    monkeypatch.setattr(tifffile.FileHandle, "write", full)
    with pytest.raises(InputError, match=rf"disk full: .*{name} was not written; \d+ MB free") as caught:
        io.write(counted(Counter()), tmp_path / name)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_gets_full_keeps_what_is_finished(tmp_path, code, monkeypatch):
    """Some space is made, and the job goes on where it was."""
    out, put, left = tmp_path / "out.zarr", zarr.Array.__setitem__, [3]

    def full(self, *args):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(code, os.strerror(code))
        put(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(zarr.Array, "__setitem__", full)
        with pytest.raises(
            InputError, match=r"disk full: .* \d+ of \d+ blocks of .*finished and kept; --resume goes on"
        ):
            io.write(counted(Counter()), out)
    assert not out.exists()
    counts = Counter()
    io.write(counted(counts), out, resume=True)
    whole = Counter()
    io.write(counted(whole), tmp_path / "whole.zarr")
    assert 0 < sum(counts.values()) < sum(whole.values())
    assert np.array_equal(io.read(out).read(slice(None)), io.read(tmp_path / "whole.zarr").read(slice(None)))


@pytest.mark.skipif(sys.platform == "win32", reason="there are no file size limits")
@pytest.mark.parametrize("name", NAMES)
def test_a_real_write_that_fails(tmp_path, name):
    """Files above 20 kB are refused by the system, in the middle of the volume; what was there stays."""
    import resource

    out = tmp_path / name
    io.write(Volume.of(np.zeros((1, 2, 3), "u1")), out)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        with pytest.raises(InputError, match="disk full"):
            io.write(counted(Counter()), out, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert io.read(out).shape == (1, 2, 3)
    assert alone(out) or out.suffix == ".zarr"  # finished blocks wait


def test_tiff_that_cannot_fit_is_refused_before_work(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(1e6, 9e5, 1e5))
    calls = Counter()
    with pytest.raises(InputError, match=r"disk full: .*0\.123 MB.*0\.1 MB free"):
        io.write(counted(calls), tmp_path / "out.tif")
    assert not calls
    assert not list(tmp_path.iterdir())


def test_a_stack_of_many_chunks_has_few_files(tmp_path, monkeypatch):
    """Sixteen chunks a file, each written once and by whole blocks; what is read is the same."""
    from napari_emsynth.io.zarr import parts, write as writing

    data = np.random.default_rng(0).integers(0, 255, (40, 600, 300), dtype="u1")
    made = (data > 250).astype("u1")
    content = Result(
        volume=Volume.of(da.from_array(data, chunks=(1, 600, 300)), voxel_nm=(8, 8, 8)),
        synthetic=Volume.of(da.from_array(made, chunks=(1, 600, 300))),
        provenance={},
    )
    io.write(content, tmp_path / "plain.zarr")
    monkeypatch.setattr(parts, "MOST_FILES", 4)
    monkeypatch.setattr(writing, "CHUNK", (8, 64, 64))
    written = []
    set_block = zarr.Array.__setitem__
    monkeypatch.setattr(
        zarr.Array, "__setitem__", lambda self, key, value: written.append((self, key)) or set_block(self, key, value)
    )
    io.write(content, tmp_path / "many.zarr")
    for array, key in written:
        for cut, edge, length in zip(key, array.shards or array.chunks, array.shape, strict=True):
            assert cut.start % edge == 0
            assert cut.stop % edge == 0 or cut.stop == length
    root, plain = (zarr.open_group(str(tmp_path / name), mode="r") for name in ("many.zarr", "plain.zarr"))
    assert root["0"].shards == (8, 256, 256)
    for name in ("0", "1", "labels/synthetic/0", "labels/synthetic/1"):
        assert np.array_equal(root[name][:], plain[name][:]), name
    files = [p for p in (tmp_path / "many.zarr" / "0").rglob("*") if p.is_file()]
    assert len(files) == 5 * 3 * 2 + 1
    assert np.array_equal(io.read(tmp_path / "many.zarr").read(slice(3, 9), slice(5, 500)), data[3:9, 5:500])
