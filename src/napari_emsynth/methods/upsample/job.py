"""One upsampling job: draws any box of the upsampled volume, and of its uncertainty.

A method answers with experts; their answers are fused, and taken as far as the volume itself shows that they are better
than linear interpolation; under slab sampling the whole is moved to where block means equal the acquired sections
(every method, linear too); then it is rounded.

Laws: a job can be pickled; under point sampling what was acquired is copied; under slab sampling block means equal what
was acquired, bit for bit for integers and whole factors; where one of two neighbours is empty the other serves, where
both are, or the slab is, the nearest one's values stay; what becomes of a repaired section is no surer than the repair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import Box, read_padded, statistics
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.acquisition import back_projected, rounded_with_means, shares, steps
from napari_emsynth.methods.upsample.emsynth.fuse import fused, trust_of
from napari_emsynth.methods.upsample.kriging import Krige
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.methods.upsample.likeness import UNKNOWN, Likeness, likeness
from napari_emsynth.methods.upsample.linear import Linear
from napari_emsynth.methods.upsample.protocol import Ask, Expert, InPlane, Upsampler
from napari_emsynth.methods.upsample.repair import mended_data
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.look import REACH, Look
from napari_emsynth.trust.margins import Mask
from napari_emsynth.trust.selfcheck import LAPLACE
from napari_emsynth.volume import Array, Float, Volume

Answer = Callable[[Float, Ask, Runtime], Sequence[Expert]]

# Slabs that fine sections fill less than this have no block mean.
FILLED = 1 - 1e-3


@dataclass(frozen=True)
class Guess:
    """What the experts say together, normalised.

    Args:
        mean: [n, y, x].
        scale: [n, y, x] of its error; None when nobody knows.
        gone: [n, y, x] True where there is nothing to draw from; None where there is everywhere.
    """

    mean: Float
    scale: Float | None
    gone: Mask | None


@dataclass(frozen=True)
class Job:
    """Draws boxes of an upsampled volume.

    Args:
        request: volume, method, and how to compute.
        lattice: where the output's sections lie.
        norm: of the input.
        calibration: from the scale of an error to the half width of its 90 % interval.
        departure: share of the way from what the method starts from (:attr:`start`) to its answer that is gone, 0 to 1.
        in_plane: rows are posed as sections: the method's ``in_plane`` answers, not the method itself.
        likeness: how alike the volume's pixels are.
        look: that new sections are given; None leaves them the mean they are.
    """

    request: Request
    lattice: Lattice
    norm: Normalisation
    calibration: float = LAPLACE
    blend_weight: float = 1.0
    in_plane: bool = False
    likeness: Likeness = UNKNOWN
    look: Look | None = None

    @classmethod
    def of(cls, request: Request, lattice: Lattice, *, rows_of: Volume | None = None) -> Job:
        """Measure the input and return the job; its calibration is what the method's weights were found to need.

        Args:
            request: volume, method, and how to compute.
            lattice: where the output's sections lie.
            rows_of: the volume whose rows are posed as sections of the request's; None where none are.
        """
        factor = float(getattr(request.built(), "factor", LAPLACE))
        norm = statistics(request.volume, request.runtime)
        return cls(
            request, lattice, norm, factor, in_plane=rows_of is not None,
            likeness=_likeness(request, lattice, norm, rows_of),
        )  # fmt: skip

    @property
    def halo(self) -> float:
        """Output sections that a block is read with on both sides."""
        method: Upsampler = self.request.built()
        around = self._around if self.lattice.sampling == "slab" else 0
        return (method.halo(self.lattice.factor)[0] + around) * self.lattice.factor

    @property
    def lateral_halo(self) -> tuple[int, int]:
        """Pixels along y and x that a box is read with on both sides."""
        _, y, x = self.request.built().halo(self.lattice.factor)
        more = REACH if self.look is not None else 0
        return y + more, x + more

    @property
    def _around(self) -> int:
        """Slabs drawn beyond those of a box, so that back-projection ends the same in every box."""
        return steps(self.lattice.factor) - 1

    def kept(self, section: int) -> int | None:
        """Return the input section that an output section is a copy of; None when it is made up."""
        return self.lattice.acquired(section) if self.request.spec.keeps_acquired else None

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box of the output, in the source's dtype."""
        return self.together(box, runtime)[0]

    def together(self, box: Box, runtime: Runtime) -> tuple[Array, Float]:
        """Return a box of the output, and the half width of its 90 % interval in source units, 0 where acquired."""
        z, y, x = box
        shape = [s.stop - s.start for s in box]
        values, half = np.empty(shape, self.request.volume.dtype), np.zeros(shape, np.float32)
        kept = {section: self.kept(section) for section in range(z.start, z.stop)}
        made_up = [section for section, source in kept.items() if source is None]
        if made_up:
            # One run, acquired sections between them included: what an expert sees is the same for all.
            run = range(made_up[0], made_up[-1] + 1)
            inner = slice(run.start - z.start, run.stop - z.start)
            values[inner], half[inner] = self._made(run, y, x, runtime)
        for section, source in kept.items():
            if source is not None:
                values[section - z.start] = self.request.volume.section(source, y, x)
                half[section - z.start] = self._repair_width(section, y, x)
        return values, half

    def _made(self, run: range, y: slice, x: slice, runtime: Runtime) -> tuple[Array, Float]:
        """Return a run of sections as the method makes them up, and their half width."""
        rows, columns = self._read_for(y, x)
        if self.lattice.sampling == "slab":
            slabs = self.lattice.slabs(run, self._around)
            drawn = self.lattice.filling(slabs)
            guess = self.guess(drawn, rows, columns, runtime)
            values = self._divided(guess, drawn, slabs, rows, columns)
            inner = slice(run.start - drawn.start, run.stop - drawn.start)
        else:
            guess = self.guess(run, rows, columns, runtime)
            values = self.norm.inverse(self._looked(guess.mean, run, rows, columns))
            inner = slice(None)
        values, guess = _inside(values, guess, (y, x), (rows, columns))
        half = np.zeros_like(guess.mean) if guess.scale is None else guess.scale * self._unit
        values, half = values[inner], half[inner]
        if guess.gone is not None:
            shown = np.stack([self.request.volume.section(self.lattice.nearest(j), y, x) for j in run])
            values = np.where(guess.gone[inner], shown, values)
            half = np.where(guess.gone[inner], np.float32(0), half)
        if mended_data(self.request.volume) is not None:
            half = np.stack([np.hypot(w, self._repair_width(j, y, x)) for w, j in zip(half, run, strict=True)])
        return values, half

    def _repair_width(self, section: int, y: slice, x: slice) -> Float:
        """Return the half width [y, x], in source units, that an output section inherits from repaired sections."""
        mended = mended_data(self.request.volume)
        total = np.zeros((y.stop - y.start, x.stop - x.start), np.float32)
        if mended is None:
            return total
        below, above, t = self.lattice.neighbours(section)
        for source, share in ((below, 1 - t), (above, t)):
            if source in mended.repairs and share > 0:
                total = np.hypot(total, np.float32(share) * mended.half_width(source, y, x))
        return total

    @property
    def _unit(self) -> np.float32:
        """Half width in source units of an interval of scale 1."""
        return np.float32(self.calibration * self.norm.std)

    def _divided(self, guess: Guess, drawn: range, slabs: range, y: slice, x: slice) -> Array:
        """Return slabs divided into sections [len(drawn), y, x] so that their means equal what was acquired."""
        factor, dtype = self.lattice.factor, self.norm.dtype
        thick = self.request.volume.read(slice(slabs.start, slabs.stop), y, x)
        matrix = shares(factor, drawn, slabs)
        acquired = self.shown(slice(slabs.start, slabs.stop), y, x)
        fine = back_projected(guess.mean, acquired, matrix, count=steps(factor))
        if self.look is not None:
            fine = back_projected(self._looked(fine, drawn, y, x), acquired, matrix, count=steps(factor))
        if factor != int(factor) or dtype.kind not in "iu":
            return self.norm.inverse(fine)
        grey = np.asarray(fine * self.norm.std + self.norm.mean, np.float32)
        return rounded_with_means(grey, thick, int(factor))

    def residual(self, slabs: range, y: slice, x: slice, runtime: Runtime) -> dict[str, float]:
        """Return how far block means are from what was acquired, in source units.

        Args:
            slabs: acquired sections.
            y: rows.
            x: columns.
            runtime: how to compute.

        Returns:
            "before" back-projection: root mean square, where something was acquired; "after": the largest there is.
        """
        drawn = self.lattice.filling(slabs)
        thick = self.request.volume.read(slice(slabs.start, slabs.stop), y, x).astype(np.float64)
        matrix = shares(self.lattice.factor, drawn, slabs)
        whole = matrix.sum(axis=1) > FILLED
        drawing = self.guess(drawn, y, x, runtime)
        guess = drawing.mean * self.norm.std + self.norm.mean
        final = self((slice(drawn.start, drawn.stop), y, x), runtime)
        before, after = ((np.tensordot(matrix, fine.astype(np.float64), 1) - thick)[whole] for fine in (guess, final))
        known = np.isfinite(before)
        if drawing.gone is not None:
            known &= np.tensordot(matrix, drawing.gone.astype(np.float64), 1)[whole] == 0
        return {
            "before": float(np.sqrt((before[known] ** 2).mean())) if known.any() else 0.0,
            "after": float(np.abs(after[np.isfinite(after)]).max(initial=0.0)),
        }

    @property
    def start(self) -> str:
        """Method that a departure counts from: what the method itself starts from."""
        return "kriging" if getattr(self.request.built(), "kriges", False) else "linear"

    def _posed(self, method: Upsampler) -> Answer:
        """Return what answers: in plane the method's own way; one that looks at no pixel beside needs none."""
        return method.in_plane if self.in_plane and isinstance(method, InPlane) else method

    def _start(self, block: Float, ask: Ask, runtime: Runtime) -> Expert:
        if self.start == "linear":
            (answer,) = Linear()(block, ask, runtime)
        else:
            (answer,) = self._posed(Krige())(block, ask, runtime)
        return answer

    def _looked(self, mean: Float, run: range, y: slice, x: slice) -> Float:
        """Return sections [n, y, x] with the look that was asked for."""
        if self.look is None:
            return mean
        nearest = [self.lattice.nearest(section) for section in run]
        acquired = {z: self.shown(slice(z, z + 1), y, x)[0] for z in set(nearest)}
        return np.stack([self.look.draw(m, acquired[z]) for m, z in zip(mean, nearest, strict=True)])

    def shown(self, z: slice, y: slice, x: slice) -> Float:
        """Return a box of the input [z, y, x], normalised, tissue where any section near has tissue."""
        block = read_padded(self.request.volume, (z, y, x), (0, 0, 0), self.norm)
        return block.values[block.inside((z, y, x))]

    def _read_for(self, y: slice, x: slice) -> tuple[slice, slice]:
        """Return rows and columns with as many more on both sides as the filters of a look reach."""
        if self.look is None:
            return y, x
        _, *edges = self.request.volume.shape
        rows, columns = (
            slice(max(0, s.start - REACH), min(n, s.stop + REACH)) for s, n in zip((y, x), edges, strict=True)
        )
        return rows, columns

    def guess(self, run: range, y: slice, x: slice, runtime: Runtime) -> Guess:
        """Return what the method's experts say together of a run of sections, before any back-projection."""
        method = self.request.built()
        lattice, volume = self.lattice, self.request.volume
        seen = slice(lattice.neighbours(run[0])[0], lattice.neighbours(run[-1])[1] + 1)
        block = read_padded(volume, (seen, y, x), method.halo(lattice.factor), self.norm)
        _, *inner = block.inside((seen, y, x))
        ask = Ask(run, lattice.factor, lattice.sampling, block.start[0], self.likeness)
        answer = self._posed(method)
        experts = [_cut(expert, *inner) for expert in _asked(answer, block.values, ask, runtime)]
        mean, scale = fused(experts, trust_of(method, lattice.factor, lattice.sampling))
        if self.blend_weight < 1:
            start = _cut(self._start(block.values, ask, runtime), *inner).mean
            mean = start + np.float32(self.blend_weight) * (mean - start)
        if block.empty is None:
            return Guess(mean, scale, None)
        empty, shown = block.empty[:, inner[0], inner[1]], block.values[:, inner[0], inner[1]]
        sources = [tuple(z - block.start[0] for z in lattice.sources(section)) for section in run]
        alone = [_alone(image, shown, empty, pair) for image, pair in zip(mean, sources, strict=True)]
        return Guess(np.stack(alone), scale, np.stack([empty[below] & empty[above] for below, above in sources]))


