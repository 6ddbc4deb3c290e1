"""One upsampling job: draws any box of the upsampled volume.

Laws: a job can be pickled; under point sampling a method that keeps what was acquired is asked only for what lies
between; voxels that are unknown (not finite) in the nearest acquired section stay unknown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.blocks import Box, read_padded, statistics
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.lattice import Lattice
from napari_emsynth.methods.upsample.upsampler import Upsampler
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float


@dataclass(frozen=True)
class Job:
    """Draws boxes of an upsampled volume.

    Args:
        request: volume, method, and how to compute.
        lattice: where the output's sections lie.
        norm: of the input.
    """

    request: Request
    lattice: Lattice
    norm: Normalisation

    @classmethod
    def of(cls, request: Request, lattice: Lattice) -> Job:
        """Measure the input and return the job."""
        return cls(request, lattice, statistics(request.volume))

    def kept(self, section: int) -> int | None:
        """Return the input section that an output section is a copy of; None when it is made up."""
        return self.lattice.acquired(section) if self.request.spec.keeps_acquired else None

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box of the output, in the source's dtype."""
        z, y, x = box
        out = np.empty([s.stop - s.start for s in box], self.request.volume.dtype)
        made_up = []
        for section in range(z.start, z.stop):
            kept = self.kept(section)
            if kept is None:
                made_up.append(section)
            else:
                out[section - z.start] = self.request.volume.section(kept, y, x)
        if made_up:
            out[[section - z.start for section in made_up]] = self._make(made_up, y, x, runtime)
        return out

    def _make(self, sections: Sequence[int], y: slice, x: slice, runtime: Runtime) -> Array:
        """Return the sections [len(sections), y, x] as the method makes them up."""
        method: Upsampler = self.request.built()
        sides = [self.lattice.neighbours(section) for section in sections]
        seen = slice(min(below for below, _, _ in sides), max(above for _, above, _ in sides) + 1)
        block = read_padded(self.request.volume, (seen, y, x), method.halo, self.norm)
        positions = [self.lattice.position(section) - block.start[0] for section in sections]
        inner = block.inside((seen, y, x))
        answer = _asked(method, block.values, positions, runtime)[:, inner[1], inner[2]]
        values = self.norm.inverse(answer)
        if block.unknown is not None:
            nearest = [self.lattice.nearest(section) - block.start[0] for section in sections]
            values[block.unknown[nearest][:, inner[1], inner[2]]] = np.nan
        return values


def _asked(method: Upsampler, block: Float, positions: Sequence[float], runtime: Runtime) -> Float:
    if not block.any():
        # A constant block: nothing may be invented.
        runtime.cancel.check()
        return np.zeros((len(positions), *block.shape[1:]), np.float32)
    answer = method(block, positions, runtime)
    assert answer.shape == (len(positions), *block.shape[1:]), answer.shape
    return answer
