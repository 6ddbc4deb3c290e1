"""The filter of a gap, fitted on the open volume itself where the same gap can be posed.

A *place* is an intact section whose own neighbours at the gap's distances are intact too. The filter of
:mod:`napari_emsynth.models.fitted_filter` is fitted on places around it; leaving each out in turn chooses its ridge,
and whether the far sections serve at all. Where fewer than two places are there the filter that was fitted on other
tissue stands in, and where that knows no such gap either, linear interpolation: :attr:`Fit.source` says which.

The size of the error follows how far the nearest sections disagree (both measured on places left out)::

    scale(p) = a + b G_3 * |below - above| (p),   a, b >= 0                    (1)

Conventions: everything is normalised a section. Law: what is fitted for a gap does not depend on who draws it, nor on
how its window is cut into blocks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from typing import Literal

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter
from scipy.optimize import nnls

from napari_emsynth.methods.interpolate.plan import Marks, Window, middle
from napari_emsynth.methods.interpolate.protocol import Gap
from napari_emsynth.methods.interpolate.tissue import Tissue
from napari_emsynth.models.fitted_filter import (
    TAPS,
    Equations,
    Offsets,
    apply,
    best_ridge,
    equations,
    linear_taps,
    near_offsets,
    solve,
    taps_of,
)
from napari_emsynth.trust.intact import SIDE
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.remembered import memory, prints
from napari_emsynth.trust.selfcheck import LAPLACE, covering_factor
from napari_emsynth.volume import Float

Source = Literal["volume", "bundled", "linear"]

# Places a fit uses, how far from the gap they are looked for (as far as damaged sections are), and the least it needs.
PLACES, REACH, LEAST_PLACES = 24, SIDE, 2
# A fit looks at a window of at most this edge around the gap, and at about this many px of each place.
EDGE, PLACE_PX = 512, 10_000
# Places whose equations are remembered of a volume; each takes 0.3 MB.
REMEMBERED = 120
# Places and edge of the window on which the size of the error is learned.
LAW_PLACES, LAW_EDGE = 3, 256
# Width of G in (1), px.
LAW_BLUR_PX = 3.0
# Fewer px than this many a tap say nothing: the filter of other tissue is better.
PX_A_TAP = 4
# Root mean square error of linear interpolation where nothing is known of it, normalised units.
UNKNOWN_ERROR = 0.5
# Filters fitted on other tissue: their method and name, the longest span they know, and what their errors are called.
NAME, BUNDLED, LONGEST, ERROR = "interpolate/fitted", "bundled", 8, "/error"


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A filter for one gap.

    Args:
        offsets: of the sections it was fitted for.
        taps: [s, TAPS, TAPS] in their order; 0 of sections that do not serve.
        error: root mean square error on places left out, normalised units.
        law: a and b of (1).
        factor: from (1) to the half width of the 90 % interval.
        places: of the open volume it was fitted on; 0 of the others.
        source: "volume", "bundled" (fitted on other tissue) or "linear".
    """

    offsets: Offsets
    taps: Float
    error: float
    law: tuple[float, float] = (1.0, 0.0)
    factor: float = LAPLACE
    places: int = 0
    source: Source = "linear"

    def mean(self, gap: Gap) -> Float:
        """Return the filter's answer: [y, x] normalised."""
        return apply(self.taps, gap.known())

    def answer(self, sections: Mapping[int, Float]) -> Float:
        """Return the filter's answer to sections [y, x] by their offsets: [y, x] normalised."""
        return apply(self.taps, np.stack([sections[o] for o in self.offsets]))

    def scale(self, gap: Gap) -> Float:
        """Return (1): [y, x] normalised."""
        return _scale(self.law, gap.below, gap.above)

    def told(self) -> dict[str, object]:
        """Return what a record says of it."""
        served = [o for o, taps in zip(self.offsets, self.taps, strict=True) if taps.any()]
        return {"source": self.source, "places": self.places, "offsets": served, "rms_error": round(self.error, 4)}


def _scale(law: tuple[float, float], below: Float, above: Float) -> Float:
    apart = gaussian_filter(np.abs(below - above), LAW_BLUR_PX)
    return np.asarray(law[0] + law[1] * apart, dtype=np.float32)


