"""Which sections of a stack nothing is measured on when an alignment is checked, tested or evaluated."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import NOTHING, LeftOut, left_out
from napari_emsynth.volume import Volume


def looked_over(volume: Volume, skip: Sequence[int] | None, matter: Iterable[int] | None, runtime: Runtime) -> LeftOut:
    """Return the sections that look damaged and that the user did not speak of.

    Args:
        volume: [z, y, x].
        skip: sections that the user leaves out; an empty list says that none is damaged.
        matter: sections around which they are wanted; None for the whole volume.
        runtime: told how far the search is, asked whether to go on.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    if skip is not None and not skip:
        return NOTHING
    return left_out(volume, matter, runtime=runtime, named=skip or ())


def unfit(found: LeftOut, skip: Sequence[int] | None, count: int, least: int) -> frozenset[int]:
    """Return the sections that are left out, named or found; none of them where too few would be left.

    Args:
        found: of :func:`looked_over`.
        skip: sections that the user leaves out.
        count: sections of the stack.
        least: sections that are needed.
    """
    out = found.sections | frozenset(skip or ())
    return out if count - len(out) >= least else frozenset()
