"""Alignment by displacements as a user meets it, with a stand-in for a network: what is made, checked, said, kept."""

import json
import tracemalloc
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.fields import Displacement
from napari_emsynth.methods.align.protocol import PairField
from napari_emsynth.methods.align.scoring.evaluate import evaluate
from napari_emsynth.methods.align.stack.alignment import Alignment, PairReport, SectionReport
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.straighten import notices
from napari_emsynth.methods.align.task import align
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.testing.field_laws import BAD, MOVED, SHIFT, noisy, stack
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import SHIFTER, Shifter, redrawing
from napari_emsynth.volume import Volume

ID = SHIFTER.id


class Idle(Shifter):
    def __call__(self, moving, fixed, known, runtime):
        return PairField(np.zeros((2, 2, 2), np.float32), np.ones((2, 2), np.float32))


IDLE = replace(SHIFTER, id="stand-in-idle", build=lambda params, runtime, weights: Idle())


@pytest.fixture(autouse=True)
def stand_in(install):
    install(SHIFTER, IDLE, redrawing())


def test_the_input_stays_and_the_grid_too():
    volume = stack({MOVED: SHIFT})
    before = volume.data.copy()
    result = align(volume, method=ID, selfcheck=False)
    assert (volume.data == before).all()
    assert result.volume.grid == result.synthetic.grid == volume.grid
    assert result.volume.dtype == volume.dtype
    assert result.uncertainty is None
    assert np.hypot(*(np.array(result.provenance["sections"][MOVED]["shift_px"]) + SHIFT)) < 1.5


def test_what_is_kept_is_what_did_not_move():
    result = align(stack(), method="stand-in-idle", selfcheck=False)
    assert (result.volume.data == stack().data).all()
    assert not result.synthetic.data.any()
    assert {e["treatment"] for e in result.provenance["sections"]} == {"kept"}


def test_the_record_says_what_was_asked_and_what_failed():
    record = align(noisy(), method=ID, max_displacement_nm=200, reference=0, skip=[6], selfcheck=False).provenance
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["constraints"] == {
        "max_displacement_nm": 200, "reference": [0], "skip": [6], "materials": None,
    }  # fmt: skip
    assert record["sections"][6]["skipped"]
    assert len(record["sections"][BAD]["failed"]) == 3


def test_the_self_check_counts_pixels():
    check = align(stack({MOVED: SHIFT}), method=ID).provenance["selfcheck"]
    assert {"cpc_before", "cpc_after", "psnr_jittered", "psnr_aligned", "beats_floors", "n"} <= check.keys()
    assert check["epe_aligned"] < check["epe_jittered"]
    assert check["beats_floors"] is True
    assert check["folds"] == 0
    assert check["n"] == 7


def test_the_stacks_own_jitter_is_no_error_of_the_self_check():
    by = {z: (2.0 * (-1) ** z, 1.0) for z in range(7)}
    epe = [align(s, method=ID).provenance["selfcheck"]["epe_aligned"] for s in (stack(), stack(by))]
    assert epe[1] < epe[0] + 0.15


def test_a_method_that_does_nothing_is_reported():
    record = align(stack(), method="stand-in-idle").provenance
    assert record["selfcheck"]["beats_floors"] is False
    assert record["selfcheck"]["epe_aligned"] == record["selfcheck"]["epe_jittered"]
    assert any("does not undo a known distortion" in line for line in record["notices"])


def test_small_sections_are_aligned_but_not_checked():
    record = align(stack().data[:, :12], method=ID).provenance
    assert record["selfcheck"] is None
    assert any("12 x 72 px are below 16 px" in line for line in record["notices"])


def test_lazy_equals_eager_and_draws_what_is_read():
    volume = stack({MOVED: SHIFT})
    lazy = align(da.from_array(volume.data, chunks=(3, 40, 72)), method=ID, voxel_nm=(30, 8, 8), selfcheck=False)
    eager = align(volume, method=ID, selfcheck=False)
    assert isinstance(lazy.volume.data, da.Array)
    assert isinstance(lazy.synthetic.data, da.Array)
    assert (lazy.volume.section(MOVED) == eager.volume.data[MOVED]).all()
    assert (lazy.synthetic.read(slice(None)) == eager.synthetic.data).all()


def test_cancel_and_progress():
    token, seen = CancelToken(), []

    def progress(done, total, what):
        seen.append(what)
        if "registering" in what:
            token.cancel()

    with pytest.raises(Cancelled):
        align(stack(), method=ID, runtime=Runtime(progress=progress, cancel=token), selfcheck=False)
    assert "registering" in seen[-1]


