import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest

from napari_emsynth import samples
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken
from napari_emsynth.testing.damage import SECTION_KINDS, plant, spread
from napari_emsynth.testing.phantoms import Phantom, margins, with_unknown
from napari_emsynth.trust.detect import detect, uninformative
from napari_emsynth.trust.intact import left_out
from napari_emsynth.volume import Known, Volume

DTYPES = ["uint8", "uint16", "int16", "float32", ">u2"]


@pytest.fixture(scope="module")
def stack():
    return Phantom(shape=(24, 96, 112), noise=8.0).volume()


def of(data):
    return Volume.of(data)


def kinds(suspects):
    return {s.section: s.kind for s in suspects}


def test_an_intact_stack_is_left_in_peace(stack):
    assert detect(stack) == []


def test_the_bundled_sample():
    expected = {p.section: p.kind for p in samples.planted()}
    assert kinds(detect(samples.damaged())) == expected
    assert detect(samples.truth()) == []


@pytest.mark.parametrize("kind", SECTION_KINDS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_each_kind_in_each_dtype(kind, dtype):
    data = Phantom(shape=(9, 96, 112), noise=8.0, dtype=dtype).volume().data
    damaged, _ = plant(data, {4: kind}, seed=3)
    assert kinds(detect(of(damaged))) == {4: kind}


@pytest.mark.parametrize("seed", range(4))
def test_many_kinds_at_once(stack, seed):
    plan = spread(24, seed=seed, spacing=4)
    assert kinds(detect(of(plant(stack.data, plan, seed=seed)[0]))) == plan


@pytest.mark.parametrize("kind", SECTION_KINDS)
def test_unknown_margins_are_no_damage(kind):
    volume = with_unknown(Phantom(shape=(9, 96, 112), noise=8.0, dtype="float32").volume(), 0.2)
    assert detect(volume) == []
    assert kinds(detect(of(plant(volume.data, {4: kind}, seed=3)[0]))) == {4: kind}


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 0), ("uint8", 255), ("float32", np.nan), ("float32", 0)])
def test_margins_that_differ_are_no_damage_and_hide_none(dtype, fill):
    data = Phantom(shape=(9, 96, 112), noise=8.0, dtype=dtype).volume().data.copy()
    data[margins(data.shape)] = fill
    assert detect(of(data)) == []
    for kind in SECTION_KINDS:
        damaged, _ = plant(data, {4: kind}, seed=3)
        assert kinds(detect(of(damaged))) == {4: kind}


@pytest.mark.parametrize(("dtype", "fill"), [("uint8", 0), ("uint8", 255), ("float32", np.nan)])
def test_a_section_that_was_imaged_by_half_is_half_missing(dtype, fill):
    data = Phantom(shape=(9, 96, 112), noise=8.0, dtype=dtype).volume().data.copy()
    data[4, :50] = fill
    assert kinds(detect(of(data))) == {4: "half-missing"}


def test_a_section_that_is_known_to_be_empty_is_missing(stack):
    empty = np.zeros(stack.shape, np.uint8)
    empty[5] = empty[11] = 1
    empty[12, :10] = 1
    known = replace(stack, known=Known(empty=empty))
    assert kinds(detect(known)) == {5: "missing", 11: "missing"}
    assert kinds(uninformative(known)) == {5: "missing", 11: "missing"}
    (line,) = left_out(known).notices("the self-check")
    assert line == "section(s) 5,11 (missing) are missing: left out of the self-check"


def test_missing_sections_are_left_out_however_many_there_are(stack):
    empty = np.zeros(stack.shape, np.uint8)
    empty[2:20] = 1
    found = left_out(replace(stack, known=Known(empty=empty)))
    assert found.sections == frozenset(range(2, 20))
    assert found.spared == 0


def test_an_unknown_section_is_blank():
    data = np.array(Phantom(shape=(9, 96, 112), dtype="float32").volume().data)
    data[3] = np.nan
    data[6, 40:] = np.nan
    assert kinds(detect(of(data))) == {3: "blank", 6: "half-missing"}


def test_brightness_jumps_are_no_damage(stack):
    rng = np.random.default_rng(0)
    data = stack.data.astype(np.float32)
    gain = rng.uniform(0.4, 1.6, (24, 1, 1)).astype(np.float32)
    offset = rng.uniform(-60, 60, (24, 1, 1)).astype(np.float32)
    assert detect(of(data * gain + offset)) == []


def test_drift_and_a_shared_border_are_no_damage():
    big = Phantom(shape=(14, 160, 160), noise=8.0).volume().data
    data = np.stack([big[z, 2 * z : 2 * z + 110, 3 * z : 3 * z + 110] for z in range(14)])
    data[:, :40] = 0
    assert detect(of(data)) == []


