"""Lists of sections: what is accepted, and that everything else is one line that names the value."""

import pytest
from hypothesis import given, strategies as st

from napari_emsynth.errors import InputError
from napari_emsynth.sections import parse_sections, spans


def test_runs_are_written_as_ranges():
    assert spans([12, 40, 41, 42, 7]) == "7,12,40-42"


@pytest.mark.parametrize(
    ("text", "sections"),
    [
        ("12", [12]),
        ("12,40-42", [12, 40, 41, 42]),
        (" 3 , 5 - 6 ", [3, 5, 6]),
        ("7,7", [7, 7]),
        ("0-0", [0]),
        ("49", [49]),
    ],
)
def test_sections(text, sections):
    assert parse_sections(text, 50) == sections


@given(st.lists(st.integers(0, 99), min_size=1))
def test_any_list_of_sections_comes_back(sections):
    assert parse_sections(",".join(map(str, sections)), 100) == sections
    assert parse_sections(spans(sections), 100) == sorted(sections)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "''"),
        ("12,", "''"),
        ("a", "'a'"),
        ("-3", "'-3'"),
        ("1.5", "'1.5'"),
        ("4-2", "4-2 runs backwards"),
        ("50", "section 50 is outside the stack, whose sections are 0 to 49"),
        ("0-999999999999999", "section 999999999999999 is outside"),
        ("1;2", "'1;2'"),
    ],
)
def test_what_is_no_list_of_sections_is_refused(text, words):
    with pytest.raises(InputError) as refused:
        parse_sections(text, 50)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)
