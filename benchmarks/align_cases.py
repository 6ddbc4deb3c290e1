"""Pairs of sections and stacks whose distortion is known, for ``align.py``.

Pull convention: ``distorted(p) = section(p + g(p))``, g [2, y, x] (dy, dx) px. Nothing in a case is made up: warped
sections are cut from larger ones. Real neighbours were moved onto each other by whole pixels (phase correlation), for
every method alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from align_ours import DEFAULT, aligned
from scipy.ndimage import gaussian_filter, map_coordinates
from skimage.registration import phase_cross_correlation

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.metrics.image import psnr
from napari_emsynth.metrics.registration import drift, folds, mean_magnitude, stack_cpc, stack_residual

Image = np.ndarray
Field = np.ndarray

SSTEM = ("vnc_sstem_eval", "cremi_sstem_eval")
ISOTROPIC = "fib25_eval"
# Deviation of the noise added to both sections of a self-pair, grey levels of 8 bits.
NOISE = 8.0
MEAN_WARP_PX = 3.3
# Larger sections are cut by this much on every side; no warp and no whole-pixel move may reach further.
RIM_PX = 32
FURTHEST_PX = 16
# Pixels at the border that have no counterpart do not count.
MARGIN_PX = 16
WARP = Distortion(shift_px=1.5, rotation_deg=0.4, warp_px=2.5, wavelength_px=32)
SMOOTH = Distortion(shift_px=1.5, rotation_deg=0.4, warp_px=2.5, wavelength_px=96)
JITTER = Distortion(shift_px=2.0, rotation_deg=0.3, warp_px=1.0, wavelength_px=48)
# Rows and columns that are cut off a jittered stack.
STACK_RIM_PX = 8
# Of 0.02 to 2, tried with DIS on training data, what leaves least.
ANCHOR = 0.5


@dataclass(frozen=True)
class Pair:
    """One section, and what it is registered onto.

    Args:
        moving: [y, x] float32 8-bit grey levels, with noise where it is registered onto itself.
        itself: [y, x] the same section pulled by ``warp``, with noise of its own.
        noisy: [y, x] ``moving`` with noise.
        fixed: [y, x] its real neighbour.
        warped: [y, x] the neighbour pulled by ``warp``.
        warp: [2, y, x] known, px.
    """

    moving: Image
    noisy: Image
    itself: Image
    fixed: Image
    warped: Image
    warp: Field

    @property
    def asked(self) -> list[tuple[Image, Image]]:
        """The three questions (moving, fixed): the known warp, the neighbour, the warped neighbour."""
        return [(self.noisy, self.itself), (self.moving, self.fixed), (self.moving, self.warped)]


@dataclass(frozen=True)
class Stack:
    """An aligned stack, and the same one distorted.

    Args:
        truth: [z, y, x] uint8.
        jittered: [z, y, x] uint8.
        known: [z, 2, y, x] px.
    """

    truth: Image
    jittered: Image
    known: Field


def pulled(section: Image, u: Field, origin: tuple[float, float] = (0, 0)) -> Image:
    """Return [y, x] ``section(origin + p + u(p))``, cubic, the edge repeated beyond it."""
    there = np.indices(u.shape[1:]) + np.reshape(origin, (2, 1, 1)) + u
    return map_coordinates(np.asarray(section, np.float32), there, order=3, mode="nearest")


def known_warp(kind: Distortion, rng: np.random.Generator, edge: int) -> Field:
    """Return a warp [2, edge, edge] of the mean magnitude every pair has; one without folds."""
    while True:
        warp = kind.draw(rng, (edge, edge))
        warp *= MEAN_WARP_PX / mean_magnitude(warp)
        if np.abs(warp).max() < RIM_PX - 2 and folds(warp) == 0:
            return warp


def pair(volume: Image, edge: int, kind: Distortion, rng: np.random.Generator) -> Pair:
    """Return a random pair from a volume [z, y, x] of at least ``edge`` + 2 x 32 px."""
    z = int(rng.integers(1, len(volume)))
    size = edge + 2 * RIM_PX
    top, left = (int(rng.integers(0, n - size + 1)) for n in volume.shape[1:])
    fixed, before = (volume[i, top : top + size, left : left + size].astype(np.float32) for i in (z - 1, z))
    dy, dx = whole_pixels(before, fixed)
    y, x = RIM_PX + dy, RIM_PX + dx
    moving = before[y : y + edge, x : x + edge]
    warp = known_warp(kind, rng, edge)
    rim = (RIM_PX, RIM_PX)
    noisy, itself = (i + rng.normal(0, NOISE, i.shape) for i in (moving, pulled(before, warp, (y, x))))
    inner = slice(RIM_PX, RIM_PX + edge)
    parts = (moving, noisy, itself, fixed[inner, inner], pulled(fixed, warp, rim))
    return Pair(*(np.ascontiguousarray(p, np.float32) for p in parts), warp)


def whole_pixels(moving: Image, fixed: Image) -> tuple[int, int]:
    """Return (dy, dx) px that pull a section onto its neighbour, 16 px at most, 0 where that does not help."""
    smooth = [gaussian_filter(i, 2.0) for i in (moving, fixed)]
    shift, _, _ = phase_cross_correlation(smooth[1], smooth[0], normalization=None)
    dy, dx = (-round(float(s)) for s in shift)
    return (dy, dx) if max(abs(dy), abs(dx)) <= FURTHEST_PX else (0, 0)


def pairs(data: Path, count: int, edge: int, kind: Distortion, seed: int) -> list[Pair]:
    """Return random pairs of neighbouring ssTEM sections, from every volume in turn that is large enough."""
    rng = np.random.default_rng((seed, edge))
    volumes = [tifffile.imread(data / f"{name}.tif") for name in SSTEM]
    large = [v for v in volumes if min(v.shape[1:]) >= edge + 2 * RIM_PX]
    return [pair(large[i % len(large)], edge, kind, rng) for i in range(count)]


def stack(data: Path, sections: int, seed: int, axis: int = 0) -> Stack:
    """Return every second section of the isotropic volume, as it is and jittered; see :func:`distorted`."""
    return distorted(tifffile.imread(data / f"{ISOTROPIC}.tif"), sections, seed, axis)


def distorted(volume: Image, sections: int, seed: int, axis: int) -> Stack:
    """Return every second section of an isotropic volume [z, y, x] along an axis, as it is and jittered.

    8 px on every side of a section are cut off, so that no pixel is made up. Each seed begins at another section.
    Along z the sections wobble as they were milled; along x or y milling moves all of them alike, so that they lie
    right by themselves.
    """
    whole = np.moveaxis(volume, axis, 0)
    rng = np.random.default_rng((seed, sections))
    first = int(rng.integers(0, len(whole) - 2 * (sections - 1)))
    truth = whole[first : first + 2 * sections - 1 : 2].astype(np.float32)
    known = np.stack([JITTER.draw(rng, truth.shape[1:]) for _ in range(sections)])
    jittered = np.stack([pulled(t, k) for t, k in zip(truth, known, strict=True)])
    inner = (..., slice(STACK_RIM_PX, -STACK_RIM_PX), slice(STACK_RIM_PX, -STACK_RIM_PX))
    return Stack(to_bytes(truth[inner]), to_bytes(jittered[inner]), known[inner])


def to_bytes(image: Image) -> Image:
    """Return uint8."""
    return np.clip(np.rint(image), 0, 255).astype(np.uint8)


# ------------------------------------------------------------------------------ figures of a stack


def left(case: Stack, applied: Field) -> dict[str, float]:
    """Return what an alignment [z, 2, y, x] leaves of the jitter, px, and how the stack looks then."""
    moved = np.stack([pulled(j, u) for j, u in zip(case.jittered, applied, strict=True)])
    reference = np.stack([pulled(t, d) for t, d in zip(case.truth, drift(applied, case.known), strict=True)])
    inner = (..., slice(MARGIN_PX, -MARGIN_PX), slice(MARGIN_PX, -MARGIN_PX))
    return {
        "before": stack_residual(np.zeros_like(applied), case.known, MARGIN_PX),
        "after": stack_residual(applied, case.known, MARGIN_PX),
        "stack_folds": 100 * float(np.mean([folds(u) for u in applied])),
        "psnr": psnr(moved[inner], reference[inner]),
        "stack_cpc": stack_cpc(moved[inner]),
    }


def harm(alone: Field) -> float:
    """Return how far an alignment [z, 2, y, x] moves the unjittered stack, px."""
    return float(np.mean([mean_magnitude(u, MARGIN_PX) for u in alone]))


def wobble(alone: Field) -> float:
    """Return how much of that is fast: what an alignment takes for the unjittered stack's own jitter, px."""
    return stack_residual(alone, np.zeros_like(alone), MARGIN_PX)


