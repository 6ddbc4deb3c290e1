"""What a user writes about an alignment: what is passed on, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.settings import AlignSettings

LIMITED = AlignSettings(max_displacement_nm=120.5, reference="4-6", skip="2, 9")


def test_defaults_pass_nothing_on() -> None:
    assert AlignSettings().options(12) == {}
    assert AlignSettings().flags(12) == []


def test_what_is_written_is_passed_on_in_both_ways() -> None:
    assert LIMITED.options(12) == {"max_displacement_nm": 120.5, "reference": (4, 5, 6), "skip": (2, 9)}
    assert LIMITED.flags(12) == [
        "--max-displacement-nm", "120.5", "--reference", "4-6", "--skip", "2,9",
    ]  # fmt: skip


def test_nothing_skipped_is_not_the_same_as_nothing_said() -> None:
    none = replace(LIMITED, skip="")
    assert none.options(12)["skip"] == ()
    assert none.flags(12)[-2:] == ["--skip", "none"]


def test_a_window_numbers_its_sections_anew() -> None:
    inside = LIMITED.within(slice(5, 10), 12)
    assert (inside.reference, inside.skip) == ("0-1", "4")
    assert inside.options(5)["skip"] == (4,)
    assert AlignSettings().within(slice(5, 10), 12) == AlignSettings()
    far = LIMITED.within(slice(10, 12), 12)
    assert far.options(2) == {"max_displacement_nm": 120.5, "skip": ()}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"reference": "a"}, "reference 'a'"),
        ({"reference": "12"}, "section 12 is outside the stack"),
        ({"skip": "3-1"}, "runs backwards"),
    ],
)
def test_no_list_of_sections_is_one_line(changes: dict[str, str], words: str) -> None:
    with pytest.raises(InputError) as refused:
        replace(LIMITED, **changes).options(12)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_labels_of_materials() -> None:
    assert replace(LIMITED, tears="3,7-8").labels("tears") == [3, 7, 8]
    assert replace(LIMITED, ignored="").labels("ignored") == []
    with pytest.raises(InputError, match="labels that mean tears"):
        replace(LIMITED, tears="fold").labels("tears")
