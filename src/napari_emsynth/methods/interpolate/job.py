"""One interpolation job: reads windows of neighbours, runs the method, checks itself, renders sections.

Conventions: a block is a window of one output section; it is read with the method's halo, clipped to the section and
starting at a multiple of :data:`ALIGN` px, so that a network with strides sees the same phase in every block. Law: a
job can be pickled and sent to another process; the built method is made anew there, once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from scipy.ndimage import gaussian_filter

from napari_emsynth.chain import marked
from napari_emsynth.io.atomic import digest
from napari_emsynth.methods import get
from napari_emsynth.methods.interpolate.fit import Fit, Fitter, substitute
from napari_emsynth.methods.interpolate.plan import Marks, Repair, Window, middle
from napari_emsynth.methods.interpolate.protocol import Gap, Interpolator, LinearBase, Synthesis
from napari_emsynth.methods.interpolate.seams import harmonise
from napari_emsynth.methods.interpolate.tissue import Seen, Tissue
from napari_emsynth.methods.request import built, portable
from napari_emsynth.models.fitted_filter import Offsets, near_offsets, sides
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.options import LookName
from napari_emsynth.params import Params
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.look import REACH as LOOK_REACH, Hidden, look_of
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.remembered import memory, prints
from napari_emsynth.trust.selfcheck import Calibration, Sample, SelfCheck, check, intensity_range, mixed
from napari_emsynth.trust.validity import Emptiness
from napari_emsynth.volume import Array, Float, Volume

# Blocks start at multiples of this.
ALIGN = 64
# Larger sections are rendered in blocks of this edge, so that memory does not grow with the section.
BLOCK = 2048
# A self-check looks at a window of at most this edge, around the middle of the repair. With its halo that is a quarter
# of a section of 1024 x 1024, and 300 000 px of two sections are plenty for a mean, a quantile and four shares.
CHECK_EDGE = 384
# Hidden sections a self-check uses.
CHECK_COUNT = 2
# A rival with less than this share of the mix is left out.
NEGLIGIBLE = 0.02
# How far from the repair hidden sections are looked for, and how much of their window may be empty.
CHECK_REACH, MOST_EMPTY = 64, 0.5


@dataclass(frozen=True)
class Drawn:
    """A window of a repair, [y, x] each.

    Args:
        values: in the source's dtype.
        half: half width of the 90 % interval in source units; 0 where nothing was made up.
        synthetic: uint8, 1 where a pixel was made up.
        empty: uint8, 1 where all that serve are empty: the values are theirs.
    """

    values: Array
    half: Float
    synthetic: Array
    empty: Array

    def onto(self, values: Array, half: Array, synthetic: Array) -> None:
        """Write what was drawn into arrays [y, x]; what was acquired stays."""
        chosen = (self.synthetic | self.empty) > 0
        for there, here in ((values, self.values), (half, self.half), (synthetic, self.synthetic)):
            there[chosen] = here[chosen]


@dataclass(frozen=True)
class Posed:
    """A gap as it is read.

    Args:
        gap: what the method is given.
        norm: the statistics expected of the wanted section.
        seen: the sections that serve.
        near: offsets of the nearest on each side.
    """

    gap: Gap
    norm: Normalisation
    seen: Seen
    near: Offsets

    @property
    def gone(self) -> Mask | None:
        """[y, x] where the nearest sections are empty; None where nowhere."""
        return self.seen.gone(self.near)

    @property
    def alone(self) -> Mask | None:
        """[y, x] where one of two nearest sections alone shows anything; None where nowhere."""
        touched = self.seen.touched(self.near) if len(self.near) > 1 else None
        if touched is None:
            return None
        return touched if self.gone is None else touched & ~self.gone


@dataclass
class Job:
    """Renders repairs of one volume by one method.

    Args:
        volume: the input.
        mask: same shape, non-zero = replace; None when only whole sections are repaired.
        marks: what is marked, and what may serve as a neighbour.
        method: id of the method.
        params: of the method.
        weights: name or file, None for the default.
        runtime: how to compute.
        look: "accurate" (the mean) or "natural" (as sharp as tissue).
    """

    volume: Volume
    mask: Volume | None
    marks: Marks
    method: str
    params: Params
    weights: str | None
    runtime: Runtime
    look: LookName = "accurate"
    _norms: dict[int, Normalisation] = field(default_factory=dict)
    _samples: dict[tuple[int, ...], Sample] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.tissue = Tissue(self.volume, self.norm)
        self.fitter = Fitter(self.tissue, self.marks)

    def __getstate__(self) -> dict[str, object]:
        """Leave behind what belongs to this process: callbacks, the cancel token, caches."""
        return self.__dict__ | {"runtime": portable(self.runtime), "_samples": {}}

    def built(self) -> Interpolator:
        """Return the built method."""
        method: Interpolator = built(get("interpolate", self.method), self.params, self.weights, self.runtime.device)
        return method

    def norm(self, z: int) -> Normalisation:
        """Return the statistics of an input section, remembered as long as the volume lives."""
        if z not in self._norms:
            known, seen = (memory(self.volume, "statistics"), tuple(prints(self.volume, range(z, z + 1)).values()))
            found: Normalisation | None = known.get(z, seen)
            if found is None:
                section = self.volume.section(z)
                found = Normalisation.of_section(section, Emptiness(self.volume).section(z, pixels=section))
                known.put(z, seen, found)
            self._norms[z] = found
        return self._norms[z]

    def render(self, repair: Repair, window: Window, calibration: Calibration | None, runtime: Runtime) -> Drawn:
        """Synthesise a window of a repair.

        Args:
            repair: which neighbours serve.
            window: rows and columns inside ``repair.window``.
            calibration: what the self-check found; None takes the method's own factor and no rivals.
            runtime: how to compute this block.
        """
        method = self.built()
        halo = max(method.halo, LOOK_REACH) if self.look == "natural" else method.halo
        read = grown(window, halo, self.volume.shape[1:])
        inner = inside(window, read)
        missing = self._missing(repair, read)
        calibration = calibration or Calibration(factor=method.factor)
        posed = self.posed(repair.known, read, lambda: self.fit(repair))
        synthesis = self._synthesise(method, repair, read, missing, calibration, posed, runtime)
        mean, scale = synthesis.mean[inner], _scale_of(synthesis)[inner]
        half = scale * np.float32(calibration.factor * posed.norm.std)
        if posed.alone is not None:
            # What two neighbours disagree about tells nothing where there is one.
            widest = np.float32(calibration.alone * posed.norm.std)
            half = np.where(posed.alone[inner], np.maximum(half, widest), half)
        values = posed.norm.inverse(mean)
        synthetic = np.ones(values.shape, np.uint8) if missing is None else missing[inner].astype(np.uint8)
        if missing is not None and repair.source is not None:
            acquired = self.volume.section(repair.source, *window)
            values = np.where(synthetic > 0, values, acquired)
            half = half * synthetic
        drawn = Drawn(values, half.astype(np.float32), synthetic, np.zeros_like(synthetic))
        return drawn if posed.gone is None else self._left_empty(drawn, posed.gone[inner], repair, window)

    def _left_empty(self, drawn: Drawn, gone: Mask, repair: Repair, window: Window) -> Drawn:
        """Return what was drawn, with what the nearest section shows where there is nothing to draw from."""
        gone = gone & (drawn.synthetic > 0)
        nearest = repair.below if repair.below is not None else repair.above
        assert nearest is not None
        values = np.where(gone, self.volume.section(nearest, *window), drawn.values)
        half, synthetic = (np.where(gone, part.dtype.type(0), part) for part in (drawn.half, drawn.synthetic))
        return Drawn(values, half, synthetic, gone.astype(np.uint8))

    def mask_digest(self, repair: Repair) -> str | None:
        """Return what tells the part of a section that is replaced from others; None of whole sections."""
        missing = self._missing(repair, repair.window)
        return None if missing is None else digest(missing)

    def _missing(self, repair: Repair, read: Window) -> Array | None:
        if repair.treatment != "masked" or self.mask is None or repair.source is None:
            return None
        return marked(self.mask.section(repair.source, *read))  # type: ignore[no-any-return]

    def _synthesise(
        self,
        method: Interpolator,
        repair: Repair,
        read: Window,
        missing: Array | None,
        calibration: Calibration,
        posed: Posed,
        runtime: Runtime,
    ) -> Synthesis:
        gap = posed.gap
        if missing is None or missing.all() or repair.source is None:
            return _finished(method(gap, runtime), gap, calibration)
        pixels = self.volume.section(repair.source, *read)
        empty = self.tissue.emptiness.section(repair.source, *read, pixels=pixels)
        keep = 1.0 - (missing if empty is None else missing | empty).astype(np.float32)
        own = posed.norm.forward(pixels)
        # Brightness differs between sections: the damaged one is put on the scale of its neighbours.
        partial = _matched(own, (1 - gap.t) * gap.below + gap.t * gap.above, keep)
        synthesis = _finished(method(replace(gap, partial=partial, keep=keep), runtime), gap, calibration)
        return replace(synthesis, mean=harmonise(synthesis.mean, own, keep))

    def posed(self, known: Mapping[int, int], read: Window, fit: Callable[[], Fit]) -> Posed:
        """Read and normalise the sections that serve; also return the statistics expected of the wanted one.

        Args:
            known: input sections by their offset from the wanted one.
            read: rows and columns.
            fit: fits their filter; called for methods that use it.
        """
        fitted, offsets = self.fitted(), tuple(sorted(known))
        if not fitted:
            offsets = near_offsets(offsets)
        seen = self.tissue.seen({o: known[o] for o in offsets}, read)
        sections = seen.images
        below, above = sides(offsets)
        low, high = (below or above)[0], (above or below)[0]
        # One side alone is both sides, half way.
        t, span = (-low / (high - low), float(high - low)) if low < 0 < high else (0.5, 2.0 * abs(low))
        gap = Gap(
            below=sections[low],
            above=sections[high],
            t=t,
            span=span,
            far_below=sections[below[1]] if len(below) > 1 else None,
            far_above=sections[above[1]] if len(above) > 1 else None,
            offsets=offsets,
            fit=fit() if fitted else LinearBase(),
        )
        norm = Normalisation.between(self.norm(known[low]), self.norm(known[high]), t)
        return Posed(gap, norm, seen, near_offsets(offsets))

    def fitted(self) -> bool:
        """True when the method looks at far sections and at the fitted filter."""
        return bool(getattr(self.built(), "fitted", False))

    def offsets(self, repair: Repair) -> Offsets:
        """Return the offsets of the sections that serve a repair: those the method looks at."""
        return repair.offsets if self.fitted() else near_offsets(repair.offsets)

    def fit(self, repair: Repair) -> Fit:
        """Return the filter of a repair, fitted once."""
        return self.fitter.fit(repair.offsets, _start(repair), repair.window)

    def check(self, repair: Repair) -> SelfCheck | None:
        """Repeat the repair on the nearest intact sections; None when there are none."""
        samples = [self._sample(k, offsets, repair) for k, offsets in self._hidden(repair)]
        return check(samples) if samples else None

    def with_look(self, repair: Repair, calibration: Calibration) -> Calibration:
        """Add the natural look to what was found for a repair; without hidden sections to measure it on there is none.

        Which of its neighbours lends its grain follows from the seed and the section.
        """
        rng = np.random.default_rng([self.runtime.seed, repair.section])
        offsets = self.offsets(repair)
        borrowed = offsets[int(rng.integers(len(offsets)))]
        samples = [self._sample(k, posed, repair) for k, posed in self._hidden(repair) if borrowed in posed]
        # Each in units of its own section: a step of brightness is no sharpness.
        hidden = [_looked_at(s, mixed(s.guesses, calibration.mix), borrowed) for s in samples]
        return replace(calibration, look=look_of(hidden), borrowed=borrowed)

    def _hidden(self, repair: Repair) -> list[tuple[int, Offsets]]:
        """Return input sections, nearest first, that are intact at the same distances, and those distances.

        Where too few sections have all of their neighbours, those with the nearest ones serve as well.
        """
        window = check_window(repair.window)
        found: dict[int, Offsets] = {}
        for offsets in dict.fromkeys((repair.offsets, near_offsets(repair.offsets))):
            for k in _outwards(_start(repair), self.volume.shape[0], CHECK_REACH):
                if len(found) == CHECK_COUNT:
                    break
                needed = (k, *(k + o for o in offsets))
                if k not in found and all(self.marks.intact(z, window) for z in needed) and self.shown(k, window):
                    found[k] = offsets
        return list(found.items())

    def shown(self, k: int, window: Window) -> bool:
        """Return whether a section shows enough in a window for something to be measured there."""
        return self.tissue.emptiness.share(k, *window) <= MOST_EMPTY

    def _sample(self, k: int, offsets: Offsets, repair: Repair) -> Sample:
        window = check_window(repair.window)
        key = (k, *offsets, *(n for s in window for n in (s.start, s.stop)))
        if key not in self._samples:
            self._samples[key] = self.sample(k, offsets, window, _start(repair))
        return self._samples[key]

    def sample(self, k: int, offsets: Offsets, window: Window, start: int | None = None) -> Sample:
        """Hide a section and synthesise a window of it.

        Args:
            k: the section.
            offsets: of the neighbours that serve.
            window: rows and columns.
            start: where the filter is fitted around; None for the section itself.
        """
        method = self.built()
        read = grown(window, method.halo, self.volume.shape[1:])
        inner = inside(window, read)
        known = {o: k + o for o in offsets}
        own = self.fitter.own(offsets, k if start is None else start, window, without=k)
        posed = self.posed(known, read, lambda: own or substitute(offsets))
        gap, norm = posed.gap, posed.norm
        synthesis = method(gap, self.runtime)
        truth = self.volume.section(k, *window)
        sections = {**self.tissue.seen(known, window).images, 0: self.norm(k).forward(truth)}
        gone, empty = posed.gone, self.tissue.emptiness.section(k, *window, pixels=truth)
        if gone is not None:
            empty = gone[inner] if empty is None else empty | gone[inner]
        return Sample(
            truth=norm.forward(truth),
            guesses=tuple(
                guess[inner] for guess in (synthesis.mean, *(candidate() for candidate in synthesis.candidates))
            ),
            scale=_scale_of(synthesis)[inner],
            below=gap.below[inner],
            above=gap.above[inner],
            t=gap.t,
            base=gap.linear[inner] if own is None else own.answer(sections),
            peak=intensity_range(truth if empty is None else truth[~empty]) / norm.std,
            sections=sections,
            empty=empty,
        )


def _looked_at(sample: Sample, mean: Float, borrowed: int) -> Hidden:
    """Return a hidden section whose spectrum is measured; where it is empty nothing differs from the mean."""
    truth, neighbour = (sample.sections[o] for o in (0, borrowed))
    if sample.empty is not None:
        truth, neighbour = (np.where(sample.empty, mean, image) for image in (truth, neighbour))
    return Hidden(mean, truth, neighbour)


def _start(repair: Repair) -> int:
    """Return the input section around which others are looked for."""
    return repair.source if repair.source is not None else max(0, repair.section)


def _finished(synthesis: Synthesis, gap: Gap, calibration: Calibration) -> Synthesis:
    """Mix the guesses as the self-check found best, and give them the look that was asked for."""
    chosen = _mixed(synthesis, calibration.mix)
    if calibration.look is None or calibration.borrowed is None:
        return chosen
    neighbour = gap.known()[gap.offsets.index(calibration.borrowed)]
    return replace(chosen, mean=calibration.look.draw(chosen.mean, neighbour))


def _mixed(synthesis: Synthesis, mix: Sequence[float]) -> Synthesis:
    """Mix the rivals in as the self-check found best; those that hardly count are not computed."""
    wanted = [(synthesis.mean, mix[0])]
    for candidate, share in zip(synthesis.candidates, mix[1:], strict=False):
        if share > NEGLIGIBLE:
            wanted.append((candidate(), share))
    total = sum(share for _, share in wanted)
    return Synthesis(mixed([guess for guess, _ in wanted], [s / total for _, s in wanted]), synthesis.scale)


def _scale_of(synthesis: Synthesis) -> Float:
    """Return the method's scale; a constant for methods without an opinion (the self-check sizes it)."""
    if synthesis.scale is not None:
        return synthesis.scale
    return np.ones_like(synthesis.mean)


