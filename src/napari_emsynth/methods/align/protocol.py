"""What an alignment method is given, and what it answers.

Conventions: blocks are [z, y, x] float32, normalised (zero mean, unit deviation of the whole volume).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float

Mask = NDArray[np.bool_]


class BlockAligner(Protocol):
    """A built method that answers with new pixels, not with a displacement.

    ``halo`` is how many input voxels (z, y, x) it looks at around what is asked for. Blocks are read with that much
    more on each side, where the volume has it; within ``halo`` of a cut face the answer is cut off again. Beyond the
    volume's own faces the method sees what it makes up itself, a reflection as a rule.
    """

    halo: tuple[int, int, int]

    def __call__(self, block: Float, runtime: Runtime) -> Float:
        """Return the block [z, y, x] with its sections aligned, normalised, of the same shape."""


@dataclass(frozen=True, eq=False)
class Neighbour:
    """A section that another one is registered onto.

    Args:
        image: [y, x] normalised float32.
        weight: its say among several neighbours.
        known: [y, x] True where the image is tissue; None where all of it is.
    """

    image: Float
    weight: float = 1.0
    known: Mask | None = None


@dataclass(frozen=True, eq=False)
class Question:
    """One section, and what it is to be registered onto.

    Args:
        moving: [y, x] normalised float32.
        fixed: its neighbours, the nearest first; one for a method that works on pairs.
        known: [y, x] True where the section is tissue; None where all of it is.
    """

    moving: Float
    fixed: Sequence[Neighbour]
    known: Mask | None = None


@dataclass(frozen=True, eq=False)
class PairField:
    """How one section must be pulled to lie on its neighbours.

    Args:
        displacement: [2, y', x'] (dy, dx) px of the full-size section: ``moving(p + u(p)) ~ fixed(p)``. Node i of n
            along an axis of N px sits at px ``(i + 0.5) N / n - 0.5``.
        confidence: [y', x'] 0 to 1, how far it can be trusted; 0 where the method abstains.
        notes: figures worth telling, such as the similarity before and after.
    """

    displacement: Float
    confidence: Float
    notes: Mapping[str, float] = field(default_factory=dict)


class Registrar(Protocol):
    """A built method that answers with a displacement of one section onto others.

    ``how`` says who is asked about whom: "pairs" are asked about one neighbour at a time, and the stack solver
    combines the answers; a "chain" is asked about all neighbours at once, which are aligned already, outwards from
    the reference section. Sections come normalised one by one, large shifts already taken out.
    """

    how: Literal["pairs", "chain"]

    def __call__(self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime) -> PairField:
        """Register a section [y, x] onto its neighbours.

        Args:
            moving: [y, x] the section.
            fixed: its neighbours, the nearest first.
            known: [y, x] True where the section is tissue; None where all of it is.
            runtime: how to compute.

        Raises:
            Cancelled: after ``runtime.cancel``.
        """


@runtime_checkable
class Joint(Protocol):
    """A registrar that answers several questions in one go, so that a GPU is not asked in small steps.

    Law: every answer is the one that the question alone would get, to rounding.
    """

    def together(self, questions: Sequence[Question], runtime: Runtime) -> list[PairField]:
        """Register sections of one size, each onto its own neighbours.

        Args:
            questions: one or more, that do not depend on each other's answers.
            runtime: how to compute.

        Raises:
            Cancelled: after ``runtime.cancel``.
        """


def answers(method: Registrar, questions: Sequence[Question], runtime: Runtime) -> list[PairField]:
    """Ask a registrar several questions, of any sizes: together where it can, else one after another.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    if not isinstance(method, Joint):
        return [method(q.moving, q.fixed, q.known, runtime) for q in questions]
    found: dict[int, PairField] = {}
    for shape in dict.fromkeys(q.moving.shape for q in questions):
        which = [i for i, q in enumerate(questions) if q.moving.shape == shape]
        found |= zip(which, method.together([questions[i] for i in which], runtime), strict=True)
    return [found[i] for i in range(len(questions))]
