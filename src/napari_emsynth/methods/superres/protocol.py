"""What a method of lateral super-resolution is asked, and what it answers.

Conventions: blocks are [2 n + 1, y, x] float32, neighbouring low-resolution sections, normalised (zero mean, unit
deviation of the whole low-resolution volume), ``n`` the method's context; the caller may leave out sections between
them, as far as ``spacing`` allows, and beyond the volume's ends, and for damaged neighbours, it repeats the nearest
intact section. Answers are in the same units; edges are kept, so that low-resolution pixel ``i`` stands for fine pixels
``f i`` to ``f i + f - 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


@dataclass(frozen=True)
class Finer:
    """The middle section of a block, made finer.

    Args:
        mean: [f y, f x] normalised.
        scale: [f y, f x] the Laplace scale of its error, normalised; None when the method does not know.
        mask: [f y, f x] in [0, 1], how much a learned prior rather than the data has a say; None without a prior.
    """

    mean: Float
    scale: Float | None = None
    mask: Float | None = None


class Superresolver(Protocol):
    """A built method.

    Attributes:
        factor: f, by which pixels become smaller; None when it can do any.
        context: n, sections it looks at on each side.
        spacing: most sections from one of them to the next; 1 where it knows adjacent ones only.
        halo: low-resolution px it looks at on each side in plane.
        multiple: blocks start at multiples of this, in low-resolution px from the section's corner, and so is the halo:
            a network with strides sees every part of a section in the same phase.
        confidence: from ``scale`` to the half width of the 90 % interval; None when the method does not know itself.
    """

    factor: int | None
    context: int
    spacing: int
    halo: int
    multiple: int
    confidence: Confidence | None

    def __call__(self, block: Float, factor: int, runtime: Runtime) -> Finer:
        """Make the middle section of a block [2 n + 1, y, x] finer."""
