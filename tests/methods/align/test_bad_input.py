"""Bad sections: the alignment of the others is unharmed, what failed is named with its reason, confidence says so."""

from functools import cache

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.align.task import align
from napari_emsynth.samples import truth
from napari_emsynth.spec import Runtime

COUNT, BAD, SIZE = 7, 3, (112, 128)
REAL = truth().data
RNG = np.random.default_rng(0)
JITTER = RNG.integers(-3, 4, (COUNT, 2))
OTHERS = [z for z in range(COUNT) if z != BAD]


def section(z, shift=(0, 0), first=8):
    """Real tissue; section z shows what lies at p + JITTER[z] + shift."""
    top, left = 20 + JITTER[z] + shift
    return REAL[first + z, top : top + SIZE[0], left : left + SIZE[1]].astype(float)


def stack(bad=None, dtype=np.uint8):
    sections = [section(z) for z in range(COUNT)]
    if bad is not None:
        sections[BAD] = bad
    return np.stack(sections).astype(dtype)


def aligned(data, **options):
    options = {
        "selfcheck": False,
        "runtime": Runtime(device="cpu"),
        "params": {"neighbours": 2, "leave_px": 0.0},
        **options,
    }
    return align(data, method="optical-flow", voxel_nm=(40, 8, 8), **options)


def field(result):
    return np.stack([result.displacement.dense(z) for z in range(result.displacement.shape[0])])


def harm(result, sections, reference):
    """Mean length in px by which the sections lie elsewhere, but for a shift of the whole stack."""
    apart = field(result)[sections] - reference
    apart -= apart.mean(axis=0, keepdims=True)
    return float(np.hypot(apart[:, 0], apart[:, 1])[:, 8:-8, 8:-8].mean())


@pytest.fixture(scope="module")
def unharmed():
    """The fields of the other sections when the bad one has no say, and when it is intact."""
    return [field(answer(None, skip))[OTHERS] for skip in ((BAD,), ())]


