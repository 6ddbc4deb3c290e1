# ruff: noqa: D102 - a test's name is its law
"""The laws of alignment by displacements: what :class:`napari_emsynth.testing.volume_contract.AlignContract` adds.

They hold for methods whose :attr:`napari_emsynth.spec.MethodSpec.answers` is "displacement", and are not asked of
others. All are checked through the public task function, on phantoms whose sections were moved by known amounts.

This module needs pytest; nothing else in the package but the contracts imports it.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.fields import outside
from napari_emsynth.methods.align.protocol import Joint, Neighbour, Question, answers
from napari_emsynth.methods.align.stack.sections import normalised
from napari_emsynth.metrics.registration import stack_residual
from napari_emsynth.spec import MethodSpec, Result, Runtime
from napari_emsynth.testing.phantoms import Phantom, margins, with_unknown
from napari_emsynth.volume import Float, Volume

SHAPE = (7, 64, 72)
VOXEL_NM = (30.0, 8.0, 8.0)
# The section that was moved, and by what: it shows what lies at p + SHIFT.
MOVED, SHIFT = 3, (2.0, -3.0)
BAD = 3


def stack(shifts: dict[int, tuple[float, float]] | None = None, dtype: str = "uint8") -> Volume:
    """Return a phantom [z, y, x] that drifts little, some of whose sections are pulled by (dy, dx) px."""
    phantom = Phantom(shape=SHAPE, dtype=dtype, drift=0.15, noise=3.0, voxel_nm=VOXEL_NM)
    rng = np.random.default_rng(0)
    sections = [
        phantom.to_dtype(phantom.clean(z / 3, (shifts or {}).get(z, (0.0, 0.0))) + rng.normal(0, 3, SHAPE[1:]))
        for z in range(SHAPE[0])
    ]
    data = np.stack(sections)
    data.flags.writeable = False
    return Volume.of(data, voxel_nm=VOXEL_NM, name="phantom")


def noisy() -> Volume:
    """Return the phantom with one section of pure noise."""
    data = stack().data.copy()
    data[BAD] = np.random.default_rng(1).integers(0, 255, SHAPE[1:])
    return Volume.of(data, voxel_nm=VOXEL_NM)


_SHIFTED: dict[type, Result] = {}
"""What methods under test answer to the stack with the moved section; several laws look at it."""


def dense(result: Result) -> Float:
    """Return the displacement [z, 2, y, x] (dy, dx) px of every voxel of a small result."""
    field = result.displacement
    return np.stack([field.dense(z) for z in range(field.shape[0])])


def question(z: int) -> Question:
    """Return a section of the phantom and the one before it; of odd ones a corner is not known."""
    moving, fixed = (normalised(i, stack({z: (1.0, -2.0)}).data[i]) for i in (z, z - 1))
    known = np.ones(SHAPE[1:], bool)
    known[:20, :30] = z % 2 == 0
    return Question(moving.image, [Neighbour(fixed.image)], known)


class FieldLaws:
    """Laws of methods that answer with displacements.

    Attributes:
        miss_px: how far the displacement of a shifted section may be from the known one, on average.
        left: share of a known jitter that may be left.
        chained: sections are registered one after the other, outwards from the middle one, which stays; a section
            that failed is not asked about again.
    """

    spec: MethodSpec
    miss_px: ClassVar[float] = 0.5
    left: ClassVar[float] = 0.5
    chained: ClassVar[bool] = False

    @property
    def moves(self) -> bool:
        """True when the laws below are for this method."""
        return self.spec.answers == "displacement"

    def run(self, volume: Any, **options: Any) -> Result:
        """Align by the method under test."""
        raise NotImplementedError

    def built(self) -> Any:
        """Return the built method under test."""
        raise NotImplementedError

    def shifted(self) -> Result:
        """Return what the method answers to the stack with the moved section; asked once a class, to be read only."""
        if type(self) not in _SHIFTED:
            result = self.run(stack({MOVED: SHIFT}))
            for array in (result.volume.data, result.synthetic.data, result.displacement.data):
                array.flags.writeable = False
            _SHIFTED[type(self)] = result
        return _SHIFTED[type(self)]

    def test_a_known_shift_is_undone_with_the_right_sign(self) -> None:
        if not self.moves:
            return
        u = dense(self.shifted())[:, :, 12:-12, 12:-12].mean(axis=(2, 3))
        others = np.delete(u, MOVED, axis=0).mean(axis=0)
        # aligned(p) = section(p + u) and section(p) shows p + SHIFT: u = -SHIFT, but for a shift of the whole stack.
        assert np.hypot(*(u[MOVED] - others + SHIFT)) < self.miss_px

    def test_a_known_jitter_is_undone(self) -> None:
        if not self.moves:
            return
        by = np.random.default_rng(2).normal(0, 1.5, (SHAPE[0], 2)).clip(-3, 3)
        known = np.broadcast_to(by[:, :, None, None], (SHAPE[0], 2, *SHAPE[1:]))
        volume = stack({z: (float(dy), float(dx)) for z, (dy, dx) in enumerate(by)})
        before, after = (stack_residual(u, known, margin=8) for u in (np.zeros(known.shape), dense(self.run(volume))))
        assert after < self.left * before

    def test_displacement_confidence_and_sections_fit_the_stack(self) -> None:
        if not self.moves:
            return
        result = self.shifted()
        field, trust = result.displacement, np.asarray(result.confidence)
        assert field.shape == result.volume.shape == SHAPE
        assert trust.shape == (SHAPE[0], *field.nodes)
        assert np.isfinite(np.asarray(field.data)).all()
        assert 0 <= trust.min() <= trust.max() <= 1
        entries = result.provenance["sections"]
        assert [entry["section"] for entry in entries] == list(range(SHAPE[0]))
        keys = {"shift_px", "max_px", "cpc_before", "cpc_after", "confidence", "failed", "skipped"}
        for z, entry in enumerate(entries):
            assert keys <= entry.keys()
            assert entry["treatment"] == ("moved" if field.section(z).any() else "kept")
            assert entry["confidence"] == pytest.approx(trust[z].mean(), abs=0.01)

    def test_two_runs_find_the_same(self) -> None:
        if not self.moves:
            return
        one, other = self.shifted(), self.run(stack({MOVED: SHIFT}))
        assert np.array_equal(np.asarray(one.displacement.data), np.asarray(other.displacement.data))

    def test_questions_asked_together_are_answered_as_each_alone(self) -> None:
        if not self.moves or not isinstance(self.built(), Joint):
            return
        method: Any = self.built()
        asked = [question(z) for z in range(1, 4)]
        runtime = Runtime(device="cpu")
        for q, found in zip(asked, answers(method, asked, runtime), strict=True):
            alone = method(q.moving, q.fixed, q.known, runtime)
            assert np.abs(found.displacement - alone.displacement).max() < 0.01
            assert np.abs(found.confidence - alone.confidence).max() < 0.01

    def test_what_came_from_outside_is_empty_and_nothing_is_made_up(self) -> None:
        if not self.moves:
            return
        volume = stack({MOVED: (6.0, -5.0)})
        result = self.run(volume)
        assert result.empty is not None
        assert (result.empty.data == outside(result.displacement, volume).data).all()
        assert not result.synthetic.data.any()
        gone = result.empty.data.mean(axis=(1, 2))
        assert (gone.max() if self.chained else gone[MOVED]) > 0
        assert gone.max() < 0.4

    @pytest.mark.parametrize("reference", [2, (0, 5)])
    def test_a_reference_section_is_bit_identical(self, reference: int | Sequence[int]) -> None:
        if not self.moves:
            return
        volume = stack({MOVED: SHIFT})
        result = self.run(volume, reference=reference)
        for z in np.atleast_1d(reference):
            assert (result.volume.data[z] == volume.data[z]).all()
            assert result.provenance["sections"][z]["treatment"] == "kept"
            assert not result.synthetic.data[z].any()
        assert result.provenance["constraints"]["reference"] == np.atleast_1d(reference).tolist()

    def test_nothing_moves_further_than_the_limit(self) -> None:
        if not self.moves:
            return
        limit = 12.0
        result = self.run(stack({MOVED: (4.0, -4.0)}), max_displacement_nm=limit)
        length_nm = np.hypot(*(dense(result) * np.reshape(VOXEL_NM[1:], (2, 1, 1))).swapaxes(0, 1))
        assert length_nm.max() <= limit
        assert result.provenance["constraints"]["max_displacement_nm"] == limit

    def test_labels_follow_and_keep_their_ids(self) -> None:
        if not self.moves:
            return
        volume, result = stack({MOVED: SHIFT}), self.shifted()
        labels = (np.indices(SHAPE).sum(axis=0) // 9 * 1000).astype(np.uint32)
        moved = result.apply(labels)
        assert moved.dtype == labels.dtype
        assert set(np.unique(moved)) <= set(np.unique(labels)) | {0}
        # An image moved as labels are shows the same as the aligned one, but for what lies between pixels.
        image = np.asarray(result.apply(np.asarray(volume.data)), float)
        seen = result.synthetic.data == 0
        assert np.abs(image - result.volume.data)[seen].mean() < 12

    def test_a_section_of_noise_is_reported_and_harms_no_other(self) -> None:
        if not self.moves:
            return
        result, clean = (self.run(volume, skip=()) for volume in (noisy(), stack()))
        entries = result.provenance["sections"]
        assert entries[BAD]["failed"]
        later = [line for entry in entries[BAD + 1 :] for line in entry["failed"]]
        assert self.chained or any(str(BAD) in line for line in later)
        assert any(f"{BAD} to {BAD - 1}" in line for line in result.provenance["notices"])
        others = [z for z in range(SHAPE[0]) if z != BAD]
        assert entries[BAD]["confidence"] < 0.5 * min(entries[z]["confidence"] for z in others)
        harm = np.hypot(*(dense(result) - dense(clean)).swapaxes(0, 1))[others]
        assert harm.mean() < self.miss_px

    def test_a_skipped_section_says_so_and_moves_as_its_neighbours_do(self) -> None:
        if not self.moves:
            return
        result = self.run(stack({MOVED: (9.0, 9.0)}), skip=[MOVED])
        entry = result.provenance["sections"][MOVED]
        assert entry["skipped"]
        assert entry["confidence"] < 0.5
        u = dense(result).mean(axis=(2, 3))
        assert np.hypot(*(u[MOVED] - (u[MOVED - 1] + u[MOVED + 1]) / 2)) < self.miss_px
        assert any(f"section {MOVED}" in line for line in result.provenance["notices"])

    def test_materials_that_are_all_tissue_change_nothing(self) -> None:
        if not self.moves:
            return
        volume = stack({MOVED: SHIFT})
        plain, told = self.shifted(), self.run(volume, materials=np.zeros(SHAPE, np.uint8))
        assert np.array_equal(np.asarray(plain.displacement.data), np.asarray(told.displacement.data))

    def test_unknown_voxels_move_along_and_do_not_spread(self) -> None:
        if not self.moves:
            return
        volume = with_unknown(stack({MOVED: SHIFT}, "float32"), 0.1)
        result = self.run(volume)
        u = dense(result)
        assert np.isfinite(u).all()
        reach = int(np.ceil(np.abs(u).max())) + 2
        width = int(np.isnan(volume.data[0]).any(axis=0).sum())
        inner = result.volume.data[:, reach:-reach, width + reach : -reach]
        assert np.isfinite(inner).all()
        assert np.isnan(result.volume.data[:, :, 0]).mean() > 0.5

    def test_a_margin_neither_attracts_nor_counts(self) -> None:
        if not self.moves:
            return
        volume = stack({MOVED: SHIFT})
        empty = margins(SHAPE)
        result = self.run(Volume.of(np.where(empty, np.uint8(0), volume.data), voxel_nm=VOXEL_NM))
        u, plain = dense(result), dense(self.shifted())
        inner = ~empty[MOVED - 1 : MOVED + 2].any(axis=0)
        for z in (MOVED - 1, MOVED, MOVED + 1):
            # The margins stay where they are; the tissue follows its neighbours.
            assert np.hypot(*(u[z] - plain[z])[:, inner].mean(axis=1)) < self.miss_px
        assert result.empty is not None
        gone = np.asarray(result.empty.data) > 0
        assert not np.asarray(result.synthetic.data).any()
        assert not np.asarray(result.volume.data)[gone].any()
        # What is left is tissue: no dark halo.
        assert np.asarray(result.volume.data)[~gone].min() >= volume.data.min() - 25

    def test_a_result_can_be_sent_to_another_process(self) -> None:
        if not self.moves:
            return
        da = pytest.importorskip("dask.array")
        volume = stack({MOVED: SHIFT})
        eager = self.shifted()
        there = pickle.loads(pickle.dumps(eager))
        assert (there.volume.data == eager.volume.data).all()
        lazy = self.run(Volume.of(da.from_array(volume.data, chunks=(2, 40, 40)), voxel_nm=VOXEL_NM))
        assert not isinstance(lazy.volume.data, np.ndarray)
        sent = pickle.loads(pickle.dumps(lazy))
        assert (sent.volume.section(MOVED) == eager.volume.data[MOVED]).all()
        assert (sent.synthetic.section(MOVED) == eager.synthetic.data[MOVED]).all()

    def test_constraints_that_cannot_be_kept_are_refused_in_one_line(self) -> None:
        if not self.moves:
            return
        volume, unknown = stack(), Volume.of(stack().data)
        refused: list[tuple[Volume, dict[str, Any], str]] = [
            (volume, {"max_displacement_nm": 0}, "0 nm"),
            (volume, {"max_displacement_nm": -5.0}, "-5 nm"),
            (volume, {"max_displacement_nm": float("nan")}, "nan nm"),
            (unknown, {"max_displacement_nm": 50.0}, "voxel size"),
            (volume, {"reference": 7}, "sections are 0 to 6"),
            (volume, {"skip": [-1]}, "sections are 0 to 6"),
            (volume, {"reference": 1.5}, "1.5 is not a"),
            (volume, {"materials": np.zeros((7, 64, 70), np.uint8)}, r"\(7, 64, 70\)"),
            (volume, {"materials": np.full(SHAPE, 9, np.uint8)}, "value 9"),
        ]
        for source, options, words in refused:
            with pytest.raises(InputError, match=words) as caught:
                self.run(source, **options)
            assert "\n" not in str(caught.value)
