"""Label sections between two label sections, from the shapes of the objects in both.

An *object* is a connected part of one id in the lower section, the parts of the same id in the upper section that it
overlaps, and all that hangs together this way. With ``d_0``, ``d_1`` the signed distances to its border in the lower
and the upper section (px, positive inside), ``c_0``, ``c_1`` its centroids, ``v = c_1 - c_0`` where shapes moved by
``v`` overlap well, and more than as they lie, else 0, and ``t`` the place between the sections, 0 to 1::

    D(p) = (1 - t) d_0(p - t v) + t d_1(p + (1 - t) v)                                          (1)
    the voxel p belongs to the object with the largest D(p)                                     (2)

The background, id 0, has no shape of its own: in (1) its ``v`` is that of the object which is largest at ``p``. An
object that only one of the sections holds ends half way to the other one, round: with ``M`` its greatest depth and
``u`` the distance from its section, ``t`` or ``1 - t``, it has the voxels with ::

    d(p) > M min(1 - sqrt(1 - 2 u), m),   u <= 1/2                                              (3)

whatever (2) says of them. ``m`` is 1, and 1/2 where the other section does not hold the id at all: an id is not lost
before half way. (1) with ``v = 0`` is Raya & Udupa (1990).

Laws: every id of the answer is one of both sections; two equal sections give themselves; a shape that moves without
changing keeps its area, its centroid runs on a line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from skimage.measure import label

from napari_emsynth.volume import Array, Float

Bool = NDArray[np.bool_]
Window = tuple[slice, slice]

BACKGROUND = 0
# Objects bid for voxels up to this far, in px, outside the smallest window that holds both of their shapes.
REACH = 12
# Shapes that share less of both together, once moved, are not the same shape elsewhere.
ALIKE = 0.5
# Signed distance where a shape fills its whole window, px.
DEEP = 1e3


@dataclass(frozen=True)
class Objects:
    """What two sections show.

    Args:
        sections: [y, x] of both, the number of the object at every voxel, from 1.
        ids: [n] of the objects.
        windows: of both sections, per object, the smallest that holds it; None where the section does not.
    """

    sections: tuple[Array, Array]
    ids: Array
    windows: tuple[list[Window | None], list[Window | None]]

    @classmethod
    def of(cls, below: Array, above: Array) -> Objects:
        """Find the objects of two sections [y, x]."""
        ids, found = np.unique(np.stack([below, above]), return_inverse=True)
        lower, upper = found.reshape(2, *below.shape)
        parts = [label(s, background=-1, connectivity=1) - 1 for s in (lower, upper)]
        counts = [int(part.max()) + 1 for part in parts]
        shared = lower == upper
        pairs = np.unique(parts[0][shared].astype(np.int64) * counts[1] + parts[1][shared])
        links = coo_matrix(
            (np.ones(len(pairs), np.int8), (pairs // counts[1], counts[0] + pairs % counts[1])),
            shape=(sum(counts), sum(counts)),
        )
        count, numbers = connected_components(links, directed=False)
        sections = numbers[: counts[0]][parts[0]] + 1, numbers[counts[0] :][parts[1]] + 1
        of_object = np.empty(count, ids.dtype)
        for numbered, section in zip(sections, (below, above), strict=True):
            of_object[numbered.ravel() - 1] = section.ravel()
        lower_windows, upper_windows = (ndimage.find_objects(s, count) for s in sections)
        return cls(sections, of_object, (lower_windows, upper_windows))

    def masks(self, n: int, window: Window) -> tuple[Bool, Bool]:
        """Return the object's shapes in both sections, inside a window."""
        lower, upper = (section[window] == n + 1 for section in self.sections)
        return lower, upper

    def through(self, *, background: bool) -> list[int]:
        """Return the objects that both sections hold, either of the background or of ids."""
        is_background = self.ids == BACKGROUND
        held = [a is not None and b is not None for a, b in zip(*self.windows, strict=True)]
        return np.flatnonzero(np.asarray(held) & (is_background == background)).tolist()


@dataclass
class _Between:
    """One section in the making.

    Args:
        t: its place, 0 to 1.
        ids: [y, x].
        bid: [y, x] the largest D so far; -inf where nobody has bidden.
        v: [2, y, x] px, of the object that has the voxel.
    """

    t: float
    ids: Array
    bid: Float
    v: Float

    @classmethod
    def of(cls, t: float, nearer: Array) -> _Between:
        """Return a section on which nobody has bidden."""
        shape = nearer.shape
        return cls(t, nearer.copy(), np.full(shape, -np.inf, np.float32), np.zeros((2, *shape), np.float32))

    def offer(self, window: Window, bid: Float, id_: int | Array, v: Array | None = None) -> None:
        """Give the voxels of a window to an id where it bids more than anyone before, (2)."""
        won = bid > self.bid[window]
        self.bid[window][won] = bid[won]
        self.ids[window][won] = id_
        if v is not None:
            for axis, along in enumerate(v):
                self.v[axis][window][won] = along

    def fill(self) -> None:
        """Give voxels on which nobody has bidden to the object nearest to them."""
        empty = np.isneginf(self.bid)
        if empty.any() and not empty.all():
            at = ndimage.distance_transform_edt(empty, return_distances=False, return_indices=True)
            self.ids[empty] = self.ids[tuple(at)][empty]


