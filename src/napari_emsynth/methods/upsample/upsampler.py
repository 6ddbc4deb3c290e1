"""What an upsampling method is given, and what it answers.

Conventions: blocks are [z, y, x] float32, normalised (zero mean, unit deviation of the whole volume); positions count
in sections of the block, 0 = the centre of its first section.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


class Upsampler(Protocol):
    """A built method.

    ``halo`` is how many input voxels (z, y, x) it looks at around the sections below and above a position. Blocks are
    read with that much more on each side, where the volume has it; within ``halo`` of a cut face the answer is cut off
    again. Beyond the volume's own faces the method sees what it makes up itself, a reflection as a rule.
    """

    halo: tuple[int, int, int]

    def __call__(self, block: Float, positions: Sequence[float], runtime: Runtime) -> Float:
        """Return the sections [len(positions), y, x] at ``positions``, normalised, of the block's y and x.

        Under point sampling positions lie between 0 and z - 1; under slab sampling they go up to half a section
        beyond both.
        """