@dataclass(frozen=True)
class StackTest:
    """Means over the stacks of our default, asked as a user asks it; px.

    Args:
        before: residual of the jitter.
        after: what remains of it.
        beside: what remains of it when what the method takes out of the unjittered stack is no error.
        harm: done to the unjittered stack.
        wobble: fast displacement found in the unjittered stack when no section is left alone.
        folds: % of the pixels that are turned over.
    """

    before: float
    after: float
    beside: float
    harm: float
    wobble: float
    folds: float


def stack_test(volume: Image, axis: int, *, sections: int = 32, seeds: int = 3, device: str = "cpu") -> StackTest:
    """Jitter stacks whose sections lie along an axis of an isotropic volume [z, y, x], and align them by our default.

    Args:
        volume: at least 2 ``sections`` - 1 voxels along the axis.
        axis: 0 for z, 2 for x.
        sections: of a stack.
        seeds: how many stacks.
        device: to compute on.
    """
    rows = []
    for seed in range(seeds):
        case = distorted(volume, sections, seed, axis)
        applied, alone = (aligned(DEFAULT, s, device) for s in (case.jittered, case.truth))
        # Sections that are left alone say nothing of how they lie.
        all_of_it = aligned(DEFAULT, case.truth, device, {"leave_px": 0.0})
        found = left(case, applied)
        beside = stack_residual(applied, case.known, MARGIN_PX, alone=all_of_it)
        rows.append((found["before"], found["after"], beside, harm(alone), wobble(all_of_it), found["stack_folds"]))
    return StackTest(*(float(v) for v in np.mean(rows, axis=0)))


