"""Cells told apart by their dark membranes, without learning: a ruler for volumes, not a tool for segmenting.

What a volume is worth to whoever segments it is how well the same plain recipe does on it. With ``G`` the volume
smoothed, and ``l`` the largest eigenvalue of its Hessian, which is high where a dark sheet crosses ::

    m = max(l, 0) / rms(max(l, 0))                                                          (1)
    d = distance to the membrane { m > THRESHOLD }, seeds = its maxima                      (2)
    regions = watershed of m from the seeds                                                 (3)
    join the two neighbours with the lowest mean m on their common face, while below JOIN   (4)

Laws: the same volume gives the same answer; brightness and contrast of the whole volume do not matter. Arrays are
[z, y, x] with cubic voxels of about 10 nm; the constants were chosen by eye on a volume that nothing is scored on.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter, label, maximum_filter
from skimage.segmentation import watershed

from napari_emsynth.volume import Array, Float

Labels = NDArray[np.int32]
Sides = NDArray[np.int64]

SMOOTH_PX = 1.5
THRESHOLD = 1.4
# Cores nearer to a membrane than this, and pairs of them nearer than this to each other, are no cells of their own.
SEED_PX, APART_PX = 2.0, 4
JOIN = 1.2
# Eigenvalues of so many sections at a time.
SLAB = 8


def membrane_segmentation(volume: Array, join: float = JOIN) -> Labels:
    """Return the cells of an EM volume, [z, y, x] int32 ids from 1.

    Args:
        volume: [z, y, x] intensities, membranes dark, voxels cubic and about 10 nm wide.
        join: mean membrane (1) below which neighbours are one cell; 0 leaves the watershed's regions.
    """
    membrane = ridges(volume)
    regions = watershed(membrane, _seeds(membrane)).astype(np.int32)
    return _joined(regions, membrane, join)


def ridges(volume: Array) -> Float:
    """Return how much each voxel [z, y, x] looks like a dark sheet, (1): 0 or more, rms 1 (0 of a flat volume)."""
    smooth = gaussian_filter(np.asarray(volume, np.float32), SMOOTH_PX)
    out = np.empty_like(smooth)
    for start in range(0, len(smooth), SLAB):
        # Two sections more on each side: what two differences reach.
        low, high = max(0, start - 2), min(len(smooth), start + SLAB + 2)
        largest = _largest_eigenvalue(smooth[low:high])
        stop = min(len(smooth), start + SLAB)
        out[start:stop] = np.maximum(largest[start - low : stop - low], 0)
    rms = float(np.sqrt(np.mean(out**2, dtype=np.float64)))
    return np.asarray(out / np.float32(rms or 1))


def _largest_eigenvalue(smooth: Float) -> Float:
    """Return the largest eigenvalue of the Hessian of a smooth block [z, y, x] with at least 2 voxels an axis.

    In closed form (Smith 1961), several times as fast as the general routine: with ``q`` the mean of the diagonal,
    ``A`` the rest and ``p^2 = tr A^2 / 6``, it is ``q + 2 p cos(arccos(det A / 2 p^3) / 3)``.
    """
    dz, dy, dx = (np.gradient(smooth, axis=axis) for axis in range(3))
    zz, zy, zx = (np.gradient(dz, axis=axis) for axis in range(3))
    yy, yx, xx = np.gradient(dy, axis=1), np.gradient(dy, axis=2), np.gradient(dx, axis=2)
    q = (zz + yy + xx) / 3
    zz, yy, xx = zz - q, yy - q, xx - q
    p = np.sqrt((zz**2 + yy**2 + xx**2 + 2 * (zy**2 + zx**2 + yx**2)) / 6)
    determinant = zz * (yy * xx - yx**2) - zy * (zy * xx - yx * zx) + zx * (zy * yx - yy * zx)
    cosine = np.clip(determinant / np.maximum(2 * p**3, np.float32(1e-30)), -1, 1)
    return np.asarray(q + 2 * p * np.cos(np.arccos(cosine) / 3), np.float32)


def _seeds(membrane: Float) -> Labels:
    """Return (2): a mark for every core, [z, y, x]; one mark when there is none."""
    distance = gaussian_filter(distance_transform_edt(membrane <= THRESHOLD).astype(np.float32), 1.0)
    highest = maximum_filter(distance, 2 * APART_PX + 1) == distance
    marks, count = label(highest & (distance >= SEED_PX), np.ones((3, 3, 3)))
    return np.asarray(marks, np.int32) if count else np.ones(membrane.shape, np.int32)


def _faces(regions: Labels, membrane: Float) -> Iterator[tuple[Sides, Float]]:
    """Yield the two ids [n, 2] and the membrane [n] of voxels of different regions that touch, an axis at a time."""
    for axis in range(3):
        n = regions.shape[axis]
        before, after = (np.moveaxis(regions, axis, 0)[s] for s in (slice(0, n - 1), slice(1, n)))
        differ = before != after
        m = np.moveaxis(membrane, axis, 0)
        height = np.maximum(m[: n - 1][differ], m[1:][differ])
        yield np.sort(np.stack([before[differ], after[differ]], 1), axis=1).astype(np.int64), height


def _borders(regions: Labels, membrane: Float) -> dict[int, dict[int, tuple[float, int]]]:
    """Return of each region its neighbours: sum and number of the membrane's values on the common face."""
    pairs, heights = (np.concatenate(parts) for parts in zip(*_faces(regions, membrane), strict=True))
    count = int(regions.max()) + 1
    keys, which = np.unique(pairs[:, 0] * count + pairs[:, 1], return_inverse=True)
    sums, sizes = np.bincount(which, heights), np.bincount(which)
    out: dict[int, dict[int, tuple[float, int]]] = {}
    for key, total, size in zip(keys.tolist(), sums.tolist(), sizes.tolist(), strict=True):
        a, b = divmod(key, count)
        out.setdefault(a, {})[b] = out.setdefault(b, {})[a] = (total, size)
    return out


def _joined(regions: Labels, membrane: Float, join: float) -> Labels:
    """Return (4), ids from 1."""
    borders = _borders(regions, membrane)
    heap = [(s / n, a, b, n) for a, sides in borders.items() for b, (s, n) in sides.items() if a < b]
    heapq.heapify(heap)
    into = np.arange(int(regions.max()) + 1)
    while heap and heap[0][0] < join:
        _, a, b, size = heapq.heappop(heap)
        if borders.get(a, {}).get(b, (0, -1))[1] != size:
            continue  # the face has grown, or one side has gone, since this was noted
        into[b] = a
        for mean, c, n in _merge(borders, a, b):
            heapq.heappush(heap, (mean, min(a, c), max(a, c), n))
    return _numbered(into)[regions]


def _merge(borders: dict[int, dict[int, tuple[float, int]]], a: int, b: int) -> Iterator[tuple[float, int, int]]:
    """Give b's neighbours to a; yield mean, neighbour and number of voxels of every face of a that changed."""
    del borders[a][b]
    for c, (total, size) in borders.pop(b).items():
        if c == a:
            continue
        del borders[c][b]
        own_total, own_size = borders[a].get(c, (0.0, 0))
        borders[a][c] = borders[c][a] = face = (own_total + total, own_size + size)
        yield face[0] / face[1], c, face[1]


def _numbered(into: NDArray[np.intp]) -> Labels:
    """Return the final id, from 1, of every region, given the region each was joined to."""
    while not np.array_equal(into, into[into]):
        into = into[into]
    return np.asarray(np.unique(into, return_inverse=True)[1], np.int32)  # 0, no region's id, stays 0
