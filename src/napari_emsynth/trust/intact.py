"""What must not serve as truth: sections that look damaged, found before anything is measured on a volume.

A hidden section that is missing or blank, a neighbour that slipped aside, or an overexposed sample of a volume's grey
levels would be taken for tissue by whatever is measured there: a self-check, the fit of a mix or an interval, an
evaluation, a lesson. So all of them ask here first, and leave out what is found.

Detection errs. Laws: where it names more than half of the sections it looked at, none of them is left out, and that is
said; a section that is missing is left out always; what a user names is his choice, and is no longer a matter of
detection; a volume is looked at only around the sections that matter (:func:`around`), be it lazy or in memory, and the
answer says where it was looked at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from napari_emsynth.chain import made_up
from napari_emsynth.grid import Shape
from napari_emsynth.sections import spans
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.detect import examine
from napari_emsynth.trust.rules import Kind
from napari_emsynth.volume import Volume

# Sections on each side of one that matters; fewer of large ones, but no fewer than it takes to tell damage.
SIDE, LEAST_SIDE = 24, 12
# Voxels around one section that matters.
ENOUGH = 1 << 25
# A section of which earlier steps made up more than this share is no truth.
SYNTHETIC = 0.5
# A false alarm must not be costly: no more than this share of the sections is ever left out.
MOST = 0.5


@dataclass(frozen=True, kw_only=True)
class LeftOut:
    """The sections of a volume that are left out of what is measured on it.

    Args:
        kinds: what seems to be wrong with each, by section.
        spared: how many look damaged and are not left out, being more than half of those that are not missing; 0 as a
            rule.
        looked: sections that were looked at.
    """

    kinds: Mapping[int, Kind] = field(default_factory=dict)
    spared: int = 0
    looked: tuple[int, ...] = ()

    def __contains__(self, section: object) -> bool:
        return section in self.kinds

    @property
    def sections(self) -> frozenset[int]:
        """Which they are."""
        return frozenset(self.kinds)

    def shifted(self, by: int) -> LeftOut:
        """Return the same of a volume in which every section lies ``by`` sections further on."""
        kinds = {section + by: kind for section, kind in self.kinds.items()}
        return replace(self, kinds=kinds, looked=tuple(z + by for z in self.looked))

    def notices(self, of: str) -> list[str]:
        """Return what the user must know, a line each.

        Args:
            of: what they are left out of, such as "the self-check".
        """
        if self.spared:
            said = f"{self.spared} of {len(self.looked)} sections look damaged: that is more than half"
            rest = replace(self, spared=0).notices(of)
            return [f"{said}, so none is left out of {of}; emsynth detect says why", *rest]
        if not self.kinds:
            return []
        kinds = set(self.kinds.values())
        words = [f"are {kind}" for kind in ("missing", "synthetic") if kind in kinds]
        words += ["look damaged"] if kinds != {"missing"} else []
        return [f"section(s) {self.told} {' or '.join(words)}: left out of {of}"]

    @property
    def told(self) -> str:
        """The sections with what is wrong with them, such as ``22-23 (blank), 40 (displaced)``."""
        by_kind: dict[Kind, list[int]] = {}
        for section, kind in sorted(self.kinds.items()):
            by_kind.setdefault(kind, []).append(section)
        return ", ".join(f"{spans(sections)} ({kind})" for kind, sections in by_kind.items())

    def to_json(self) -> dict[str, Any]:
        """Return what records and reports say: the sections, and where they were looked for."""
        sections = [{"section": z, "kind": kind} for z, kind in sorted(self.kinds.items())]
        return {"sections": sections, "spared": self.spared, "looked_at": spans(self.looked)}


NOTHING = LeftOut()
"""Nothing was looked for."""


def left_out(
    volume: Volume,
    matter: Iterable[int] | None = None,
    *,
    runtime: Runtime = Runtime(),
    named: Collection[int] = (),
    kinds: Collection[Kind] | None = None,
) -> LeftOut:
    """Return the sections of a volume that look damaged.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        matter: sections around which they are wanted; None for the whole volume.
        runtime: told how far the search is, asked whether to go on.
        named: sections that the user has decided about.
        kinds: of damage that count; None for all.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    count = volume.shape[0]
    wanted = range(count) if matter is None else sorted({int(z) for z in matter if 0 <= z < count})
    side = side_of(volume.shape)
    while True:
        looked = around(wanted, side, count)
        found = {
            suspect.section: suspect.kind
            for run in looked
            for suspect in examine(volume, progress=runtime.progress, cancel=runtime.cancel, sections=run)[0]
            if suspect.section not in named and (kinds is None or suspect.kind in kinds)
        }
        seen = tuple(z for run in looked for z in run)
        missing = {z: kind for z, kind in found.items() if kind == "missing"}
        doubtful = len(found) - len(missing)
        if doubtful <= MOST * (len(seen) - len(missing)):
            return LeftOut(kinds=found | _made_up(volume, seen, named, kinds), looked=seen)
        if len(seen) == count:
            return LeftOut(kinds=missing, spared=doubtful, looked=seen)
        # A long run of lost sections fills a window, though not the volume.
        side *= 2


def _made_up(
    volume: Volume, looked: Collection[int], named: Collection[int], kinds: Collection[Kind] | None
) -> dict[int, Kind]:
    """Return the sections that earlier steps made up; none where they made up most of what is looked at."""
    if kinds is not None and "synthetic" not in kinds:
        return {}
    found: dict[int, Kind] = {z: "synthetic" for z in looked if z not in named and made_up(volume, z) > SYNTHETIC}
    return found if len(found) <= MOST * len(looked) else {}


def side_of(shape: Shape) -> int:
    """Return how many sections are looked at on each side of one that matters."""
    return int(np.clip(ENOUGH // (2 * shape[1] * shape[2]), LEAST_SIDE, SIDE))


def around(sections: Iterable[int], side: int, count: int) -> list[range]:
    """Return the runs of sections within ``side`` of some, in order, none touching the next.

    Args:
        sections: in order.
        side: most sections away.
        count: of the volume.
    """
    runs: list[range] = []
    for z in sections:
        first, stop = max(0, z - side), min(count, z + side + 1)
        if runs and first <= runs[-1].stop:
            runs[-1] = range(runs[-1].start, max(stop, runs[-1].stop))
        else:
            runs.append(range(first, stop))
    return runs


def nearest_to_middle(count: int, most: int, without: Collection[int] = ()) -> list[int]:
    """Return the sections nearest to the middle of a stack, in order.

    Args:
        count: of the stack.
        most: sections to return.
        without: sections that are passed over.

    Returns:
        Where nothing is passed over, those of :func:`napari_emsynth.methods.blocks.middle`.
    """
    first = max(0, (count - most) // 2)
    centre = first + (min(most, count) - 1) / 2
    usable = [z for z in range(count) if z not in without]
    return sorted(sorted(usable, key=lambda z: abs(z - centre))[:most])
