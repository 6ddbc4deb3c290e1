"""The description of a training run: round trips, files, and what lies beside the weights."""

import json
import subprocess
import sys

import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.training.job import TrainingJob, read_description, read_header, unfinished, unfinished_in

FULL = TrainingJob(
    method="interpolate/emsynth", out="w.safetensors", start="scratch", objective="accurate", minutes=2.5,
    roi=((0, 20), (8, 72), (0, 64)), device="cpu", seed=7, resume=True, source="/data/stack.tif", data="stack",
    voxel_nm=(28.0, 11.24, 11.24),
)  # fmt: skip
SPARSE = TrainingJob(method="align/jain2017", out="w.safetensors", steps=3)


@pytest.mark.parametrize("job", [FULL, SPARSE])
def test_round_trips(job, tmp_path):
    assert TrainingJob.from_json(json.loads(json.dumps(job.to_json()))) == job
    moved = TrainingJob.from_json({**job.to_json(), "out": str(tmp_path / "w.safetensors")})
    moved.write()
    assert read_description(moved.description) == moved
    assert [p.name for p in tmp_path.iterdir()] == ["w.job.json"]


def test_a_moved_description_speaks_of_the_weights_beside_it(tmp_path):
    (tmp_path / "w.job.json").write_text(json.dumps(FULL.to_json()))
    assert read_description(tmp_path / "w.job.json").path == tmp_path / "w.safetensors"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"out": "w.pt"}, "not as 'w.pt'"),
        ({"out": "w.ckpt.safetensors"}, "not as 'w.ckpt.safetensors'"),
        ({"steps": 4}, "and not both"),
        ({"minutes": -1.0}, "not above the limit of 0 minutes"),
        ({"roi": ((3, 3), (0, 8), (0, 8))}, "region 3:3 along z"),
        ({"roi": 7}, "makes no sense"),
        ({"colour": "red"}, "unknown entry 'colour'"),
    ],
)
def test_nonsense_is_refused(change, words):
    with pytest.raises(InputError, match=words):
        TrainingJob.from_json({**FULL.to_json(), **change})


def test_a_budget_may_be_open_only_where_a_run_goes_on():
    with pytest.raises(InputError, match="either a time in minutes"):
        TrainingJob(method="a/b", out="w.safetensors")
    assert TrainingJob(method="a/b", out="w.safetensors", resume=True).minutes is None


def checkpoint(job, step=30, seconds=75.0):
    counters = {"step": step, "seconds": seconds, "history": [{"score": 0.5}]}
    header = {"__metadata__": {"counters": json.dumps(counters), "fingerprint": '{"a": 1}'}}
    text = json.dumps(header).encode()
    job.checkpoint.write_bytes(len(text).to_bytes(8, "little") + text)


def test_unfinished_runs_are_found_and_forgotten(tmp_path):
    job = TrainingJob.from_json({**FULL.to_json(), "out": str(tmp_path / "mine.safetensors")})
    job.write()
    (tmp_path / "broken.job.json").write_text("no JSON")
    assert unfinished_in(tmp_path) == [], "without a checkpoint there is nothing to go on from"
    checkpoint(job)
    (run,) = unfinished_in(tmp_path)
    assert run.job == job
    assert (run.step, run.progress, run.history) == (30, 0.5, [{"score": 0.5}])
    assert run.describe() == "mine: interpolate/emsynth, step 30, 50 %"
    assert read_header(job.checkpoint)["fingerprint"] == {"a": 1}
    job.path.write_bytes(b"weights")
    job.forget()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["broken.job.json", "mine.safetensors"]


@pytest.mark.parametrize("content", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{}"])
def test_damaged_checkpoints_are_no_runs(tmp_path, content):
    job = TrainingJob(method="a/b", out=str(tmp_path / "w.safetensors"), steps=1)
    job.checkpoint.write_bytes(content)
    with pytest.raises(InputError, match="not a usable checkpoint"):
        unfinished(job)


def test_reading_a_description_loads_no_torch():
    code = "import sys, napari_emsynth.training.job, napari_emsynth.weights.own\nsys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