def test_repeats_name_their_original(stack):
    data = stack.data.copy()
    data[10:13] = data[9]
    suspects = detect(of(data))
    assert kinds(suspects) == {10: "duplicate", 11: "duplicate", 12: "duplicate"}
    assert "section 9" in suspects[0].detail


def test_a_long_run_of_blank_sections(stack):
    data = stack.data.copy()
    data[5:15] = 0
    assert kinds(detect(of(data))) == dict.fromkeys(range(5, 15), "blank")


def test_two_displaced_in_a_row(stack):
    data = stack.data.copy()
    data[8:10] = np.roll(data[8:10], (12, -9), (1, 2))
    assert kinds(detect(of(data))) == {8: "displaced", 9: "displaced"}


def test_a_foreign_section(stack):
    data = stack.data.copy()
    data[8] = Phantom(shape=(1, 96, 112), seed=77, noise=8.0, cell_px=13.0).volume().data[0]
    suspects = detect(of(data))
    assert kinds(suspects) == {8: "displaced"}
    assert "matches neither neighbour" in suspects[0].detail


def test_dark_clipping_and_a_white_half(stack):
    data = stack.data.copy()
    data[5] = np.clip(data[5].astype(int) * 3 - 480, 0, 255)
    data[15, :, :50] = 255
    assert kinds(detect(of(data))) == {5: "saturated", 15: "half-missing"}


def test_first_and_last_section(stack):
    data, _ = plant(stack.data, {0: "blurred", 23: "half-missing"}, seed=2)
    assert kinds(detect(of(data))) == {0: "blurred", 23: "half-missing"}
    data, _ = plant(stack.data, {0: "displaced", 23: "displaced"}, seed=2)
    assert kinds(detect(of(data))) == {0: "displaced", 23: "displaced"}


def test_sensitivity_moves_the_limit(stack):
    data = stack.data.copy()
    data[7, :16] = 0
    assert detect(of(data)) == []
    found = detect(of(data), sensitivity=3)
    assert kinds(found)[7] == "half-missing"
    planted, _ = plant(stack.data, {7: "half-missing"}, seed=1)
    scores = [detect(of(planted), sensitivity=s)[0].score for s in (1, 2)]
    assert 0.5 <= scores[0] < scores[1] < 1


@pytest.mark.parametrize("value", [0, -1, float("nan"), 1000])
def test_nonsense_sensitivity_is_refused(stack, value):
    with pytest.raises(InputError, match=r"sensitivity .* is outside 0.01 to 100"):
        detect(stack, sensitivity=value)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 64, 64), (2, 40, 40), (3, 1, 5), (5, 7, 3), (6, 33, 65)])
def test_tiny_stacks_do_not_fall_over(shape):
    data = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    for suspect in detect(of(data)):
        assert 0.5 <= suspect.score <= 1


@pytest.mark.parametrize("value", [0, 255])
def test_everything_constant_is_blank(value):
    data = np.full((4, 32, 32), value, np.uint8)
    assert kinds(detect(of(data))) == dict.fromkeys(range(4), "blank")


def test_lazy_arrays_give_the_same(stack):
    dask_array = pytest.importorskip("dask.array")
    data, _ = plant(stack.data, spread(24, seed=1), seed=1)
    assert detect(of(dask_array.from_array(data, chunks=(4, 50, 50)))) == detect(of(data))


class Endless:
    """A stack of any depth that holds one section."""

    dtype = np.dtype("uint8")
    section = np.random.default_rng(0).integers(0, 255, (1, 256, 256), dtype=np.uint8)

    def __init__(self, depth):
        self.shape = (depth, 256, 256)

    def __getitem__(self, key):
        return np.roll(self.section, key[0].start, axis=2)


def peak_bytes(depth):
    tracemalloc.start()
    detect(of(Endless(depth)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def test_memory_does_not_grow_with_depth():
    peak_bytes(3)  # what is imported then is not counted
    assert peak_bytes(24) < 1.15 * peak_bytes(6)


def test_progress_and_cancel(stack):
    seen = []
    detect(stack, progress=lambda done, total, message: seen.append((done, total)))
    assert seen[-1] == (24, 24)
    assert len(seen) == 24
    token = CancelToken()

    def stop_at_five(done, total, message):
        seen.append(done)
        if done == 5:
            token.cancel()

    with pytest.raises(Cancelled):
        detect(stack, progress=stop_at_five, cancel=token)
    assert seen[-1] == 5


def test_input_is_untouched(stack):
    data, _ = plant(stack.data, spread(24), seed=0)
    before = data.copy()
    detect(of(data))
    assert (data == before).all()


def test_json(stack):
    data, _ = plant(stack.data, {5: "blank"})
    record = json.loads(json.dumps(detect(of(data))[0].to_json()))
    assert record["section"] == 5
    assert record["kind"] == "blank"
    assert set(record) == {"section", "kind", "score", "detail"}
