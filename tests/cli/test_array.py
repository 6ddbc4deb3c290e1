"""``--array`` and ``--sbatch``: parts of one job, in any order, killed or not, make what one process makes."""

import os
import re
import shlex
import subprocess
import sys

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.io.atomic import work_folder
from napari_emsynth.io.content import stable
from napari_emsynth.io.zarr.write import share

SECTIONS = "5,20,35,50,65,80"
JOB = ("--sections", SECTIONS, "--method", "linear")


@pytest.fixture(scope="module")
def whole(tall, tmp_path_factory):
    result = es.interpolate(es.read(tall), SECTIONS, method="linear")
    return es.write(result, tmp_path_factory.mktemp("whole") / "out.zarr")


def assert_same(a, b):
    one, other = es.read(a), es.read(b)
    assert np.array_equal(one.read(slice(None)), other.read(slice(None)))
    for name, marks in one.known.marks.items():
        assert np.array_equal(marks[:], other.known.marks[name][:]), name
    assert stable(one.record) == stable(other.record)


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 1, 0, 2)])
def test_parts_in_any_order(tall, whole, tmp_path, emsynth, order):
    out = tmp_path / "out.zarr"
    for done, number in enumerate(order, start=1):
        answer = emsynth("interpolate", tall, out, *JOB, "--array", f"{number}/4", "--json")
        assert answer.code == 0, answer.err
        assert out.exists() == (done == 4)
        told = f"part {number} of 4 is written" in answer.err
        assert told == (done < 4)
    assert_same(out, whole)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_a_part_that_is_run_again_does_nothing_twice(tall, whole, tmp_path, emsynth, monkeypatch):
    from napari_emsynth.io.content import Content

    out, read, blocks = tmp_path / "out.zarr", Content.read, []
    monkeypatch.setattr(Content, "read", lambda self, block: blocks.append(block) or read(self, block))
    for _ in range(2):
        assert emsynth("interpolate", tall, out, *JOB, "--array", "1/3").code == 0
    assert len(blocks) == 2
    assert emsynth("interpolate", tall, out, *JOB, "--resume").code == 0  # what is left, in one go
    assert len(blocks) == 6
    assert_same(out, whole)


def test_several_at_once(tall, whole, tmp_path):
    out = tmp_path / "out.zarr"
    command = [sys.executable, "-m", "napari_emsynth.cli", "interpolate", str(tall), str(out), *JOB]
    running = [
        subprocess.Popen([*command, "--array", f"{n}/3"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        for n in range(3)
    ]
    said = [process.communicate(timeout=250)[1] for process in running]
    assert [process.returncode for process in running] == [0, 0, 0], said
    assert_same(out, whole)
    assert [p.name for p in tmp_path.iterdir()] == ["out.zarr"]


def test_another_job_is_kept_out(tall, tmp_path, emsynth, refused):
    out = tmp_path / "out.zarr"
    assert emsynth("interpolate", tall, out, *JOB, "--array", "0/3").code == 0
    said = emsynth("interpolate", tall, out, "--sections", "7", "--method", "linear", "--array", "1/3")
    assert said.code == 2
    assert "belongs to another job" in said.err
    assert work_folder(out).exists()


@pytest.mark.parametrize(
    ("flags", "out", "said"),
    [
        (("--array", "3/3"), "out.zarr", "part 3 is outside 0 to 2"),
        (("--array", "3"), "out.zarr", "--array 3 is not N/M"),
        (("--array", "0/2"), "out.tif", "only a .zarr volume is"),
        (("--array", "0/2", "--patch"), "out.patch.zarr", "only a .zarr volume is"),
        (("--sbatch", "job.sh"), "out.zarr", "--sbatch needs --array M, the number of tasks from 1 to 10000"),
        (("--sbatch", "job.sh", "--array", "0/4"), "out.zarr", r"(got 0/4)"),
    ],
)
def test_parts_that_cannot_be(tall, tmp_path, refused, flags, out, said):
    assert said in refused("interpolate", tall, tmp_path / out, *JOB, *flags)


def test_a_job_array_runs_the_command(tall, whole, tmp_path, emsynth, monkeypatch):
    """The script itself, task by task, as SLURM would run it."""
    monkeypatch.chdir(tmp_path)
    answer = emsynth("interpolate", tall, "out it's.zarr", *JOB, "--sbatch", "job.sh", "--array", "3")
    assert answer.code == 0, answer.err
    assert [p.name for p in tmp_path.iterdir()] == ["job.sh"]
    text = (tmp_path / "job.sh").read_text()
    assert re.search(r"^#SBATCH --array=0-2$", text, re.MULTILINE)
    assert subprocess.run(["bash", "-n", "job.sh"], check=False).returncode == 0
    run = tmp_path / "bin"
    run.mkdir()
    (run / "emsynth").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m napari_emsynth.cli "$@"\n')
    (run / "emsynth").chmod(0o755)
    for task in range(3):
        env = os.environ | {"PATH": f"{run}:{os.environ['PATH']}", "SLURM_ARRAY_TASK_ID": str(task)}
        done = subprocess.run(["bash", "job.sh"], env=env, capture_output=True, text=True, timeout=200, check=False)
        assert done.returncode == 0, done.stderr
    assert_same(tmp_path / "out it's.zarr", whole)


def test_every_block_has_one_part():
    for blocks in (1, 5, 16):
        for parts in (1, 3, 16, 40):
            found = [n for part in range(parts) for n in share(blocks, (part, parts))]
            assert found == list(range(blocks))
