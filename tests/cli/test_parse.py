"""Text to values: what is accepted, and that everything else is one line that names the value."""

import pytest

from napari_emsynth.cli.parse import parse_roi, parse_voxel_nm
from napari_emsynth.errors import InputError


def test_voxel_size():
    assert parse_voxel_nm(None) is None
    assert parse_voxel_nm("28,11.24,11.24") == (28.0, 11.24, 11.24)


@pytest.mark.parametrize(
    "text", ["", "4", "4,4", "a,b,c", "0,4,4", "-1,4,4", "nan,4,4", "inf,4,4", "4,4,4,4", "1e9,4,4"]
)
def test_a_nonsense_voxel_size_is_refused(text):
    with pytest.raises(InputError, match="voxel size"):
        parse_voxel_nm(text)


def test_roi():
    assert parse_roi(None, (10, 20, 30)) is None
    assert parse_roi("2:8,0:20,:5", (10, 20, 30)) == (slice(2, 8), slice(0, 20), slice(0, 5))
    assert parse_roi(":,3:,:", (10, 20, 30)) == (slice(0, 10), slice(3, 20), slice(0, 30))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0:5", "1 ranges, needs 3"),
        ("0:5,0:5,x", "'x' is not a range"),
        ("0:5,0:5,0:31", "0:31 px along x is empty or outside 0:30 px"),
        ("5:5,:,:", "5:5 px along z is empty"),
        ("6:5,:,:", "6:5 px along z is empty"),
    ],
)
def test_what_is_no_region_is_refused(text, words):
    with pytest.raises(InputError) as refused:
        parse_roi(text, (10, 20, 30))
    assert words in str(refused.value)
