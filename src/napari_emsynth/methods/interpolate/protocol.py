"""What an interpolation method is given, and what it answers.

Conventions: sections are [y, x] float32 in normalised units (zero mean, unit deviation of each section); ``t`` runs
from 0 (below) to 1 (above). Methods that are symmetric answer the same when below and above are exchanged and t
becomes 1 - t.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

import numpy as np

from napari_emsynth.models.fitted_filter import Offsets, sides
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Float


class Base(Protocol):
    """A filter fitted for a gap."""

    @property
    def error(self) -> float:
        """Root mean square error where the truth is known, normalised units."""

    def mean(self, gap: Gap) -> Float:
        """Return the filter's answer [y, x], normalised."""

    def scale(self, gap: Gap) -> Float:
        """Return the expected size [y, x] of its error, normalised."""


@dataclass(frozen=True, kw_only=True)
class LinearBase:
    """What stands in for a fitted filter where none is known: linear interpolation."""

    error: float = 1.0

    def mean(self, gap: Gap) -> Float:
        """Return linear interpolation [y, x]."""
        return gap.linear

    def scale(self, gap: Gap) -> Float:
        """Return one size for all pixels: [y, x]."""
        return np.full_like(gap.below, self.error)


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
        far_below: [y, x] the next acquired section below, normalised; None where there is none in reach.
        far_above: [y, x] the same above.
        offsets: of the known sections from the wanted one, in order, negative below; empty stands for those of ``t``
            and ``span``.
        fit: the filter fitted on the volume for these offsets.
    """

    below: Float
    above: Float
    t: float = 0.5
    span: float = 2.0
    partial: Float | None = None
    keep: Float | None = None
    far_below: Float | None = None
    far_above: Float | None = None
    offsets: Offsets = ()
    fit: Base = field(default_factory=LinearBase)

    def __post_init__(self) -> None:
        if not self.offsets:
            below = max(1, round(self.t * self.span))
            object.__setattr__(self, "offsets", (-below, max(1, round(self.span - below))))

    @cached_property
    def linear(self) -> Float:
        """Linear interpolation between the nearest sections: [y, x]."""
        return np.asarray((1 - self.t) * self.below + self.t * self.above, dtype=np.float32)

    def known(self) -> Float:
        """Return the known sections in the order of the offsets: [s, y, x]."""
        below, above = sides(self.offsets)
        sections = [*(self.below, self.far_below)[: len(below)][::-1], *(self.above, self.far_above)[: len(above)]]
        assert all(section is not None for section in sections)
        return np.stack(sections)  # type: ignore[arg-type]


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
    candidates: tuple[Callable[[], Float], ...] = ()


class Interpolator(Protocol):
    """A built method.

    ``halo`` is how many px around a window it looks at; windows are read with that much more on each side. ``factor``
    turns ``scale`` into the half width of the 90 % interval where no self-check is possible. A method that looks at far
    sections and at the fitted filter says so by an attribute ``fitted = True``; others are not made to wait for them.
    """

    halo: int
    factor: float

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Synthesise one section."""
