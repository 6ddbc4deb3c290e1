"""Which acquired sections serve which missing one.

Conventions: ``section`` counts in the output, ``below`` and ``above`` in the input. An output section is acquired,
replaced, inserted, or masked (part of it replaced). Laws: a neighbour is never itself marked, inside the window that
it serves; one that looks damaged serves only where no other can.

Whether a poor neighbour is better than a far one was measured on the bundled sample, one damaged section beside the one
that is repaired (dB): an intact section 2 to 10 sections away, instead of 1, gives 30.9 to 28.9; a blurred one next to
it 28.8, a half-missing one 25.7, a displaced one 20.3, a saturated one 13.8. So a blurred one serves where no other is
within :data:`REACH`, and the rest only where there is nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.ndimage import binary_dilation, find_objects, label

from napari_emsynth.chain import marked
from napari_emsynth.errors import InputError
from napari_emsynth.spec import CancelToken
from napari_emsynth.trust.rules import Kind
from napari_emsynth.volume import Array, Volume

Treatment = Literal["replaced", "inserted", "masked"]
Window = tuple[slice, slice]

# Damaged regions closer than this are repaired together: they share their surroundings.
MERGE_PX = 16
# A far section this much further away than the near one says nothing more.
FAR_REACH = 8
# Sections that look like this show tissue all the same, though not as it was.
SPARE: tuple[Kind, ...] = ("noisy", "blurred", "synthetic")
# An intact neighbour is preferred to one of those if it is among so many sections: runs of up to seven are filled.
REACH = 8


@dataclass(frozen=True, kw_only=True)
class Repair:
    """One window of one section to be synthesised.

    Args:
        section: index in the output.
        treatment: whole section replaced or inserted, or a masked part of it.
        window: rows and columns.
        source: index in the input of the section itself; None when inserted.
        below: index in the input of the nearest usable section below; None when there is none.
        above: the same above. At least one of the two is known.
        t: position between them, in (0, 1); 0.5 when one-sided.
        span: sections of the output from below to above; twice the distance when one-sided.
        known: input sections that serve, by their offset from ``section`` in the output; the nearest usable one on each
            side, and the next one after it where it is in reach.
    """

    section: int
    treatment: Treatment
    window: Window
    source: int | None
    below: int | None
    above: int | None
    t: float
    span: int
    known: Mapping[int, int]

    @property
    def offsets(self) -> tuple[int, ...]:
        """Of the sections that serve, in order, negative below."""
        return tuple(sorted(self.known))


def regions(mask: Array) -> list[Window]:
    """Return the windows [y, x] of the separate damaged regions of one section's mask (merged when close)."""
    near = binary_dilation(mask, iterations=MERGE_PX // 2) if mask.any() else mask
    labels, count = label(near)
    windows = []
    for window in find_objects(labels, count):
        rows, columns = np.nonzero(mask[window])
        y, x = window[0].start, window[1].start
        windows.append((slice(y + rows.min(), y + rows.max() + 1), slice(x + columns.min(), x + columns.max() + 1)))
    return windows


def masked_regions(mask: Volume, cancel: CancelToken) -> dict[int, list[Window]]:
    """Return the damaged regions of every section that has any, reading one section at a time."""
    found = {}
    for z in range(mask.shape[0]):
        cancel.check()
        windows = regions(marked(mask.section(z)))
        if windows:
            found[z] = windows
    return found


def middle(window: Window, edge: int) -> Window:
    """Return the middle of a window, at most ``edge`` px along each axis."""
    y, x = (
        slice(s.start, s.stop)
        if s.stop - s.start <= edge
        else slice((s.start + s.stop - edge) // 2, (s.start + s.stop + edge) // 2)
        for s in window
    )
    return y, x


def overlap(a: Window, b: Window) -> bool:
    """True when two windows share a pixel."""
    return all(p.start < q.stop and q.start < p.stop for p, q in zip(a, b, strict=True))


def always(z: int) -> bool:  # noqa: ARG001 - asked once a section
    """Every section may serve."""
    return True


class Marks:
    """What of the input is marked, and which sections may serve as neighbours.

    Args:
        shape: of the input.
        replaced: sections wholly marked.
        regions: marked windows of other sections.
        usable: asked once a section whether its values can serve at all.
        suspects: unmarked sections that look damaged.
    """

    def __init__(
        self,
        shape: tuple[int, int, int],
        replaced: set[int],
        regions: dict[int, list[Window]],
        usable: Callable[[int], bool] = always,
        suspects: Mapping[int, Kind] | None = None,
    ) -> None:
        self.shape, self.replaced, self.regions, self._usable = shape, replaced, regions, usable
        self.suspects: Mapping[int, Kind] = suspects or {}
        self._asked: dict[int, bool] = {}

    def intact(self, z: int, window: Window) -> bool:
        """True when section ``z`` exists, is unmarked inside the window, is usable, and does not look damaged."""
        return z not in self.suspects and self.can_serve(z, window)

    def can_serve(self, z: int, window: Window) -> bool:
        """True when section ``z`` exists, is unmarked inside the window, and is usable."""
        if not 0 <= z < self.shape[0] or z in self.replaced:
            return False
        if any(overlap(window, other) for other in self.regions.get(z, ())):
            return False
        if z not in self._asked:
            self._asked[z] = self._usable(z)
        return self._asked[z]

    def nearest_intact(self, start: int, step: int, window: Window) -> int | None:
        """Return the section that serves best from ``start`` on, going by ``step``; None when there is none.

        The first intact one; a blurred or synthetic one where no intact one is among the first :data:`REACH`.
        """
        spare: int | None = None
        for z in self._from(start, step):
            if self.intact(z, window):
                return z
            if spare is None and self.suspects.get(z) in SPARE and self.can_serve(z, window):
                spare = z
            if spare is not None and abs(z - start) >= REACH - 1:
                return spare
        return spare

    def any(self, start: int, step: int, window: Window) -> int | None:
        """Return the first section from ``start`` on, going by ``step``, that can serve, damaged as it may look."""
        return next((z for z in self._from(start, step) if self.can_serve(z, window)), None)

    def _from(self, start: int, step: int) -> range:
        return range(start, self.shape[0] if step > 0 else -1, step)


def output_order(count: int, inserted: Sequence[int]) -> list[int | None]:
    """Return for every output section its input index, or None where a section is inserted before an input one."""
    order: list[int | None] = []
    for z in range(count):
        order += [None] * inserted.count(z)
        order.append(z)
    return order


def plan_repairs(marks: Marks, order: Sequence[int | None]) -> list[Repair]:
    """Return every repair, in output order.

    Args:
        marks: what is marked and what may serve.
        order: for every output section its input index, or None (see :func:`output_order`).

    Raises:
        InputError: nothing is marked, or no intact section is left to repair one from.
    """
    place = {z: k for k, z in enumerate(order) if z is not None}
    whole: Window = (slice(0, marks.shape[1]), slice(0, marks.shape[2]))
    repairs = []
    for k, z in enumerate(order):
        if z is None:
            repairs.append(_repair(marks, place, order, k, "inserted", whole))
        elif z in marks.replaced:
            repairs.append(_repair(marks, place, order, k, "replaced", whole))
        else:
            repairs += [_repair(marks, place, order, k, "masked", w) for w in marks.regions.get(z, ())]
    if not repairs:
        raise InputError("nothing is marked: name at least 1 section, or give a mask with a non-zero voxel")
    return repairs


def _repair(
    marks: Marks, place: dict[int, int], order: Sequence[int | None], k: int, treatment: Treatment, window: Window
) -> Repair:
    source = order[k]
    first_above = next((z for z in order[k + 1 :] if z is not None), marks.shape[0])
    last_below = next((z for z in reversed(order[:k]) if z is not None), -1)
    below = marks.nearest_intact(last_below, -1, window)
    above = marks.nearest_intact(first_above, 1, window)
    if below is None and above is None:
        below, above = marks.any(last_below, -1, window), marks.any(first_above, 1, window)
    t = 0.5
    if below is not None and above is not None:
        span = place[above] - place[below]
        t = (k - place[below]) / span
    elif below is not None:
        span = 2 * (k - place[below])
    elif above is not None:
        span = 2 * (place[above] - k)
    else:
        raise InputError(
            f"section {k} cannot be repaired: all {marks.shape[0]} sections are marked or unusable there, "
            "at least 1 intact section is needed"
        )
    known = {place[z] - k: z for z in (below, above) if z is not None}
    for near, step in ((below, -1), (above, 1)):
        far = None if near is None else marks.nearest_intact(near + step, step, window)
        if near is not None and far is not None and abs(place[far] - place[near]) <= FAR_REACH:
            known[place[far] - k] = far
    return Repair(
        section=k, treatment=treatment, window=window, source=source, below=below, above=above, t=t, span=span,
        known=known,
    )  # fmt: skip
