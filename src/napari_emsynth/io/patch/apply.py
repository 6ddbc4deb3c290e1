"""Putting a patch into a Zarr in place, and taking it out again.

Order of a patch that is put in: it is noted as begun, with the parts that it will make; what it replaces beside level 0
is kept in the Zarr; chunks are written; it is noted as done, together with the record. Each step is on the disk before
the next begins, so that whatever stops it, either way can be gone on from there: of every block, only what it was
before or what it is after is accepted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import claiming, undisturbed
from napari_emsynth.io.content import Block
from napari_emsynth.io.patch.overlay import chained_record
from napari_emsynth.io.patch.patch import Patch
from napari_emsynth.io.patch.target import RECORD, Level, Target, coarser
from napari_emsynth.io.patch.write import add_block, begun_digest, relative, within
from napari_emsynth.io.url import check_there, here
from napari_emsynth.io.zarr.levels import coarse_block
from napari_emsynth.io.zarr.parts import create, stored_keys
from napari_emsynth.io.zarr.read import PATCHES
from napari_emsynth.io.zarr.write import CHUNK
from napari_emsynth.sections import spans
from napari_emsynth.spec import CancelToken, Progress, no_note, no_progress
from napari_emsynth.volume import Array

BEGUN, DONE = "begun", "done"


def apply_patch(
    patch: Patch,
    path: Path | str,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
) -> dict[str, Any]:
    """Put a patch into a Zarr, in place: voxels of every level, mask, error estimate, record.

    Args:
        patch: what changed.
        path: of the Zarr.
        progress: called after every block.
        cancel: asked between blocks; what is left can be gone on with by the same call, or taken back.
        note: told in one line what a user should know.

    Returns:
        A JSON object: what was put where; ``blocks`` 0 where the patch was in already.

    Raises:
        InputError: the patch is of another volume, the volume changed since, or it cannot be written.
        Cancelled: between blocks.
    """
    with _held(patch, path, note) as target:
        entry = next((e for e in target.log if e["id"] == patch.id), None)
        if entry is not None and entry["state"] == DONE:
            note(f"{patch.path} is in {path} already")
            return _answer(patch, target, 0)
        _check_levels(patch, target, resumed=entry is not None)
        names = patch.marks if target.holds_parts else ()
        if patch.marks and not names:
            note(
                f"{path} is a bare array, which has no place for {' and '.join(patch.marks)}: keep the patch beside it"
            )
        job = _Job(patch, target, names, progress, cancel)
        if entry is None:
            _forget(target, patch.id)
            entry = {"id": patch.id, "name": patch.name, "state": BEGUN, "made": job.absent()}
            target.note([*target.log, entry], target.root.attrs.get(RECORD))
        job.keep(entry["made"])
        blocks = job.put("new")
        entry |= {"state": DONE, "applied": datetime.now(UTC).isoformat(timespec="seconds")}
        log = [entry if e["id"] == patch.id else e for e in target.log]
        target.note(log, chained_record(patch, target.root.attrs.get(RECORD)))
        target.finish()
        return _answer(patch, target, blocks)


def undo_patch(
    patch: Patch,
    path: Path | str,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
) -> dict[str, Any]:
    """Take a patch out of a Zarr again: everything is bit for bit what it was before.

    Args:
        patch: what was put in.
        path: of the Zarr.
        progress: called after every block.
        cancel: asked between blocks; what is left can be gone on with by the same call, or put in again.
        note: told in one line what a user should know.

    Returns:
        A JSON object: what was taken out.

    Raises:
        InputError: the patch is not in it, the volume changed since, or it cannot be written.
        Cancelled: between blocks.
    """
    with _held(patch, path, note) as target:
        entry = next((e for e in target.log if e["id"] == patch.id), None)
        if entry is None:
            raise InputError(f"{patch.path} was not put into {path}: there is nothing to undo")
        *others, last = target.log
        if last["id"] != patch.id:
            raise InputError(f"{path} had another patch put in after {patch.path} (of {last['name']}): undo that first")
        _check_levels(patch, target, resumed=entry["state"] == BEGUN, expected="new")
        target.note([*others, {**entry, "state": BEGUN}], target.root.attrs.get(RECORD))
        names = patch.marks if target.holds_parts else ()
        blocks = _Job(patch, target, names, progress, cancel).put("old")
        for name in entry["made"]:
            target.drop_part(name)
        target.note(others, _without(target.root.attrs.get(RECORD), patch.id))
        _forget(target, patch.id)
        target.finish()
        return _answer(patch, target, blocks)


@contextmanager
def _held(patch: Patch, path: Path | str, note: Callable[[str], None]) -> Iterator[Target]:
    """Hold the Zarr while it is written.

    Raises:
        InputError: the patch is of another volume, or another job writes there.
    """
    path = here(path)
    check_there(path)
    patch.check_fits(Target.open(path).volume, str(path))
    _check_whole(patch)
    with claiming([path], note=note):
        try:
            yield Target.open(path)
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}; run again to go on, or undo") from error


def _check_whole(patch: Patch) -> None:
    """Refuse a patch that is not what was written: a chunk that is gone reads as zeros.

    Raises:
        InputError: it is not.
    """
    told = begun_digest(patch.record)
    for box, arrays in zip(patch.boxes, patch.arrays, strict=True):
        for part in within(box):
            at = relative(part, box)
            add_block(told, part, {name: array[at] for name, array in arrays.items()})
    if told.hexdigest() != patch.id:
        raise InputError(f"{patch.path} is damaged: its voxels are not those that were written; nothing was changed")


def _check_levels(patch: Patch, target: Target, *, resumed: bool, expected: str = "old") -> None:
    """Refuse a volume whose voxels are not those that the patch expects.

    Args:
        patch: what is put in or taken out.
        target: where.
        resumed: what is there may be partly before and partly after.
        expected: "old" or "new".

    Raises:
        InputError: they are not.
    """
    accepted = ("old", "new") if resumed else (expected,)
    wrong: set[int] = set()
    finest = target.finer[0]
    for box, arrays in zip(patch.boxes, patch.arrays, strict=True):
        for part in finest.parts(box):
            found, at = _bits(finest.read(part)), relative(part, box)
            # Boxes of one section may share voxels, so each voxel is held against both.
            known = np.logical_or.reduce([found == _bits(arrays[name][at]) for name in accepted])
            wrong.update(part[0].start + k for k in np.flatnonzero(~known.all((1, 2))))
    if wrong:
        was = "the patch was made" if expected == "old" else "the patch was put in"
        held = spans(sorted(wrong))
        raise InputError(f"{target.path} changed since {was}: section(s) {held} hold other voxels; nothing was written")


def _bits(voxels: Array) -> Array:
    """Return voxels as whole numbers of the same size, so that NaN equals itself."""
    return np.ascontiguousarray(voxels).view(f"u{voxels.dtype.itemsize}")


@dataclass(frozen=True)
class _Job:
    """What is written into a Zarr, array by array."""

    patch: Patch
    target: Target
    names: tuple[str, ...]
    progress: Progress
    cancel: CancelToken | None

    @property
    def parts(self) -> list[tuple[str, list[Level]]]:
        """The levels of the volume and of everything that the patch knows of it."""
        return [("volume", self.target.finer), *((name, self.target.part(name)) for name in self.names)]

    def replaced(self) -> Iterator[tuple[str, Level, Block]]:
        """Yield the boxes of arrays that are replaced, each with a name; those of level 0 are in the patch."""
        for name, found in self.parts:
            for number, box in enumerate(self.patch.boxes):
                for k, level in enumerate(found):
                    box = coarser(box, level.steps, level.shape)
                    if _is_some(box) and (name != "volume" or k > 0):
                        yield f"{name}/{number}/{k}", level, box

    def absent(self) -> list[str]:
        """Return which marks the Zarr has no place for yet."""
        return [name for name in self.names if not self.target.part(name)]

    def keep(self, made: Sequence[str]) -> None:
        """Make room for marks, and keep what is replaced, unless it is kept already.

        Args:
            made: marks that the Zarr had no place for.
        """
        if not self.target.holds_parts:
            return
        kept = self.target.root.require_group(f"{PATCHES}/{self.patch.id}")
        complete = kept.attrs.get("complete")
        for name in made:
            if not (complete and self.target.is_whole(name)):  # nothing was written into it yet
                self.target.make_part(name)
        if complete:
            return
        keys: list[str] = []
        for name, level, box in self.replaced():
            _check(self.cancel)
            z, y, x = (cut.stop - cut.start for cut in box)
            array = create(kept, name, (z, y, x), CHUNK, np.dtype(level.array.dtype).newbyteorder("="), sparse=True)
            for part in level.parts(box):
                at = relative(part, box)
                array[at] = level.read(part)
                keys += stored_keys(array, at)
        self.target.sync(keys)
        kept.attrs["complete"] = True

    def put(self, which: str) -> int:
        """Write everything as it is after ("new") or was before ("old"), and return how many blocks.

        Raises:
            Cancelled: between blocks.
        """
        plan = list(self._blocks(which))
        keys: list[str] = []
        for done, (level, block, voxels) in enumerate(plan):
            _check(self.cancel)
            with undisturbed():
                keys += level.write(block, voxels())
            self.progress(done + 1, len(plan), "blocks written")
        self.target.sync(list(dict.fromkeys(keys)))
        return len(plan)

    def _blocks(self, which: str) -> Iterator[tuple[Level, Block, Callable[[], Array]]]:
        """Yield what is written: where, and how to get it; finer levels before coarser ones."""
        for name, found in self.parts:
            if not found:
                continue
            key = which if name == "volume" else name
            if name == "volume" or which == "new":
                for box, arrays in zip(self.patch.boxes, self.patch.arrays, strict=True):
                    for part in found[0].parts(box):
                        yield found[0], part, _reading(arrays[key], relative(part, box), found[0])
            if which == "new":
                yield from self._coarser(name, found)
        if which == "old" and self.target.holds_parts:
            yield from self._kept()

    def _coarser(self, name: str, found: list[Level]) -> Iterator[tuple[Level, Block, Callable[[], Array]]]:
        reduction = self.target.reduction(name)
        for number in range(len(self.patch.boxes)):
            box = self.patch.boxes[number]
            for finer, level in pairwise(found):
                box = coarser(box, level.steps, level.shape)
                for part in level.parts(box) if _is_some(box) else ():
                    yield level, part, _reducing(level, finer, part, reduction)

    def _kept(self) -> Iterator[tuple[Level, Block, Callable[[], Array]]]:
        """Yield what was replaced beside level 0; nothing where nothing was, since a stop came before."""
        place = f"{PATCHES}/{self.patch.id}"
        if place not in self.target.root or not self.target.root[place].attrs.get("complete"):
            return
        kept = self.target.root[place]
        for name, level, box in self.replaced():
            if name in kept:
                for part in level.parts(box):
                    yield level, part, _reading(kept[name], relative(part, box), level)


def _reading(array: Any, at: Block, level: Level) -> Callable[[], Array]:
    return lambda: np.asarray(array[at]).astype(level.array.dtype, copy=False)


def _reducing(level: Level, finer: Level, part: Block, reduction: Any) -> Callable[[], Array]:
    return lambda: coarse_block(finer.read, finer.shape, part, level.steps, reduction)


def _is_some(box: Block) -> bool:
    return all(cut.start < cut.stop for cut in box)


def _without(record: Mapping[str, Any] | None, patch: str) -> dict[str, Any] | None:
    """Return a record without the step of a patch."""
    if record is None:
        return None
    before = record.get("previous")
    if record.get("patch") == patch:
        return None if before is None else dict(before)
    if before is None:
        return dict(record)
    earlier = _without(before, patch)
    return {**{k: v for k, v in record.items() if k != "previous"}, **({"previous": earlier} if earlier else {})}


def _forget(target: Target, patch: str) -> None:
    """Remove what was kept for undoing a patch."""
    if not target.holds_parts or PATCHES not in target.root:
        return
    if f"{PATCHES}/{patch}" in target.root:
        del target.root[f"{PATCHES}/{patch}"]
    if not list(target.root[PATCHES].group_keys()):
        del target.root[PATCHES]


def _check(cancel: CancelToken | None) -> None:
    if cancel is not None:
        cancel.check()


def _answer(patch: Patch, target: Target, blocks: int) -> dict[str, Any]:
    """Return what was done, as a JSON object."""
    return {
        "patch": str(patch.path),
        "id": patch.id,
        "volume": str(target.path),
        "sections": patch.sections,
        "voxels": patch.voxels,
        "blocks": blocks,
        "levels_left": target.skipped,
        "patches": [entry["id"] for entry in target.log if entry["state"] == DONE],
    }
