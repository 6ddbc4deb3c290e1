"""What an upsampling method is asked, and what it answers.

Conventions: blocks are [z, y, x] float32, normalised (zero mean, unit deviation of the whole volume); positions count
in sections of the block, 0 = the centre of its first section.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from napari_emsynth.methods.upsample.lattice import Sampling, position
from napari_emsynth.methods.upsample.likeness import UNKNOWN, Likeness
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


@dataclass(frozen=True)
class Ask:
    """Which sections of the upsampled volume are wanted.

    Args:
        sections: of the upsampled volume, in one run.
        factor: output sections a section.
        sampling: what an input section is.
        origin: section of the input that is the block's first.
        likeness: how alike the volume's pixels are.
    """

    sections: range
    factor: float
    sampling: Sampling
    origin: int = 0
    likeness: Likeness = UNKNOWN

    @property
    def positions(self) -> tuple[float, ...]:
        """Place of every wanted section in the block."""
        return tuple(self.position(section) for section in self.sections)

    def position(self, section: int) -> float:
        """Place of a section of the upsampled volume, wanted or not, in the block."""
        return position(section, self.factor, self.sampling) - self.origin


@dataclass(frozen=True)
class Expert:
    """One answer to an :class:`Ask`.

    Args:
        name: of the expert, such as "reslice".
        mean: [n, y, x] normalised, n wanted sections.
        scale: [n, y, x] the Laplace scale of its error, normalised; None when it does not know.
    """

    name: str
    mean: Float
    scale: Float | None = None


class Upsampler(Protocol):
    """A built method.

    Blocks are read with :meth:`halo` more voxels on each side, where the volume has them; within the halo of a cut
    face the answer is cut off again. Beyond the volume's own faces the method sees what it makes up itself, a
    reflection as a rule.

    A method may say more: ``factor``, from its scale to the half width of the 90 % interval where no self-check is
    possible; ``kriges``, that it must be told how alike the volume's pixels are; ``trust(factor, sampling)``, how far
    each expert is to be believed, by name; and ``in_plane(block, ask, runtime)``, its answer to a block [y, z, x] whose
    rows are posed as sections, so that it can be checked at the true distances.
    """

    def halo(self, factor: float) -> tuple[int, int, int]:
        """Return how many input voxels (z, y, x) it looks at around the sections below and above a position."""

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Return one or more answers, of the block's y and x.

        Under point sampling positions lie between 0 and z - 1; under slab sampling they go up to half a section
        beyond both.
        """


@runtime_checkable
class InPlane(Protocol):
    """A method that can be tried on planes which are fine along both of their axes: xy sections, rows posing as z."""

    def in_plane(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Return the answers for a block [rows, planes, x] whose planes are no neighbours of each other."""
