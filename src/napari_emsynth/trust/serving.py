"""What is shown of sections where they are empty, to networks, filters and measures that know only tissue.

Where a section is empty another serves; where none has anything tissue is continued a little, so that there is no edge.
Laws: what was acquired is not changed; what is shown of a pixel does not depend on what is more than :data:`FRINGE` px
away.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Container, Iterable, Mapping, Sequence

import numpy as np
from scipy.ndimage import distance_transform_edt

from napari_emsynth.trust.margins import Mask
from napari_emsynth.volume import Array

# How far tissue is continued into what is empty everywhere, px: networks must not see an edge there.
FRINGE = 16


def served(
    images: Mapping[int, Array],
    empty: Mapping[int, Mask | None],
    instead: Callable[[int], Sequence[int]],
    *,
    of: Collection[int] | None = None,
    rest: float = 0.0,
) -> dict[int, Array]:
    """Return images whose empty pixels show what the nearest other one has there.

    Where none has anything, tissue is continued for :data:`FRINGE` px.

    Args:
        images: [y, x] by section.
        empty: where each is empty; None where nowhere.
        instead: the others, of a section, in the order in which they serve.
        of: the sections that are wanted, the others only serve; None for all.
        rest: what is shown beyond; of normalised images their mean.
    """
    out, known = {z: images[z] for z in (images if of is None else of)}, _Continued()
    for z, image in out.items():
        left = empty[z]
        if left is None:
            continue
        out[z], left = image.copy(), left.copy()
        for other in instead(z):
            theirs = empty[other]
            here = left if theirs is None else left & ~theirs
            out[z][here] = images[other][here]
            left &= ~here
        if left.any():
            known.draw(out[z], left, rest)
    return out


def tissue(stack: Array, empty: Mask | None, reach: int) -> Array:
    """Return a stack [z, y, x] that shows tissue where it is empty, as far as there is any near, and else the median.

    Args:
        stack: of any real dtype.
        empty: where it is empty; None where nowhere.
        reach: sections on each side that may serve.
    """
    if empty is None:
        return stack
    masks = {z: mask if mask.any() else None for z, mask in enumerate(empty)}
    rest = 0.0 if empty.all() else float(np.median(stack[~empty]))
    drawn = served(dict(enumerate(stack)), masks, lambda z: nearest_first(z, masks, reach), rest=rest)
    return np.stack([drawn[z] for z in sorted(drawn)])


def nearest_first(section: int, sections: Container[int], reach: int) -> list[int]:
    """Return the sections that are no further than ``reach`` from one, the nearest first."""
    return [k for d in range(1, reach + 1) for k in (section - d, section + d) if k in sections]


def everywhere(empty: Iterable[Mask | None]) -> Mask | None:
    """Return where all of some masks [y, x] are set; None where one of them sets nothing."""
    masks = list(empty)
    out: Mask | None = masks[0]
    for mask in masks[1:]:
        out = None if out is None or mask is None else out & mask
    return out if out is not None and out.any() else None


class _Continued:
    """Continues tissue; where it comes from is remembered, as margins of many sections are alike."""

    def __init__(self) -> None:
        self._gone: Mask | None = None
        self._near: tuple[Mask, Array, Array] | None = None

    def draw(self, image: Array, gone: Mask, rest: float) -> None:
        """Fill the pixels of an image [y, x] that are gone."""
        if gone.all():
            image[:] = rest
            return
        if self._near is None or self._gone is None or not np.array_equal(self._gone, gone):
            distance, (y, x) = distance_transform_edt(gone, return_indices=True)
            self._gone, self._near = gone, (distance[gone] <= FRINGE, y[gone], x[gone])
        near, y, x = self._near
        image[gone] = np.where(near, image[y, x], image.dtype.type(rest))
