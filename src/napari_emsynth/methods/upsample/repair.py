"""Damaged sections are repaired on the way, not spread over the new ones.

A damaged section is synthesised by ``interpolate/emsynth`` from its nearest intact neighbours, when and where it is
read; upsampling then takes it as if it had been acquired, marks what it becomes as made up, and carries its uncertainty
on. Laws: intact sections are read as they are; a voxel of a repaired section does not depend on what it is read with;
memory does not grow with the volume; a repaired volume can be pickled.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.interpolate.job import Drawn, Job
from napari_emsynth.methods.interpolate.plan import Marks, Repair, plan_repairs
from napari_emsynth.methods.request import weights_of, weights_record
from napari_emsynth.methods.upsample.lattice import LEAST_SECTIONS
from napari_emsynth.sections import check_sections, spans
from napari_emsynth.spec import Runtime, no_progress
from napari_emsynth.trust.detect import uninformative
from napari_emsynth.trust.intact import NOTHING, LeftOut, left_out
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.serving import everywhere
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Float, Volume

# The method that repairs.
METHOD = "emsynth"
# Repaired sections are drawn in tiles of this edge; so many are remembered: neighbouring blocks read them again.
TILE, REMEMBERED = 1024, 32

Tile = tuple[int, int, int]


@dataclass(frozen=True)
class Damage:
    """Sections that are to be repaired, and those that only look as if they should be.

    Args:
        why: sections to be repaired, and why.
        found: others that look damaged: they stay as they are, but nothing is measured on them.
    """

    why: Mapping[int, str]
    found: LeftOut = NOTHING

    @property
    def unfit(self) -> frozenset[int]:
        """Sections that are no truth."""
        return frozenset(self.why) | self.found.sections

    @property
    def all_repaired(self) -> Damage:
        """The same where all are to be repaired, as they are where something is measured."""
        return Damage({**self.found.kinds, **self.why})

    @property
    def notices(self) -> list[str]:
        """What the user must know, a line each."""
        by_reason: dict[str, list[int]] = {}
        for section, why in self.why.items():
            by_reason.setdefault(why, []).append(section)
        return [
            f"{'section' if len(sections) == 1 else 'sections'} {spans(sections)} ({why}) repaired before the rest"
            for why, sections in by_reason.items()
        ] + self.found.notices("what is measured on this volume; name them as damaged to have them repaired")


def find_damage(
    volume: Volume, asked: str | Sequence[int] | int | None, runtime: Runtime, measured: Iterable[int] = ()
) -> Damage:
    """Return which sections are to be repaired, and which others look damaged.

    Args:
        volume: [z, y, x].
        asked: sections, or a list of them as text such as "12,40-42"; empty where none is damaged; None for those
            without any information of their own.
        runtime: told how far the search is, asked whether to go on.
        measured: sections that something will be measured on.

    Raises:
        InputError: no such section, or fewer than two that are left.
        Cancelled: after ``runtime.cancel``.
    """
    count = volume.shape[0]
    if asked is None:
        found = uninformative(volume, progress=runtime.progress, cancel=runtime.cancel)
        why: dict[int, str] = {suspect.section: suspect.kind for suspect in found}
    else:
        why = dict.fromkeys(check_sections(asked, count, "damaged"), "named")
        if not why:
            return Damage({})
    if why and count - len(why) < LEAST_SECTIONS:
        raise InputError(
            f"{len(why)} of {count} sections are damaged: at least {LEAST_SECTIONS} intact sections are needed"
        )
    return Damage(why, left_out(volume, {*why, *measured}, runtime=runtime, named=why))


class Mended:
    """[z, y, x] A volume's voxels, its damaged sections drawn as they are read.

    Args:
        job: draws the repairs.
        repairs: by section of the volume.
    """

    ndim = 3

    def __init__(self, job: Job, repairs: Mapping[int, Repair]) -> None:
        self.job, self.repairs = job, dict(repairs)
        self.shape, self.dtype = job.volume.shape, job.volume.dtype
        self._forget()

    def __getstate__(self) -> dict[str, Any]:
        return {"job": self.job, "repairs": self.repairs}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["job"], state["repairs"])  # type: ignore[misc]

    def _forget(self) -> None:
        self._tiles: OrderedDict[Tile, Drawn] = OrderedDict()
        self._lock = Lock()

    def __getitem__(self, key: tuple[slice, slice, slice]) -> Array:
        z, y, x = (slice(*s.indices(n)) for s, n in zip(key, self.shape, strict=True))
        block = self.job.volume.read(z, y, x)
        inside = [section for section in self.repairs if z.start <= section < z.stop]
        if inside:
            block = block.copy()
        for section in inside:
            block[section - z.start] = self._drawn(section, y, x, lambda tile: tile.values)
        return block

    def half_width(self, section: int, y: slice, x: slice) -> Float:
        """Return the half width [y, x] of the 90 % interval of a repaired section, in source units."""
        return self._drawn(section, y, x, lambda tile: tile.half)

    def empty_in(self, z: int, y: slice, x: slice) -> Mask | None:
        """Return where a window of a section is empty: [y, x]; of a repaired one, where nothing served."""
        source = Emptiness(self.job.volume)
        if z not in self.repairs:
            return source.section(z, y, x)
        repair = self.repairs[z]
        return everywhere(source.section(near, y, x) for near in (repair.below, repair.above) if near is not None)

    def _drawn(self, section: int, y: slice, x: slice, part: Callable[[Drawn], Array]) -> Array:
        """Put a window of a repaired section together from tiles."""
        rows = []
        for ty in range(y.start // TILE, -(-y.stop // TILE)):
            row = []
            for tx in range(x.start // TILE, -(-x.stop // TILE)):
                cut = (_shared(y, ty), _shared(x, tx))
                row.append(part(self._tile((section, ty, tx)))[cut])
            rows.append(np.concatenate(row, axis=1))
        return np.concatenate(rows)

    def _tile(self, key: Tile) -> Drawn:
        with self._lock:
            if key in self._tiles:
                self._tiles.move_to_end(key)
                return self._tiles[key]
        section, ty, tx = key
        _, height, width = self.shape
        window = (slice(ty * TILE, min(height, (ty + 1) * TILE)), slice(tx * TILE, min(width, (tx + 1) * TILE)))
        drawn = self.job.render(self.repairs[section], window, None, self.job.runtime)
        with self._lock:
            self._tiles[key] = drawn
            while len(self._tiles) > REMEMBERED:
                self._tiles.popitem(last=False)
        return drawn


def _shared(wanted: slice, tile: int) -> slice:
    """Return the part of a tile, from its own start on, that is wanted."""
    start = tile * TILE
    return slice(max(wanted.start - start, 0), min(wanted.stop - start, TILE))


def mended(volume: Volume, damage: Damage, runtime: Runtime) -> Volume:
    """Return the volume with its damaged sections repaired as they are read; the volume itself when none is."""
    if not damage.why:
        return volume
    spec = get("interpolate", METHOD)
    quiet = replace(runtime, progress=no_progress)
    marks = Marks(volume.shape, set(damage.why), {}, suspects=damage.found.kinds)
    job = Job(volume, None, marks, METHOD, spec.params(), weights_of(spec, None), quiet)
    job.built()
    repairs = plan_repairs(marks, range(volume.shape[0]))
    return replace(volume, data=Mended(job, {repair.section: repair for repair in repairs}))


def mended_data(volume: Volume) -> Mended | None:
    """Return what draws a volume's repaired sections; None of a volume without any."""
    return volume.data if isinstance(volume.data, Mended) else None


def records(volume: Volume, damage: Damage) -> dict[str, Any]:
    """Return what a provenance record says of the damaged sections of the input, and of who repaired them."""
    data, left = mended_data(volume), damage.found.to_json()
    if data is None:
        return {"repaired": [], "repaired_by": None, "left_out": left}
    repaired = [
        {"section": z, "why": damage.why[z], "below": repair.below, "above": repair.above, "t": repair.t}
        for z, repair in data.repairs.items()
    ]
    spec = get("interpolate", METHOD)
    return {
        "repaired": repaired,
        "repaired_by": {"method": spec.name, "weights": weights_record(spec, data.job.weights)},
        "left_out": left,
    }
