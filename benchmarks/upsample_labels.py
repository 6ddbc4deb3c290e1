"""Labels made coarser and upsampled again: how many voxels get their id back, beside other ways to go between sections.

Point: every k-th section is kept, and what was left out is scored. Slab: of k sections every voxel keeps the id that
most of them have, and everything is scored. Voxels that the truth gives no id do not count.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, find_objects

from napari_emsynth.methods.upsample.labels.labels import upsample_labels
from napari_emsynth.methods.upsample.lattice import Lattice, Sampling
from napari_emsynth.metrics import adapted_rand, voi
from napari_emsynth.volume import Array, Float

FACTORS = (2, 4, 8)
# Signed distances are compared up to so many px around an object: farther away, 2 voxels in 100000 differ.
REACH = 40


@dataclass(frozen=True)
class Labelled:
    """One question.

    Args:
        factor: by which labels were made coarser, whole.
        sampling: how.
        truth: [z, y, x] ids, cut to what ``thick`` spans.
        thick: [z', y, x] ids, what the user would have.
    """

    factor: int
    sampling: Sampling
    truth: Array
    thick: Array

    @classmethod
    def of(cls, ids: Array, factor: int, sampling: Sampling) -> Labelled:
        """Make labels coarser along z."""
        if sampling == "point":
            truth = ids[: (len(ids) - 1) // factor * factor + 1]
            return cls(factor, sampling, truth, truth[::factor])
        truth = ids[: len(ids) // factor * factor]
        runs = truth.reshape(-1, factor, *ids.shape[1:])
        return cls(factor, sampling, truth, np.stack([most(run) for run in runs]))

    @property
    def lattice(self) -> Lattice:
        """Where the sections of the answer lie."""
        return Lattice(len(self.thick), self.factor, self.sampling)

    @property
    def scored(self) -> list[int]:
        """Sections that the user does not have."""
        return [j for j in range(len(self.truth)) if self.lattice.acquired(j) is None]


def most(run: Array) -> Array:
    """Return the id [y, x] that most sections of a run [k, y, x] have, the first of equals."""
    votes = (run[:, None] == run[None]).sum(axis=1)
    return np.take_along_axis(run, votes.argmax(axis=0)[None], axis=0)[0]


# --------------------------------------------------------------------------------------------- rows


def nearest(case: Labelled) -> Array:
    """Repeat the nearest section; interpolating every id by itself, linearly, is the same."""
    return case.thick[[case.lattice.nearest(j) for j in range(len(case.truth))]]


def distances(case: Labelled) -> Array:
    """Give every voxel to the id with the largest signed distance, interpolated linearly (Raya & Udupa 1990)."""
    out = nearest(case)
    for below in range(len(case.thick) - 1):
        places = [case.lattice.neighbours(j) for j in range(len(case.truth))]
        wanted = [(j, t) for j, (lower, _, t) in enumerate(places) if lower == below and 0 < t < 1]
        pair = case.thick[below : below + 2]
        best = {j: np.full(pair[0].shape, -np.inf) for j, _ in wanted}
        for i, window in enumerate(find_objects(pair), 1):
            if window is None:
                continue
            around = tuple(slice(max(0, s.start - REACH), s.stop + REACH) for s in window[1:])
            lower, upper = (_signed(section[around] == i) for section in pair)
            for j, t in wanted:
                bid = (1 - t) * lower + t * upper
                won = bid > best[j][around]
                best[j][around][won] = bid[won]
                out[j][around][won] = i
    return out


def _signed(mask: Array) -> Float:
    if not mask.any():
        return np.full(mask.shape, -max(mask.shape), np.float32)
    signed: Float = distance_transform_edt(mask) - distance_transform_edt(~mask)
    return signed


def contours(case: Labelled) -> Array:
    """Ask ITK's morphological contour interpolation (Zukic 2016); what it leaves empty is the nearest section's."""
    import itk

    sparse = np.zeros_like(case.truth)
    sparse[:: case.factor] = case.thick
    image = itk.image_view_from_array(sparse)
    found = np.asarray(itk.morphological_contour_interpolator(image, axis=2))
    return np.where(found == 0, nearest(case), found)


def shapes(case: Labelled) -> Array:
    """Ask what the package delivers."""
    answer: Array = upsample_labels(case.thick, case.factor, case.sampling)
    return answer


def has_contours() -> bool:
    """Return True when ITK and its module ``itk-morphologicalcontourinterpolation`` are installed."""
    try:
        import itk
    except ImportError:
        return False
    return hasattr(itk, "MorphologicalContourInterpolator")


ROWS: dict[str, Callable[[Labelled], Array]] = {
    "nearest": nearest, "shapes": shapes, "signed distances": distances, "ITK contours": contours,
}  # fmt: skip

# ------------------------------------------------------------------------------------------- scores


def right(truth: Array, found: Array) -> dict[str, float]:
    """Return the share of voxels with their own id, the mean Dice over ids, VOI in bits and the adapted Rand error."""
    counts = truth != 0
    truth, found = truth[counts], found[counts]
    size = max(int(truth.max()), int(found.max())) + 1
    both = np.bincount(truth[truth == found], minlength=size)
    sizes = np.bincount(truth, minlength=size), np.bincount(found, minlength=size)
    held = sizes[0] > 0
    dice = 2 * both[held] / (sizes[0] + sizes[1])[held]
    return {
        "right": float((truth == found).mean()),
        "dice": float(dice.mean()),
        "voi": sum(voi(truth, found)),
        "rand_error": adapted_rand(truth, found)[0],
    }


def answers(name: str, case: Labelled) -> bool:
    """Return whether a row is installed and can answer a case."""
    # ITK wants sections that lie where voxels are.
    return name != "ITK contours" or (case.sampling == "point" and has_contours())


def labels(
    ids: Array, factors: Sequence[int], samplings: Sequence[Sampling]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """Score all that rows answer of a labelled volume [z, y, x]: case, row, figures."""
    cases = [Labelled.of(ids, k, sampling) for sampling in samplings for k in FACTORS if k in factors]
    for name, way in ROWS.items():
        for case in cases:
            if answers(name, case):
                started = time.perf_counter()
                answer = way(case)
                seconds = time.perf_counter() - started
                figures = right(case.truth[case.scored], answer[case.scored]) | {"seconds": seconds}
                yield f"labels {case.sampling} x{case.factor}", name, figures
