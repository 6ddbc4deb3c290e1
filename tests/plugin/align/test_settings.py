"""What a user writes about an alignment: what is passed on, what is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.plugin.align.settings import AlignSettings

LIMITED = AlignSettings(max_displacement_nm=120.5, reference="4-6", skip="2, 9")


def test_defaults_pass_nothing_on() -> None:
    assert AlignSettings().asked() == AlignOptions()
    assert AlignSettings().asked().words() == []


def test_what_is_written_is_passed_on_in_both_ways() -> None:
    asked = LIMITED.asked()
    assert asked.keywords() == {"max_displacement_nm": 120.5, "reference": "4-6", "skip": "2, 9"}
    assert asked.words() == [
        "--max-displacement-nm", "120.5", "--reference", "4-6", "--skip", "2, 9",
    ]  # fmt: skip


def test_nothing_skipped_is_not_the_same_as_nothing_said() -> None:
    none = replace(LIMITED, skip="").asked()
    assert none.listed("skip", 12) == ()
    assert none.words()[-2:] == ["--skip", "none"]


def test_a_window_numbers_its_sections_anew() -> None:
    inside = LIMITED.numbers().within(slice(5, 10), 12)
    assert (inside.reference, inside.skip) == ((0, 1), (4,))
    assert AlignOptions().within(slice(5, 10), 12) == AlignOptions(selfcheck=False)
    far = LIMITED.numbers().within(slice(10, 12), 12)
    assert (far.max_displacement_nm, far.reference, far.skip) == (120.5, (), ())


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
        replace(LIMITED, **changes).asked().check_sections(12)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


def test_labels_of_materials() -> None:
    assert replace(LIMITED, tears="3,7-8").labels("tears") == [3, 7, 8]
    assert replace(LIMITED, ignored="").labels("ignored") == []
    with pytest.raises(InputError, match="labels that mean tears"):
        replace(LIMITED, tears="fold").labels("tears")
