"""What an interpolation method is given, and what it answers.

Conventions: sections are [y, x] float32 in normalised units (zero mean, unit deviation of each section); ``t`` runs
from 0 (below) to 1 (above). Methods that are symmetric answer the same when below and above are exchanged and t
becomes 1 - t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


@dataclass(frozen=True, kw_only=True)
class Gap:
    """One section (or a window of it) to be synthesised.

    Args:
        below: [y, x] the acquired section below, normalised.
        above: [y, x] the acquired section above, normalised. Equal to ``below`` when only one side is known.
        t: position between them, in (0, 1).
        span: sections from below to above; 2 when a single one is missing.
        partial: [y, x] the damaged section itself, normalised; None when nothing of it is to be kept.
        keep: [y, x] 1.0 where ``partial`` is intact.
    """

    below: Float
    above: Float
    t: float = 0.5
    span: float = 2.0
    partial: Float | None = None
    keep: Float | None = None


@dataclass(frozen=True)
class Synthesis:
    """The answer.

    Args:
        mean: [y, x] normalised.
        scale: [y, x] expected size of the error, normalised, up to a factor that the self-check calibrates;
            None when the method has no opinion (then one size stands for all pixels).
        rivals: other guesses [y, x] of the same section, each computed when it is called. The self-check finds out on
            the user's own sections how much of each to mix in; without it they are ignored.
    """

    mean: Float
    scale: Float | None = None
    rivals: tuple[Callable[[], Float], ...] = ()


class Interpolator(Protocol):
    """A built method.

    ``halo`` is how many px around a window it looks at; windows are read with that much more on each side. ``factor``
    turns ``scale`` into the half width of the 90 % interval where no self-check is possible.
    """

    halo: int
    factor: float

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Synthesise one section."""