@pytest.mark.parametrize(
    ("limits", "again"),
    [({}, False), ({"skip": [2]}, True), ({"reference": 0}, True), ({"max_displacement_nm": 16.0}, True)],
)
def test_a_small_stack_is_not_estimated_twice(monkeypatch, limits, again):
    asked, call = [], Shifter.__call__

    def counted(self, *args):
        asked.append(1)
        return call(self, *args)

    monkeypatch.setattr(Shifter, "__call__", counted)
    plain = align(stack({MOVED: SHIFT}), method=ID, selfcheck=False, **limits)
    once = len(asked)
    checked = align(stack({MOVED: SHIFT}), method=ID, **limits)
    # The check asks about the stack as it is and about the moved one.
    assert len(asked) - once == (3 if again else 2) * once
    assert np.array_equal(checked.displacement.data, plain.displacement.data)
    assert (checked.volume.data == plain.volume.data).all()
    assert checked.provenance["sections"] == plain.provenance["sections"]
    assert checked.provenance["selfcheck"]["n"] == len(stack().data) - len(limits.get("skip", ()))


def test_memory_does_not_grow_with_the_stack():
    class Endless:
        """Sections made as they are read."""

        dtype, ndim, chunks = np.dtype(np.uint8), 3, (1, 96, 96)

        def __init__(self, count):
            self.shape = (count, 96, 96)
            self.one = Phantom(shape=(1, 96, 96)).volume().data[0]

        def __getitem__(self, key):
            z = range(self.shape[0])[key[0]] if isinstance(key[0], slice) else range(key[0], key[0] + 1)
            return np.stack([np.roll(self.one, i % 3, axis=0) for i in z])[(slice(None), *key[1:])]

    def peak(count):
        tracemalloc.start()
        align(
            Volume.of(Endless(count)), method=ID, selfcheck=False, skip=(), params={"neighbours": 1, "step_px": 48},
        )  # fmt: skip
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)
    short, long = peak(25), peak(55)
    # 30 sections more are 280 kB, 1.1 MB as floats.
    assert long - short < 0.2e6


def report(section, **more):
    known = {"shift_px": (0.0, 0.0), "max_px": 0.0, "cpc_before": 0.5, "cpc_after": 0.5, "confidence": 0.9}
    return SectionReport(section=section, **(known | more))


def told(reports, pairs=(), constraints=Constraints()):
    field = Displacement.zero((len(reports), 20, 20), 10, voxel_nm=(30, 4, 4))
    trust = np.ones((len(reports), 2, 2), np.float32)
    return notices(Alignment(field=field, confidence=trust, sections=tuple(reports), pairs=tuple(pairs)), constraints)


def test_every_failed_pair_is_named_once_by_its_reason():
    pairs = [
        PairReport(section=2, neighbour=1, ok=False, reason="no tissue"),
        PairReport(section=3, neighbour=1, ok=False, reason="no tissue"),
        PairReport(section=3, neighbour=2, ok=False, reason="no overlap"),
        PairReport(section=1, neighbour=0, ok=True),
    ]
    lines = told([report(z) for z in range(4)], pairs)
    assert lines == [
        "sections that could not be matched (no tissue): 2 to 1, 3 to 1",
        "sections that could not be matched (no overlap): 3 to 2",
    ]


def test_skipped_doubtful_and_held_back_sections_are_named():
    reports = [
        report(0, confidence=0.0),
        report(1, confidence=0.05),
        report(2, confidence=0.0, skipped="blank: constant"),
        report(3, max_px=12.5),
    ]
    lines = told(reports, constraints=Constraints(reference=(0,), max_displacement_nm=50.0))
    assert len(lines) == 3
    assert "(blank: constant): section 2" in lines[0]
    assert "section 1: the confidence is below 0.1" in lines[1]
    assert lines[2] == "the largest displacement of 50 nm holds back section 3"


def test_evaluation_counts_pixels_beside_the_floors():
    volume = Volume.of(Phantom(shape=(6, 64, 64), drift=0.2).volume().data)
    found = evaluate(volume, method=ID, limit=6)
    assert set(found["scores"]) == set(found["cpc"]) - {"truth"} == {ID, "jittered", "blurred_z", "optical_flow"}
    assert set(found["epe_px"]) == set(found["folds"]) == {ID, "jittered", "optical_flow"}
    assert found["epe_px"][ID] < 0.8 * found["epe_px"]["jittered"]
    assert found["folds"]["jittered"] == 0
    least = min(v for name, v in found["epe_px"].items() if name != ID)
    assert found["beats_floors"] == (found["epe_px"][ID] < least)
    assert json.loads(json.dumps(found)) == found


def test_doing_nothing_beats_no_floor():
    volume = Volume.of(Phantom(shape=(5, 48, 48)).volume().data)
    assert evaluate(volume, method="stand-in-idle", limit=5)["beats_floors"] is False


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "stand-in-smooth", "max_displacement_nm": 50}, "stand-in-smooth redraws every voxel"),
        ({"method": "stand-in-smooth", "skip": []}, "sections to skip: align/stand-in-smooth redraws"),
        ({"reference": "first"}, "'first' is not a section"),
        ({"reference": [[1]]}, "is not a section"),
        ({"reference": 1, "skip": [1, 2]}, "section 1 cannot be both"),
        ({"materials": np.zeros((7, 64, 72, 1), np.uint8)}, "3"),
        ({"params": {"neighbours": 9}}, "neighbours = 9 sections is above the limit of 5"),
    ],
)
def test_bad_use_is_one_clear_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        align(stack(), **({"method": ID, "selfcheck": False} | options))
    assert "\n" not in str(caught.value)
