"""A record is plain JSON, says what was done, and names neither machine nor user."""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, strategies as st

from napari_emsynth import io
from napari_emsynth.params import Params, param
from napari_emsynth.trust.provenance import Source, jsonable, record
from napari_emsynth.volume import Known, Volume


@dataclass(frozen=True, kw_only=True)
class Some(Params):
    smoothing: float = param(0.5, "How smooth.", low=0)
    steps: int = param(3, "How many.")


def made(**more):
    volume = Volume.of(np.zeros((4, 5, 6), ">i2"), voxel_nm=(40, 4, 4), name="cell")
    section = {"section": np.int64(2), "t": 0.5, "selfcheck": {"psnr": np.float32(20), "n": np.int64(4)}}
    return record(
        task="interpolate",
        method="emsynth",
        weights={"id": "emsynth", "sha256": "0" * 64},
        params=Some(),
        seed=7,
        source=Source.of(volume),
        sections=[section],
        notices=("one line",),
        **more,
    )


def minimal(*, params, sections=()):
    return record(task="t", method="m", weights=None, params=params, seed=0, source={}, sections=sections, notices=[])


def test_record_is_json_and_equals_itself():
    one = made(selfcheck={"psnr": np.float64("inf"), 3: (1, 2)}, path=Path("a"))
    assert json.loads(json.dumps(one, allow_nan=False)) == one
    assert one["selfcheck"] == {"psnr": None, "3": [1, 2]}


def test_record_says_what_was_done():
    one = made()
    assert set(one) == {
        "software",
        "version",
        "created",
        "task",
        "method",
        "weights",
        "params",
        "seed",
        "source",
        "sections",
        "notices",
    }
    assert one["software"] == "napari-emsynth"
    assert one["version"]
    assert one["weights"] == {"id": "emsynth", "sha256": "0" * 64}
    assert one["params"] == {"smoothing": 0.5, "steps": 3}
    assert one["seed"] == 7
    assert one["notices"] == ["one line"]
    assert one["sections"] == [{"section": 2, "t": 0.5, "selfcheck": {"psnr": 20.0, "n": 4}}]
    age = datetime.now(UTC) - datetime.fromisoformat(one["created"])
    assert 0 <= age.total_seconds() < 60
    assert one["created"].endswith("+00:00")


def test_plain_mappings_are_taken_too():
    one = minimal(params={"a": 1}, sections=[{"section": 1}])
    assert (one["weights"], one["params"], one["source"], one["sections"]) == (None, {"a": 1}, {}, [{"section": 1}])


def test_source_of_an_array_and_of_a_file(tmp_path):
    volume = Volume.of(np.zeros((4, 5, 6), ">i2"), voxel_nm=(40, 4, 4), name="cell")
    assert Source.of(volume).to_json() == {
        "name": "cell",
        "shape": [4, 5, 6],
        "dtype": "int16",
        "voxel_nm": [40, 4, 4],
        "origin_nm": [0, 0, 0],
        "bytes": None,
        "modified": None,
        "chosen": {},
        "notices": [],
    }
    for name in ("stack.tif", "stack.zarr"):
        io.write(volume, tmp_path / name)
        source = Source.of(io.read(tmp_path / name))
        assert source.name == name
        assert source.modified is not None
        assert str(tmp_path) not in json.dumps(source.to_json())
    assert Source.of(io.read(tmp_path / "stack.tif")).bytes == (tmp_path / "stack.tif").stat().st_size
    assert Source.of(io.read(tmp_path / "stack.zarr")).bytes is None


NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**31), 2**31 - 1).map(np.int32),
    st.floats(),
    st.floats(width=32).map(np.float32),
    st.text(max_size=3),
    st.frozensets(st.integers(), max_size=3),
)


@given(st.recursive(NUMBERS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=3), v), max_leaves=9))
def test_what_was_made_plain_is_json_and_stays_as_it_is(value):
    plain = jsonable(value)
    assert json.loads(json.dumps(plain, allow_nan=False)) == plain == jsonable(plain)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (None, None),
        (True, True),
        (np.bool_(False), False),
        (np.uint8(3), 3),
        (1.5, 1.5),
        (float("nan"), None),
        (np.float32("inf"), None),
        ("x", "x"),
        ({2, 1}, [1, 2]),
        (range(2), [0, 1]),
        (np.eye(2), [[1, 0], [0, 1]]),
        (np.dtype("u2"), "uint16"),
        (Some(), {"smoothing": 0.5, "steps": 3}),
    ],
)
def test_jsonable(value, plain):
    assert jsonable(value) == plain
    assert type(jsonable(value)) is type(plain)


def test_what_json_cannot_hold_is_named():
    with pytest.raises(TypeError, match=r"params\.a\[1\] holds a object"):
        minimal(params={"a": [1, object()]})


def test_record_travels_in_files(tmp_path):
    record = made()
    volume = replace(Volume.of(np.zeros((2, 3, 4), "u1")), known=Known(record=record))
    for name in ("a.tif", "a.zarr"):
        io.write(volume, tmp_path / name)
        assert io.read_provenance(tmp_path / name) == record
        assert io.read(tmp_path / name).record == record