def substitute(offsets: Offsets) -> Fit:
    """Return the filter that was fitted on other tissue, or linear interpolation where it knows no such gap."""
    for known in (offsets, near_offsets(offsets)):
        if known in bundled():
            taps, error = bundled()[known]
            whole = np.zeros((len(offsets), TAPS, TAPS), np.float32)
            whole[[offsets.index(o) for o in known]] = taps
            return Fit(offsets=offsets, taps=whole, error=error, source="bundled")
    return Fit(offsets=offsets, taps=linear_taps(offsets), error=UNKNOWN_ERROR)


@lru_cache(maxsize=1)
def bundled() -> dict[Offsets, tuple[Float, float]]:
    """Return the filters fitted on other tissue, [s, TAPS, TAPS], and their errors, by offsets.

    Raises:
        InputError: the bundled file is damaged.
    """
    from napari_emsynth.weights import store

    tensors, _ = store.load(NAME, BUNDLED)
    return {
        tuple(int(o) for o in name.split(",")): (tensors[name].numpy(), float(tensors[f"{name}{ERROR}"]))
        for name in tensors
        if not name.endswith(ERROR)
    }


def bundled_offsets() -> list[Offsets]:
    """Return which gaps the bundled filters are made for: runs, coarser stacks, ends; four sections and two."""
    both = [(-below, above) for below in range(1, LONGEST) for above in range(1, LONGEST + 1 - below)]
    runs = [(-1 + below, below, above, above + 1) for below, above in both]
    coarser = [(-2 * d, -d, d, 2 * d) for d in range(1, LONGEST // 2 + 1)]
    ends = [side for d in range(1, LONGEST) for side in ((-d,), (d,), (-d - 1, -d), (d, d + 1))]
    return list(dict.fromkeys([*both, *runs, *coarser, *ends]))


@dataclass
class Fitter:
    """Fits the gaps of one volume, each once; the equations of its places are remembered as long as the volume lives.

    Args:
        tissue: of the volume.
        marks: which sections are intact.
    """

    tissue: Tissue
    marks: Marks
    _fits: dict[tuple[int, ...], Fit | None] = field(default_factory=dict)

    def fit(self, offsets: Offsets, start: int, window: Window, without: int | None = None) -> Fit:
        """Return the filter of a gap: :meth:`own`, or what stands in where there is none; the arguments are its."""
        return self.own(offsets, start, window, without) or substitute(offsets)

    def own(self, offsets: Offsets, start: int, window: Window, without: int | None = None) -> Fit | None:
        """Return the filter of a gap fitted on the volume itself; None where it has too few places.

        Args:
            offsets: of the known sections from the wanted one.
            start: the section around which places are looked for, nearest first.
            window: of the gap.
            without: a section that may not serve as truth: it is about to be scored.
        """
        view = middle(window, EDGE)
        key = (start, -1 if without is None else without, *_flat(view), *offsets)
        if key not in self._fits:
            self._fits[key] = self._fitted(offsets, start, view, without)
        return self._fits[key]

    def _fitted(self, offsets: Offsets, start: int, view: Window, without: int | None) -> Fit | None:
        if min(s.stop - s.start for s in view) < TAPS:
            return None
        for chosen in dict.fromkeys((offsets, near_offsets(offsets))):
            places = [k for k in self.places(chosen, start, view) if k != without]
            posed = {k: self._equations(k, chosen, view) for k in places}
            places = [k for k in places if posed[k].count]
            known = [posed[k] for k in places]
            if len(known) >= LEAST_PLACES and sum(e.count for e in known) >= PX_A_TAP * len(chosen) * TAPS**2:
                return self._solved(offsets, chosen, places, known, view)
        return None

    def places(self, offsets: Offsets, start: int, window: Window) -> list[int]:
        """Return places spread over the sections around ``start``; of two equally far ones both or none.

        Sections next to each other show the same tissue: spread out, as many teach more.
        """
        found: list[list[int]] = []
        for d in range(REACH + 1):
            here = [k for k in sorted({start - d, start + d}) if self._serves(k, offsets, start, window)]
            if here:
                found.append(here)
        count = min(len(found), PLACES // 2)
        chosen = [found[int((n + 0.5) * len(found) / count)] for n in range(count)]
        return sorted(k for here in chosen for k in here)

    def _serves(self, k: int, offsets: Offsets, start: int, window: Window) -> bool:
        """True when a section and its neighbours are intact, and no further away than damage was looked for."""
        needed = (k, *(k + o for o in offsets))
        return all(abs(z - start) <= REACH and self.marks.intact(z, window) for z in needed)

    def _equations(self, k: int, offsets: Offsets, view: Window) -> Equations:
        volume = self.tissue.volume
        key, known = (k, *_flat(view), *offsets), memory(volume, "equations", REMEMBERED)
        looked = range(min(k, k + offsets[0]), max(k, k + offsets[-1]) + 1)
        seen = tuple(prints(volume, looked).values())
        found: Equations | None = known.get(key, seen)
        if found is None:
            area = (view[0].stop - view[0].start) * (view[1].stop - view[1].start)
            step = max(1, round(math.sqrt(area / PLACE_PX)))
            sections, truth, empty = self._place(k, offsets, view)
            spoilt = None if empty is None else binary_dilation(empty, np.ones((TAPS, TAPS), bool))
            found = equations(sections, truth, step, spoilt)
            known.put(key, seen, found)
        return found

    def _place(self, k: int, offsets: Offsets, view: Window) -> tuple[Float, Float, Mask | None]:
        """Return a place: its known sections [s, y, x], its truth [y, x], and where any of them is empty."""
        seen = self.tissue.seen({o: k + o for o in offsets}, view)
        pixels = self.tissue.volume.section(k, *view)
        empty, own = seen.touched(offsets), self.tissue.emptiness.section(k, *view, pixels=pixels)
        if own is not None:
            empty = own if empty is None else empty | own
        return np.stack([seen.images[o] for o in offsets]), self.tissue.norm(k).forward(pixels), empty

    def _solved(
        self, asked: Offsets, offsets: Offsets, places: Sequence[int], known: list[Equations], view: Window
    ) -> Fit:
        """Solve for all sections or the near ones only, as is better on places left out."""
        best: tuple[float, float, Offsets, list[Equations]] | None = None
        for chosen in dict.fromkeys((offsets, near_offsets(offsets))):
            some = [e.of(_columns(offsets, chosen)) for e in known]
            ridge, error = best_ridge(some, chosen)
            if best is None or error < best[1]:
                best = ridge, error, chosen, some
        assert best is not None
        ridge, error, chosen, some = best
        total = reduce(Equations.__add__, some)
        law, factor = self._law(chosen, places, some, ridge, view)
        taps = np.zeros((len(asked), TAPS, TAPS), np.float32)
        taps[[asked.index(o) for o in chosen]] = taps_of(solve(total, chosen, ridge))
        return Fit(
            offsets=asked, taps=taps, error=math.sqrt(error), law=law, factor=factor,
            places=len(places), source="volume",
        )  # fmt: skip

    def _law(
        self, offsets: Offsets, places: Sequence[int], known: list[Equations], ridge: float, view: Window
    ) -> tuple[tuple[float, float], float]:
        """Return a and b of (1), and the factor of the interval, from errors on places left out."""
        small = middle(view, LAW_EDGE)
        total = reduce(Equations.__add__, known)
        errors, apart = [], []
        for n in np.unique(np.linspace(0, len(places) - 1, LAW_PLACES).round().astype(int)):
            near, truth, empty = self._place(places[n], offsets, small)
            counts = np.ones(truth.shape, bool) if empty is None else ~empty
            below, above = (near[offsets.index(o)] for o in (near_offsets(offsets)[0], near_offsets(offsets)[-1]))
            taps = taps_of(solve(total - known[n], offsets, ridge))
            errors.append(np.abs(truth - apply(taps, near))[counts])
            apart.append(_scale((0.0, 1.0), below, above)[counts])
        error, distance = np.concatenate(errors).astype(np.float64), np.concatenate(apart).astype(np.float64)
        if not error.size:
            return (1.0, 0.0), LAPLACE
        (a, b), _ = nnls(np.stack((np.ones_like(distance), distance), axis=1), error)
        if not a + b > 0:
            return (1.0, 0.0), 0.0
        scales = (a + b * distance).astype(np.float32)
        return (float(a), float(b)), covering_factor(error.astype(np.float32), scales)


def _flat(window: Window) -> list[int]:
    return [n for s in window for n in (s.start, s.stop)]


def _columns(offsets: Offsets, chosen: Offsets) -> list[int]:
    """Return the columns of ``chosen`` among those of ``offsets``."""
    return [offsets.index(o) * TAPS**2 + n for o in chosen for n in range(TAPS**2)]