def _alone(mean: Float, shown: Float, empty: Mask, pair: tuple[int, ...]) -> Float:
    """Return a section [y, x] that shows, where one of its two neighbours is empty, the other."""
    for one, other in (pair, pair[::-1]):
        mean = np.where(empty[one] & ~empty[other], shown[other], mean)
    return mean


def _inside(values: Array, guess: Guess, wanted: tuple[slice, slice], read: tuple[slice, slice]) -> tuple[Array, Guess]:
    """Return the rows and columns that are wanted of those that were read."""
    y, x = (slice(w.start - r.start, w.stop - r.start) for w, r in zip(wanted, read, strict=True))
    scale = None if guess.scale is None else guess.scale[:, y, x]
    return values[:, y, x], Guess(guess.mean[:, y, x], scale, None if guess.gone is None else guess.gone[:, y, x])


def _asked(method: Answer, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
    shape = (len(ask.sections), *block.shape[1:])
    if not block.any():
        # A constant block: nothing may be invented.
        runtime.cancel.check()
        return [Expert("constant", np.zeros(shape, np.float32), np.zeros(shape, np.float32))]
    answers = method(block, ask, runtime)
    for answer in answers:
        assert answer.mean.shape == shape, (answer.name, answer.mean.shape)
    return answers


def _cut(expert: Expert, y: slice, x: slice) -> Expert:
    scale = None if expert.scale is None else expert.scale[:, y, x]
    return Expert(expert.name, expert.mean[:, y, x], scale)


def _likeness(request: Request, lattice: Lattice, norm: Normalisation, rows_of: Volume | None) -> Likeness:
    if not getattr(request.built(), "kriges", False):
        return UNKNOWN
    if rows_of is None:
        return likeness(request.volume, norm, lattice.sampling, request.runtime)
    return likeness(rows_of, statistics(rows_of, request.runtime), lattice.sampling, request.runtime).posed()
