"""Lost sections and jumps: found in real tissue, and in no intact stack."""

import numpy as np
import pytest

from napari_emsynth import samples
from napari_emsynth.trust.detect import detect, survey

TISSUE = samples.truth().data
JITTER = np.random.default_rng(0).integers(-3, 4, (len(TISSUE), 2))


def anisotropic(step):
    """Return every ``step``-th section: neighbours that resemble each other less, with small slips."""
    return np.stack([np.roll(TISSUE[z], JITTER[z], (0, 1)) for z in range(0, len(TISSUE), step)])


def turned(section):
    return section[::-1, ::-1]


@pytest.mark.parametrize("step", [1, 2])
def test_an_intact_stack_has_no_gap_and_no_jump(step):
    found = survey(anisotropic(step))
    assert (found.gaps, found.jumps, found.notices) == ([], [], [])


@pytest.mark.parametrize("lost", [2, 3])
@pytest.mark.parametrize("at", [10, 20, 33])
def test_two_lost_sections_are_found_where_they_are(lost, at):
    found = survey(np.delete(TISSUE, range(at, at + lost), 0))
    assert [gap.before for gap in found.gaps] == [at]
    assert found.gaps[0].sections in (1, 2)
    assert 0.5 < found.gaps[0].score < 1
    assert found.suspects == []
    assert f"--insert --sections {at}" in found.notices[0]


def test_a_damaged_section_is_no_gap():
    data = TISSUE.copy()
    data[20] = 100
    found = survey(data)
    assert [s.section for s in found.suspects] == [20]
    assert found.gaps == []


def test_scale_and_offset_change_no_gap():
    data = np.delete(TISSUE, [20, 21], 0)
    gap = survey(data).gaps[0]
    again = survey(data.astype("f4") * 3.5 - 70).gaps[0]
    assert (again.before, again.sections) == (gap.before, gap.sections)
    assert again.score == pytest.approx(gap.score, abs=1e-3)


def test_half_gain_and_brightness_are_named_as_what_they_are():
    data = TISSUE.astype("f4")
    spread = data[12].std()
    data[12] = (data[12] - data[12].mean()) / 2 + data[12].mean()
    data[30] += spread
    found = survey(data)
    assert found.suspects == []
    assert [(jump.section, jump.kind) for jump in found.jumps] == [(12, "contrast"), (30, "brightness")]
    assert "50% of the contrast" in found.jumps[0].detail
    assert any("contrast jumps at section(s) 12" in line for line in found.notices)


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda s: 255 - s, "inverted"),
        (turned, "displaced"),
        (lambda s: s[:, ::-1], "displaced"),
        (lambda s: s + np.random.default_rng(1).normal(0, s.std(), s.shape), "noisy"),
    ],
    ids=["negative", "turned", "mirrored", "noise"],
)
@pytest.mark.parametrize("at", [5, 24, 41])
def test_what_stands_out_is_named_as_what_it_is(spoil, kind, at):
    data = TISSUE.astype("f4")
    data[at] = spoil(data[at])
    assert [(s.section, s.kind) for s in detect(data)] == [(at, kind)]
