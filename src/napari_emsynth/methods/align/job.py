"""One alignment job: draws any box of the aligned volume.

Laws: a job can be pickled; voxels that are empty in the source show what they showed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from napari_emsynth.methods.align.protocol import BlockAligner
from napari_emsynth.methods.blocks import Box, read_padded, statistics
from napari_emsynth.methods.request import Request
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float


@dataclass(frozen=True)
class Job:
    """Draws boxes of an aligned volume.

    Args:
        request: volume, method, and how to compute.
        norm: of the input.
    """

    request: Request
    norm: Normalisation

    @classmethod
    def of(cls, request: Request) -> Job:
        """Measure the input and return the job."""
        return cls(request, statistics(request.volume, request.runtime))

    def __call__(self, box: Box, runtime: Runtime) -> Array:
        """Return [z, y, x] voxels of a box, in the source's dtype."""
        method: BlockAligner = self.request.built()
        block = read_padded(self.request.volume, box, method.halo, self.norm)
        inner = block.inside(box)
        values = self.norm.inverse(_asked(method, block.values, runtime)[inner])
        return values if block.empty is None else np.where(block.empty[inner], self.request.volume.read(*box), values)


def _asked(method: BlockAligner, block: Float, runtime: Runtime) -> Float:
    if not block.any():
        # A constant block: nothing may be invented.
        runtime.cancel.check()
        return block
    answer = method(block, runtime)
    assert answer.shape == block.shape, answer.shape
    return answer