def _matched(partial: Float, like: Float, keep: Float) -> Float:
    """Give the intact part of ``partial`` the mean and deviation that ``like`` has there."""
    known = keep > 0.5
    if known.sum() < 64:
        return partial
    a, b = partial[known], like[known]
    # Interpolated sections are smoother: compare deviations after the same smoothing.
    gain = float(
        np.clip(gaussian_filter(like, 2.0)[known].std() / max(gaussian_filter(partial, 2.0)[known].std(), 1e-3), 0.5, 2)
    )
    return np.asarray((partial - a.mean()) * gain + b.mean(), dtype=np.float32)


def _outwards(start: int, count: int, reach: int) -> Iterator[int]:
    """Yield start, start - 1, start + 1, start - 2, ... inside [0, count)."""
    for d in range(reach + 1):
        for z in (start - d, start + d) if d else (start,):
            if 0 <= z < count:
                yield z


def grown(window: Window, halo: int, shape: Sequence[int]) -> Window:
    """Grow a window by the halo, clipped to the section, starting at multiples of :data:`ALIGN`."""
    y, x = (
        slice(max(0, (s.start - halo) // ALIGN * ALIGN), min(n, s.stop + halo))
        for s, n in zip(window, shape, strict=True)
    )
    return y, x


def inside(window: Window, read: Window) -> Window:
    """Return where ``window`` lies inside ``read``."""
    y, x = (slice(w.start - r.start, w.stop - r.start) for w, r in zip(window, read, strict=True))
    return y, x


def check_window(window: Window, edge: int = CHECK_EDGE) -> Window:
    """Return the middle of a window, at most ``edge`` px along each axis."""
    return middle(window, edge)


def blocks(window: Window, edge: int = BLOCK) -> list[Window]:
    """Cut a window into blocks whose borders lie on multiples of ``edge`` of the section."""
    cuts = []
    for s in window:
        first = s.start // edge * edge
        starts = [max(s.start, b) for b in range(first, s.stop, edge)]
        cuts.append([slice(a, b) for a, b in zip(starts, [*starts[1:], s.stop], strict=True)])
    return [(y, x) for y in cuts[0] for x in cuts[1]]