def between(below: Array, above: Array, places: Sequence[float]) -> list[Array]:
    """Return the label sections between two.

    Args:
        below: [y, x] ids, integers or booleans.
        above: [y, x] of the same type.
        places: of the sections wanted, each above 0 and below 1.

    Returns:
        [y, x] of the same type, one a place.
    """
    if np.array_equal(below, above):
        return [below.copy() for _ in places]
    inner = _inhabited(below, above)
    made = _drawn(below[inner], above[inner], places)
    sections = [np.zeros_like(below) for _ in places]
    for section, part in zip(sections, made, strict=True):
        section[inner] = part
    return sections


def _inhabited(below: Array, above: Array) -> Window:
    """Return the window outside which, and REACH inside which, both sections are background."""
    held = (below != BACKGROUND) | (above != BACKGROUND)
    rows, columns = (np.flatnonzero(held.any(axis=axis)) for axis in (1, 0))
    return _grown((slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)), below.shape)


def _drawn(below: Array, above: Array, places: Sequence[float]) -> list[Array]:
    objects = Objects.of(below, above)
    made = [_Between.of(t, below if t <= 0.5 else above) for t in places]
    for n in objects.through(background=False):
        _offer_shape(objects, n, made)
    background = objects.through(background=True)
    if background:
        _offer_background([np.isin(section, np.add(background, 1)) for section in objects.sections], made)
    for section in made:
        section.fill()
    lasting = {BACKGROUND, *np.intersect1d(below, above).tolist()}
    for upper in (1, 0):  # half way the lower section has its say last
        mine, other = objects.windows[upper], objects.windows[1 - upper]
        ends = _Ends(objects.sections[upper], bool(upper), made)
        for n, (window, there) in enumerate(zip(mine, other, strict=True)):
            if window is not None and there is None:
                ends.draw(n, window, objects.ids[n], 1.0 if objects.ids[n].item() in lasting else 0.5)
    return [section.ids for section in made]


def _offer_shape(objects: Objects, n: int, made: Sequence[_Between]) -> None:
    """Let an object that both sections hold bid, (1)."""
    lower, upper = (windows[n] for windows in objects.windows)
    assert lower is not None and upper is not None  # noqa: PT018 - one fact
    around = tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(lower, upper, strict=True))
    window = _grown((around[0], around[1]), objects.sections[0].shape)
    masks = objects.masks(n, window)
    v = _motion(*masks)
    d_0, d_1 = map(_signed_distance, masks)
    for section in made:
        t = section.t
        bid = (1 - t) * _moved(d_0, t * v) + t * _moved(d_1, (t - 1) * v)  # (1)
        section.offer(window, bid, objects.ids[n], v)


def _offer_background(masks: Sequence[Bool], made: Sequence[_Between]) -> None:
    """Let the background that both sections hold bid: it moves with the object at each voxel."""
    d_0, d_1 = map(_signed_distance, masks)
    whole = (slice(None), slice(None))
    places = np.indices(d_0.shape, np.float32)
    for section in made:
        t = section.t
        bid = (1 - t) * _at(d_0, places - t * section.v) + t * _at(d_1, places + (1 - t) * section.v)
        section.offer(whole, bid, BACKGROUND)


@dataclass(frozen=True)
class _Ends:
    """Draws objects that one section holds and the other does not.

    Args:
        section: [y, x] numbers of objects.
        is_upper: which section that is.
        made: between the two.
    """

    section: Array
    is_upper: bool
    made: Sequence[_Between]

    def draw(self, n: int, window: Window, id_: int, narrowest: float) -> None:
        """Draw an object until it ends, (3); ``narrowest`` is m."""
        around = _grown(window, self.section.shape, 1)
        depth = _signed_distance(self.section[around] == n + 1)
        for between_ in self.made:
            u = 1 - between_.t if self.is_upper else between_.t
            if u <= 0.5:
                rim = min(1 - np.sqrt(1 - 2 * u), narrowest)
                between_.ids[around][depth > depth.max() * rim] = id_  # (3)


def _motion(lower: Bool, upper: Bool) -> Float:
    """Return the (dy, dx) px by which a shape moves from one section to the other; 0 where that is no better."""
    v = np.subtract(_centroid(upper), _centroid(lower)).astype(np.float32)
    whole = np.rint(v).astype(int)
    if not whole.any():
        return np.zeros_like(v)
    moved = ndimage.shift(lower.astype(np.uint8), whole, order=0) > 0
    both = (moved & upper).sum()
    alike = both >= ALIKE * (moved | upper).sum()
    return v if alike and both > (lower & upper).sum() else np.zeros_like(v)


def _centroid(mask: Bool) -> tuple[float, float]:
    y, x = np.nonzero(mask)
    return float(y.mean()), float(x.mean())


def _signed_distance(mask: Bool) -> Float:
    """Return how far [y, x] px each voxel is inside a shape, negative outside; borders lie between voxels."""
    if mask.all():
        return np.full(mask.shape, DEEP, np.float32)
    inside, outside = ndimage.distance_transform_edt(mask), ndimage.distance_transform_edt(~mask)
    signed: Float = np.where(mask, inside - 0.5, 0.5 - outside).astype(np.float32)
    return signed


def _moved(d: Float, v: Float) -> Float:
    """Return ``d`` [y, x] moved by (dy, dx) px."""
    if not v.any():
        return d
    moved: Float = ndimage.shift(d, v, order=1, mode="nearest")
    return moved


def _at(d: Float, places: Float) -> Float:
    """Return ``d`` [y, x] at places [2, y, x]."""
    values: Float = ndimage.map_coordinates(d, places, order=1, mode="nearest")
    return values


def _grown(window: Window, shape: Sequence[int], by: int = REACH) -> Window:
    """Return a window with more around it, where there is more."""
    y, x = (slice(max(0, s.start - by), min(n, s.stop + by)) for s, n in zip(window, shape, strict=True))
    return y, x