def torn(shift=(0, 9)):
    """A fold across the whole section: a dark band, and beyond it everything is shifted."""
    whole, beyond = section(BAD), section(BAD, shift)
    whole[SIZE[0] // 2 :] = beyond[SIZE[0] // 2 :]
    whole[SIZE[0] // 2 - 5 : SIZE[0] // 2 + 5] = 10
    return whole


FAR = (0, 80)  # of 128 px
CASES = {
    "black": np.zeros(SIZE),
    "grey": 130 + RNG.normal(0, 1, SIZE),
    "noise": RNG.integers(0, 255, SIZE),
    "half missing": np.where(np.arange(SIZE[1]) < SIZE[1] // 2, 0, section(BAD)),
    "far": section(BAD, FAR),
    "other tissue": section(BAD, (90, 60), first=40)[::-1],
    "fold": torn(),
}


@cache
def answer(kind, skip=()):
    """What several tests ask of a stack with one bad section (None: with none); to be read only."""
    result = aligned(stack(None if kind is None else CASES[kind]), skip=skip)
    for array in (result.volume.data, result.displacement.data, result.confidence):
        array.flags.writeable = False
    return result


@pytest.mark.parametrize(
    ("kind", "skip"), [*((kind, ()) for kind in CASES), ("black", None), ("half missing", None), ("fold", None)]
)
def test_the_alignment_of_the_others_is_unharmed(kind, skip, unharmed):
    result = answer(kind, skip)
    assert min(harm(result, OTHERS, fields) for fields in unharmed) < 0.3
    entries = result.provenance["sections"]
    assert not any(entries[z]["skipped"] for z in OTHERS)
    assert min(entries[z]["confidence"] for z in OTHERS) > 0.5


@pytest.mark.parametrize("kind", ["black", "noise"])
def test_a_section_without_a_match_is_named_with_its_reason(kind):
    entry = (result := answer(kind)).provenance["sections"][BAD]
    assert len(entry["failed"]) == 2
    assert all("section" in line and ":" in line for line in entry["failed"])
    assert entry["confidence"] < 0.05
    named = [line for line in result.provenance["notices"] if "could not be matched" in line]
    for moving, onto in {(BAD + k, BAD) for k in (1, 2)} | {(BAD, BAD - k) for k in (1, 2)}:
        assert any(f"{moving} to {onto}" in line for line in named), (moving, onto)
    assert any(f"section {BAD}" in line and "confidence" in line for line in result.provenance["notices"])


@pytest.mark.parametrize("kind", ["far", "other tissue"])
def test_what_has_little_in_common_is_hardly_trusted(kind):
    result = answer(kind)
    entries = result.provenance["sections"]
    assert entries[BAD]["failed"]
    assert entries[BAD]["confidence"] < 0.2
    assert min(entries[z]["confidence"] for z in OTHERS) > 0.5


@pytest.mark.parametrize("kind", ["black", "grey"])
def test_blank_sections_are_left_out_and_said_to_be(kind):
    result = answer(kind, None)
    assert "blank" in result.provenance["sections"][BAD]["skipped"]
    assert any(f"section {BAD}" in line and "blank" in line for line in result.provenance["notices"])


def test_missing_sections_of_floats_stay_missing(unharmed):
    result = aligned(stack(np.full(SIZE, np.nan), np.float32))
    assert np.isnan(result.volume.data[BAD]).all()
    assert np.isfinite(result.volume.data[OTHERS][:, 8:-8, 8:-8]).all()
    assert min(harm(result, OTHERS, fields) for fields in unharmed) < 0.3
    assert result.provenance["sections"][BAD]["confidence"] == 0


def test_several_missing_sections_in_a_row_are_bridged():
    data = stack()
    data[2:4] = 0
    rest = [0, 1, 4, 5, 6]
    # Across the gap, what is jitter and what is the tissue's own motion is told apart by what is left.
    assert harm(aligned(data), rest, field(aligned(data[rest]))) < 0.6


def test_a_fold_is_not_trusted_where_it_is():
    trust = answer("fold").confidence[BAD]
    rows = np.array_split(trust, 3)
    assert rows[1].mean() < max(rows[0].mean(), rows[2].mean())


def test_materials_keep_dirt_from_pulling(unharmed):
    dirt = np.zeros((COUNT, *SIZE), np.uint8)
    dirt[BAD, 30:70, 30:80] = 2
    bad = section(BAD)
    bad[30:70, 30:80] = section(BAD, (6, 6))[30:70, 30:80]
    told = aligned(stack(bad), materials=dirt)
    assert min(harm(told, OTHERS, fields) for fields in unharmed) < 0.3
    clean = field(answer(None, None))
    off = [np.hypot(*(field(r) - clean)[BAD])[30:70, 30:80].mean() for r in (told, aligned(stack(bad)))]
    assert off[0] < off[1]


@pytest.mark.parametrize("value", [0, 137])
def test_a_stack_that_shows_nothing_comes_back_as_it_is(value):
    data = np.full((5, 40, 40), value, np.uint8)
    result = aligned(data)
    assert (result.volume.data == data).all()
    assert not result.synthetic.data.any()
    assert max(e["confidence"] for e in result.provenance["sections"]) == 0
    assert result.provenance["notices"]


def test_a_stack_of_noise_hardly_moves_and_is_not_trusted():
    result = aligned(np.random.default_rng(0).integers(0, 255, (5, 64, 64)).astype(np.uint8), skip=())
    assert max(e["confidence"] for e in result.provenance["sections"]) < 0.2
    assert np.abs(field(result)).max() < 1


def test_one_section_cannot_be_aligned():
    with pytest.raises(InputError, match=r"1 section.* the limit is 2 sections"):
        aligned(stack()[:1])


def test_two_sections_can():
    result = aligned(stack()[:2])
    u = field(result).mean(axis=(2, 3))
    assert np.hypot(*((u[1] + JITTER[1]) - (u[0] + JITTER[0]))) < 0.9