# ------------------------------------------------------------------------------ pairs to a stack


def couples(sections: int, reach: int) -> list[tuple[int, int]]:
    """Return (section, neighbour) for every section and so many before it."""
    return [(z, z - d) for z in range(sections) for d in range(1, reach + 1) if z >= d]


def solved(found: dict[tuple[int, int], Field], sections: int, anchor: float = ANCHOR, turns: int = 3) -> Field:
    """Return [z, 2, y, x] that explains pairwise answers best, in least squares, anchored at no move.

    A pair's answer u says ``w_z(p) = w_n(p) + u(p + w_n(p))``; it weighs 1 / distance, the anchor ``w_z = 0`` weighs
    ``anchor``. The places ``p + w_n(p)`` are taken from the last turn.
    """
    system = anchor * np.eye(sections)
    for z, n in found:
        weight = 1 / (z - n)
        system[[z, n], [z, n]] += weight
        system[[z, n], [n, z]] -= weight
    inverse = np.linalg.inv(system)
    shape = next(iter(found.values())).shape
    w = np.zeros((sections, *shape))
    for _ in range(turns):
        right = np.zeros_like(w)
        for (z, n), u in found.items():
            there = np.indices(shape[1:]) + w[n]
            at = np.stack([map_coordinates(c, there, order=1, mode="nearest") for c in u]) / (z - n)
            right[z] += at
            right[n] -= at
        w = np.tensordot(inverse, right, 1)
    return w.astype(np.float32)
