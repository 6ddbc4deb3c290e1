"""What a task is asked is spelt once: Python keywords, flags, JSON and grids all come from one dataclass."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.cli.flags import option_flags
from napari_emsynth.errors import InputError
from napari_emsynth.grid import Grid
from napari_emsynth.methods import get
from napari_emsynth.methods.align.options import AlignOptions
from napari_emsynth.methods.interpolate.options import InterpolateOptions
from napari_emsynth.methods.superres.options import SuperresOptions
from napari_emsynth.methods.tasks import function_of, name_of, options_of
from napari_emsynth.methods.upsample.options import UpsampleOptions
from napari_emsynth.options import Options
from napari_emsynth.spec import TASKS

ASKED: list[Options] = [
    InterpolateOptions(sections=[3, 3, 8], insert=True, look="natural", params={"a": 1}),
    InterpolateOptions(sections="12,40-42", method="linear"),
    AlignOptions(max_displacement_nm=40.5, reference=[2], skip=()),
    AlignOptions(reference="none", weights="mine.safetensors", selfcheck=False),
    UpsampleOptions(factor=2.5, sampling="slab", damaged=(1, 2, 3)),
    UpsampleOptions(factor="isotropic", damaged="detected"),
    SuperresOptions(factor=16, damaged="4"),
]


@pytest.mark.parametrize("asked", [*ASKED, *(options_of(task)() for task in TASKS)])
def test_json_reads_back_to_an_equal_value(asked: Options) -> None:
    assert type(asked).from_json(asked.to_json()) == asked
    with pytest.raises(InputError, match="unknown option 'nonsense'"):
        type(asked).from_json({"nonsense": 1})


@pytest.mark.parametrize("asked", ASKED)
def test_the_words_of_a_command_ask_for_the_same(asked: Options) -> None:
    flags = {f"--{flag.name.replace('_', '-')}": flag for flag in option_flags(type(asked)).flags}
    words, given = asked.words(), {}
    while words:
        flag = flags[words.pop(0)]
        switch = flag.annotation.__origin__ is bool
        given[flag.name] = True if switch else _typed(flag, words.pop(0))
    again = type(asked)(**given, params=asked.params, selfcheck=asked.selfcheck)
    for known in asked.fields():
        if known.kind == "sections":
            assert again.listed(known.name, 99) == asked.listed(known.name, 99)
        else:
            assert getattr(again, known.name) == getattr(asked, known.name)


def _typed(flag: inspect.Parameter, word: str) -> Any:
    kinds = getattr(flag.annotation.__origin__, "__args__", (flag.annotation.__origin__,))
    return kinds[0](word)


@pytest.mark.parametrize("task", TASKS)
def test_a_function_takes_every_option_and_says_what_it_is(task: Any) -> None:
    function = function_of(task)
    assert getattr(es, name_of(task)) is function
    keywords = inspect.signature(function).parameters
    for known in options_of(task).fields():
        assert keywords[known.name].default == known.default
    assert next(iter(keywords)) == "volume"
    for name in keywords:
        assert f"    {name}: " in function.__doc__, f"{name} is not described"
    with pytest.raises(TypeError, match="nonsense"):
        function(np.zeros((3, 20, 20), np.uint8), nonsense=1)


def test_options_and_their_parts_are_the_same_but_not_both() -> None:
    stack = np.random.default_rng(0).integers(0, 255, (6, 24, 24), np.uint8)
    whole = UpsampleOptions(factor=3, method="linear", damaged=(), selfcheck=False)
    one = es.upsample(stack, options=whole)
    other = es.upsample(stack, 3, method="linear", damaged=[], selfcheck=False)
    np.testing.assert_array_equal(one.volume.data, other.volume.data)
    with pytest.raises(InputError, match=r"either options or their parts \(factor\)"):
        es.upsample(stack, 3, options=whole)
    with pytest.raises(InputError, match="either runtime or its parts"):
        es.upsample(stack, options=whole, runtime=es.Runtime(), seed=3)


# ------------------------------------------------------------------------------------------ lists


@pytest.mark.parametrize(
    ("given", "listed"),
    [(None, None), ("detected", None), ("", ()), ("none", ()), ((), ()), (3, (3,)), (np.int64(3), (3,)),
     ("1,4-6", (1, 4, 5, 6)), ([4, 1, 4], (4, 1, 4)), (np.array([1, 2]), (1, 2))],
)  # fmt: skip
def test_lists_of_sections_in_a_users_words(given: Any, listed: Any) -> None:
    assert UpsampleOptions(damaged=given).listed("damaged", 9) == listed


@pytest.mark.parametrize("given", [[True], [1.5], ["a"]])
def test_what_is_no_section_is_refused_at_once(given: Any) -> None:
    with pytest.raises(InputError, match="is not a whole number"):
        AlignOptions(skip=given)


@pytest.mark.parametrize(("given", "said"), [("9", "section 9"), ([9], "section 9"), ([-1], "section -1"),
                                             ("a", "'a' is not a section")])  # fmt: skip
def test_a_section_outside_the_stack_is_refused_when_it_is_known(given: Any, said: str) -> None:
    with pytest.raises(InputError, match=said):
        SuperresOptions(damaged=given).listed("damaged", 9)


# ------------------------------------------------------------------------------------------ grids

GRID = Grid(shape=(9, 32, 40), voxel_nm=(40, 8, 8), origin_nm=(20, 0, 0))


def test_a_grid_is_known_before_a_voxel_is_touched() -> None:
    inserted = get("interpolate", "linear").grid(GRID, InterpolateOptions(sections="1,1,3-4", insert=True))
    assert inserted.shape == (13, 32, 40)
    assert get("align", "emsynth").grid(GRID, AlignOptions()) == GRID
    iso = get("upsample", "linear").grid(GRID, UpsampleOptions(factor="isotropic"))
    assert (iso.shape, iso.voxel_nm, iso.origin_nm) == ((41, 32, 40), (8, 8, 8), (20, 0, 0))
    fine = get("superres", "bicubic").grid(GRID, SuperresOptions(factor=8))
    assert (fine.shape, fine.voxel_nm) == ((9, 256, 320), (40, 1, 1))


@pytest.mark.parametrize("factor", [7 / 3, 2.3333333, 2.333333])
def test_a_factor_that_was_rounded_loses_no_section(factor: float) -> None:
    grid = Grid(shape=(3, 8, 8), voxel_nm=(7, 3, 3))
    slab = UpsampleOptions(factor=factor, sampling="slab")
    assert slab.grid(grid).shape[0] == 7
    assert slab.lattice(grid).showing(slice(0, 3)) == slice(0, 7)
    point = UpsampleOptions(factor=factor)
    assert point.grid(replace_count(grid, 4)).shape[0] == 8
    made = es.upsample(
        np.random.default_rng(0).integers(0, 255, (3, 20, 20), np.uint8), factor, sampling="slab",
        method="linear", damaged=[], selfcheck=False,
    )  # fmt: skip
    assert made.volume.shape[0] == 7


def replace_count(grid: Grid, count: int) -> Grid:
    return Grid(shape=(count, *grid.shape[1:]), voxel_nm=grid.voxel_nm)


@pytest.mark.parametrize("sampling", ["point", "slab"])
@pytest.mark.parametrize("factor", [2, 2.5, 3.7, 12])
def test_what_is_shown_lies_between_what_was_asked(factor: float, sampling: Any) -> None:
    lattice = UpsampleOptions(factor=factor, sampling=sampling).lattice(GRID)
    shown = lattice.showing(slice(2, 6))
    edge = 0.0 if sampling == "point" else 0.5
    places = [lattice.position(j) for j in range(shown.start, shown.stop)]
    assert all(2 - edge - 1e-6 <= p <= 5 + edge + 1e-6 for p in places)
    assert lattice.showing(slice(0, 9)) == slice(0, lattice.sections.stop)


@pytest.mark.parametrize(
    ("task", "id_", "options", "said"),
    [("upsample", "jain2017", {"factor": 3}, "upsample/jain2017 upsamples by 2"),
     ("upsample", "jain2017", {"factor": "isotropic"}, "upsample/jain2017 upsamples by 2"),
     ("upsample", "jain2017", {"factor": 2, "sampling": "slab"}, "not slab")],
)  # fmt: skip
def test_what_a_method_cannot_do_is_refused_before_a_voxel_is_touched(
    task: Any, id_: str, options: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=said):
        get(task, id_).grid(GRID, options_of(task)(**options))


@pytest.mark.parametrize("factor", [1.5, 13, math.nan, math.inf, True, "x", None])
def test_a_factor_that_nobody_can_do_is_refused_at_once(factor: Any) -> None:
    with pytest.raises(InputError, match="factor"):
        UpsampleOptions(factor=factor)
    with pytest.raises(InputError, match="factor"):
        SuperresOptions(factor=factor)


@pytest.mark.parametrize("cls", [InterpolateOptions, UpsampleOptions])
def test_a_look_that_there_is_not_is_refused_at_once(cls: Any) -> None:
    with pytest.raises(InputError, match="look 'pretty' is not one of accurate, natural"):
        cls(look="pretty")


def test_isotropic_needs_a_voxel_size() -> None:
    with pytest.raises(InputError, match="voxel size"):
        UpsampleOptions(factor="isotropic").grid(Grid(shape=(9, 32, 40)))
