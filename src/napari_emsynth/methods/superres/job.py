"""One super-resolution job: draws any box of the finer volume, with what is known of how far it can be trusted.

A method draws each section from itself and its neighbours; the answer is moved to where block means equal what was
acquired (every method, bicubic too) and rounded.

Laws: a job can be pickled; block means of the result equal what was acquired, bit for bit for integers; voxels that are
empty show what they showed; a damaged section is never seen as a neighbour.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import Box, Padded, read_padded, statistics
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres.neighbours import seen, spacing
from napari_emsynth.methods.superres.protocol import Finer, Superresolver
from napari_emsynth.methods.superres.reduction import REACH, consistent, reduced, repeated, rounded
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float

Window = tuple[slice, slice]


@dataclass(frozen=True)
class Drawn:
    """Sections made finer; y and x of the source.

    Args:
        values: [n, f y, f x] in the source's dtype.
        half: [n, f y, f x] half width of the 90 % interval in source units; 0 when the method does not know.
        prior: [n, f y, f x] in [0, 1], how much a learned prior has a say; 0 without one.
        residual: [n, y, x] block means of the method's answer less what was acquired, in source units, before the
            answer was moved; 0 where empty.
    """

    values: Array
    half: Float
    prior: Float
    residual: Float


@dataclass(frozen=True)
class Job:
    """Draws boxes of a finer volume.

    Args:
        request: volume, method, and how to compute.
        factor: by which pixels become smaller.
        norm: of the input.
        damaged: sections that are not seen as neighbours.
        apart: sections from one neighbour that is seen to the next.
        confidence: from the scale of an error to the half width of its 90 % interval.
    """

    request: Request
    factor: int
    norm: Normalisation
    damaged: frozenset[int] = frozenset()
    apart: int = 1
    confidence: float = 0.0

    @classmethod
    def of(cls, request: Request, factor: int, damaged: Collection[int] = ()) -> Job:
        """Measure the input and return the job."""
        method: Superresolver = request.built()
        volume = request.volume
        return cls(
            request,
            factor,
            statistics(volume, request.runtime, damaged),
            frozenset(damaged),
            apart=spacing(volume, method.context, method.spacing),
            confidence=0.0 if method.confidence is None else method.confidence.on(volume),
        )

    @property
    def parts(self) -> tuple[str, ...]:
        """Which fields of :class:`Drawn` this method fills."""
        spec = self.request.spec
        told = {"half": spec.has_uncertainty, "prior": spec.has_prior}
        return ("values", *(name for name, has in told.items() if has), "residual")

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box of the finer volume, in the source's dtype."""
        return self.cut(box, runtime).values

    def together(self, box: Box, runtime: Runtime) -> tuple[Array, ...]:
        """Return the :attr:`parts` of a box of the finer volume whose edges are those of acquired pixels."""
        drawn = self.cut(box, runtime)
        return tuple(getattr(drawn, name) for name in self.parts)

    def cut(self, box: Box, runtime: Runtime) -> Drawn:
        """Return a box of the finer volume; the residual of every pixel that has a share in it."""
        z, *fine = box
        y, x = (slice(s.start // self.factor, -(-s.stop // self.factor)) for s in fine)
        drawn = self.drawn((z, y, x), runtime)
        first = (y.start * self.factor, x.start * self.factor)
        inner = tuple(slice(s.start - f, s.stop - f) for s, f in zip(fine, first, strict=True))
        values, half, prior = (part[:, *inner] for part in (drawn.values, drawn.half, drawn.prior))
        return Drawn(values, half, prior, drawn.residual)

    def drawn(self, box: Box, runtime: Runtime) -> Drawn:
        """Return a box of the source [n, y, x], made finer."""
        z, *window = box
        made = []
        for section in range(z.start, z.stop):
            runtime.cancel.check()
            made.append(self._section(section, (window[0], window[1]), runtime))
        values, half, prior, residual = (np.stack(parts) for parts in zip(*made, strict=True))
        return Drawn(values, half, prior, residual)

    def _section(self, z: int, window: Window, runtime: Runtime) -> tuple[Array, Float, Float, Float]:
        """Return one section's values, half width, prior and residual in a window of the source."""
        method: Superresolver = self.request.built()
        f, std = self.factor, np.float32(self.norm.std)
        block, around = self._read(z, window, method)
        finer = self._finer(block, around, z, runtime)
        acquired = self.request.volume.section(z, *around)
        inner = block.inside((slice(z, z + 1), *around))
        known = block.values[inner][0]
        mean = consistent(finer.mean, known, f)
        residual = (reduced(finer.mean, f) - known) * std
        zero = np.zeros_like(mean)
        half = zero if finer.scale is None else finer.scale * (std * np.float32(self.confidence))
        prior = zero if finer.mask is None else finer.mask
        values = self._grey(mean, acquired)
        if block.empty is not None and (empty := block.empty[inner][0]).any():
            residual = np.where(empty, np.float32(0), residual)
            hidden = repeated(empty, f)
            values = np.where(hidden, repeated(acquired, f), values)
            half, prior = (np.where(hidden, np.float32(0), part) for part in (half, prior))
        coarse = _inside(window, around)
        fine = tuple(slice(f * s.start, f * s.stop) for s in coarse)
        return values[fine], half[fine], prior[fine], residual[coarse]

    def _read(self, z: int, window: Window, method: Superresolver) -> tuple[Padded, Window]:
        """Return the sections that section ``z`` is drawn from, and the window that back-projection looks at."""
        _, *shape = self.request.volume.shape
        around = _widened(window, REACH, shape, method.multiple)
        n = method.context * self.apart
        here = (slice(max(0, z - n), min(self.request.volume.shape[0], z + n + 1)), *around)
        return read_padded(self.request.volume, here, (0, method.halo, method.halo), self.norm), around

    def _finer(self, block: Padded, around: Window, z: int, runtime: Runtime) -> Finer:
        """Return what the method makes of section ``z`` in a window."""
        method: Superresolver = self.request.built()
        chosen = seen(z, self.request.volume.shape[0], method.context, self.damaged, self.apart)
        sections = block.values[[s - block.start[0] for s in chosen]]
        _, *inner = block.inside((slice(z, z + 1), *around))
        fine = tuple(slice(self.factor * s.start, self.factor * s.stop) for s in inner)
        if not sections.any():
            # A constant block: nothing may be invented.
            runtime.cancel.check()
            return Finer(np.zeros([s.stop - s.start for s in fine], np.float32))
        answer = method(sections, self.factor, runtime)
        assert answer.mean.shape == tuple(self.factor * n for n in sections.shape[1:]), answer.mean.shape
        scale, mask = (None if part is None else part[fine] for part in (answer.scale, answer.mask))
        return Finer(answer.mean[fine], scale, mask)

    def _grey(self, mean: Float, acquired: Array) -> Array:
        """Return normalised fine pixels in the source's dtype, block means kept."""
        if acquired.dtype.kind == "b":
            return self.norm.inverse(mean)
        return rounded(mean.astype(np.float64) * self.norm.std + self.norm.mean, acquired, self.factor)


def _widened(window: Window, by: int, shape: list[int], multiple: int) -> Window:
    """Return a window with ``by`` px around it, as far as there are any, that starts at a multiple."""
    y, x = (
        slice(max(0, (s.start - by) // multiple * multiple), min(n, s.stop + by))
        for s, n in zip(window, shape, strict=True)
    )
    return y, x


def _inside(window: Window, around: Window) -> Window:
    y, x = (slice(s.start - a.start, s.stop - a.start) for s, a in zip(window, around, strict=True))
    return y, x
