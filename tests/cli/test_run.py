"""``emsynth run``: bit for bit what it was, or a line that says why not."""

import json
import re

import numpy as np
import pytest

import napari_emsynth as es


def same(a, b):
    one, other = es.read(a), es.read(b)
    assert np.array_equal(one.read(slice(None)), other.read(slice(None)))
    assert one.known.marks.keys() == other.known.marks.keys()
    for name, marks in one.known.marks.items():
        assert np.array_equal(marks[:], other.known.marks[name][:]), name


@pytest.mark.parametrize(
    "words",
    [
        ("interpolate", "--sections", "5,6", "--method", "fitted"),
        ("interpolate", "--sections", "7", "--insert", "--method", "linear", "--seed", "3"),
        ("upsample", "--factor", "2.5", "--method", "kriging"),
        ("align", "--method", "optical-flow", "--reference", "3", "--anyway"),
        ("superres", "--factor", "8", "--method", "bicubic"),
    ],
)
def test_every_task_is_made_again(stack, tmp_path, emsynth, words):
    task, *flags = words
    out = tmp_path / "out.ome.zarr"
    made = emsynth(task, stack, out, *flags)
    assert made.code == 0, made.err
    again = emsynth("run", out, "--json")
    assert again.code == 0, again.err
    assert again.json["out"] == str(tmp_path / "out-again.ome.zarr")
    assert again.json["same_machinery"]
    same(out, tmp_path / "out-again.ome.zarr")


def test_a_record_of_several_steps(stack, tmp_path, emsynth):
    """From what was acquired all of them, from what is between the last one; as JSON too."""
    one, two = tmp_path / "one.ome.tif", tmp_path / "two.ome.zarr"
    assert emsynth("interpolate", stack, one, "--sections", "5", "--method", "linear").code == 0
    assert emsynth("upsample", one, two, "--factor", "2", "--method", "linear").code == 0
    (tmp_path / "record.json").write_text(json.dumps(es.read(two).record))
    for k, (record, source) in enumerate(((two, stack), (two, one), (tmp_path / "record.json", stack))):
        out = tmp_path / f"{k}.ome.zarr"
        answer = emsynth("run", record, "--in", source, "--out", out, "--json")
        assert answer.json["steps"] == ["interpolate/linear", "upsample/linear"]
        same(two, out)


def test_a_mask_must_be_given_and_be_the_same(stack, tmp_path, emsynth, refused):
    mask = np.zeros((16, 96, 96), "u1")
    mask[4, 10:30, 10:30] = 1
    es.write(es.Volume.of(mask), tmp_path / "mask.tif")
    mask[4, 10:30, 30] = 1
    es.write(es.Volume.of(mask), tmp_path / "other.tif")
    out = tmp_path / "out.zarr"
    assert emsynth("interpolate", stack, out, "--mask", tmp_path / "mask.tif", "--method", "linear").code == 0
    assert "give --mask FILE" in refused("run", out)
    assert "comes out different from the record" in refused("run", out, "--mask", tmp_path / "other.tif")
    assert emsynth("run", out, "--mask", tmp_path / "mask.tif").code == 0
    same(out, tmp_path / "out-again.zarr")


@pytest.fixture
def exported(stack, tmp_path, emsynth):
    out = tmp_path / "out.zarr"
    assert emsynth("interpolate", stack, out, "--sections", "5", "--method", "emsynth").code == 0
    return out


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": "0.0.1"}, r"of version 0.0.1, this is"),
        ({"weights": {"id": "mine", "sha256": "0" * 64}}, r"the record's are mine \(000000000000\)"),
        ({"asked": None}, "does not say what was asked"),
        ({"method": "unheard"}, "unheard"),
        ({"device": "cuda:7"}, "made on cuda:7"),
        ({"field": {"file": "u.npy"}}, "emsynth align --from-displacement u.npy"),
    ],
)
def test_records_that_cannot_be_followed(exported, stack, tmp_path, refused, change, said):
    record = tmp_path / "record.json"
    asked = dict(es.read(exported).record["asked"])
    if "method" in change:
        asked["options"] = asked["options"] | change
    record.write_text(json.dumps({**es.read(exported).record, "asked": asked, **change}))
    assert re.search(said, refused("run", record, "--in", stack))


def test_other_inputs_are_refused(exported, stack, tmp_path, emsynth, refused, crop):
    assert "has been through all 1 steps" in refused("run", exported, "--in", exported, "--out", tmp_path / "x.zarr")
    es.write(es.Volume.of(crop[1:]), tmp_path / "short.tif")
    assert "15 x 96 x 96" in refused("run", exported, "--in", tmp_path / "short.tif", "--out", tmp_path / "x.zarr")
    (tmp_path / "record.json").write_text("{")
    assert "cannot be read as JSON" in refused("run", tmp_path / "record.json")
    (tmp_path / "record.json").write_text("[]")
    assert "holds no record" in refused("run", tmp_path / "record.json")
    assert "holds no record" in refused("run", stack)
    stack.rename(tmp_path / "away.tif")
    assert "stack.ome.tif is not beside" in refused("run", exported)
