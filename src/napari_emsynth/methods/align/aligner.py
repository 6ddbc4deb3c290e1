"""What an alignment method is given, and what it answers.

Conventions: blocks are [z, y, x] float32, normalised (zero mean, unit deviation of the whole volume).
"""

from __future__ import annotations

from typing import Protocol

from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


class Redrawer(Protocol):
    """A built method that answers with new pixels, not with a displacement.

    ``halo`` is how many input voxels (z, y, x) it looks at around what is asked for. Blocks are read with that much
    more on each side, where the volume has it; within ``halo`` of a cut face the answer is cut off again. Beyond the
    volume's own faces the method sees what it makes up itself, a reflection as a rule.
    """

    halo: tuple[int, int, int]

    def __call__(self, block: Float, runtime: Runtime) -> Float:
        """Return the block [z, y, x] with its sections aligned, normalised, of the same shape."""
