"""Leave-one-out evaluation: hide intact sections, synthesise them, score them beside the floors.

Every figure is a mean over the hidden sections, on the source's 8-bit range. PSNR and SSIM at full resolution reward
blur on noisy data, so PSNR is also given after binning to twice and four times the pixel size, and ``mid_band`` is
the power between 0.1 and 0.3 cycles/px relative to the real section (1 = as sharp).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.interpolate.job import Job, check_window
from napari_emsynth.methods.interpolate.plan import Marks, Window
from napari_emsynth.methods.request import weights_of
from napari_emsynth.methods.scoring import check_limit, lost, report, tell
from napari_emsynth.metrics.image import coverage
from napari_emsynth.metrics.scores import Table
from napari_emsynth.sections import check_sections
from napari_emsynth.spec import Runtime
from napari_emsynth.trust.intact import LeftOut, left_out
from napari_emsynth.trust.selfcheck import Calibration, Sample, cross_fitted, mixed
from napari_emsynth.volume import Array, Volume

# Longest distance to a neighbour that is evaluated: a run of seven missing sections.
MAX_GAP = 4
# Larger sections are scored in their middle: a megapixel says as much.
EDGE = 1024


def evaluate(
    volume: Volume | Array,
    *,
    method: str = "emsynth",
    weights: str | None = None,
    gap: int = 1,
    runtime: Runtime = Runtime(),
    sections: Sequence[int] | None = None,
    limit: int = 16,
    flow_floor: bool = True,
) -> dict[str, Any]:
    """Score a method on intact sections as if they were missing.

    Args:
        volume: [z, y, x].
        method: id.
        weights: name or file, None for the default.
        gap: sections from the hidden one to each neighbour that may be looked at, 1 to 4.
        runtime: how to compute.
        sections: which to hide, whatever they look like; None takes up to ``limit`` spread over the stack, none of
            which looks damaged or has a neighbour that does.
        limit: most sections to score.
        flow_floor: also score classical optical flow, the slow floor.

    The method is given what it has in use: its mix and its interval are calibrated on the hidden sections next to
    the one that is scored.

    Returns:
        JSON object: scores of the method and of the floors, the share of pixels inside the stated 90 % interval
        (calibrated on *other* hidden sections), whether the method beats every floor's PSNR, what to use instead where
        it does not, and which sections look damaged.

    Raises:
        InputError: too few sections, a gap out of range, bad sections.
    """
    started = time.monotonic()
    volume = Volume.of(volume)
    hidden = _hidden(volume, gap, sections, limit)
    found = left_out(volume, hidden, runtime=runtime, named=hidden if sections is not None else ())
    if sections is None:
        hidden = _intact(hidden, gap, found)
        if not hidden:
            raise InputError(
                f"no section lies between two intact ones {gap} sections away: {found.told} look damaged; "
                "name the sections to be hidden"
            )
    tell(found, runtime)
    job = _job(volume, method, weights, runtime, found)
    flow = _job(volume, "optical-flow", None, runtime, found) if flow_floor and method != "optical-flow" else None
    window = _window(volume)
    table, samples = Table(), []
    for done, k in enumerate(hidden):
        runtime.cancel.check()
        runtime.progress(done, len(hidden), f"hiding section {k}")
        sample = job.sample(k, _posed(job, k, gap, window), window)
        samples.append(sample)
        if flow is not None:
            moved = flow.sample(k, (-gap, gap), window)
            table.add({"optical_flow": moved.guesses[0]}, moved.known_truth, moved.peak)
    fits = cross_fitted(samples)
    for sample, fit in zip(samples, fits, strict=True):
        candidates = {name: answer for name, answer in sample.baselines().items() if name != method}
        table.add({method: mixed(sample.guesses, fit.mix), **candidates}, sample.known_truth, sample.peak)
    spec, scores = get("interpolate", method), table.means()
    return report(
        spec,
        job.weights,
        started,
        gap=gap,
        sections=hidden,
        scores=scores,
        found=lost(spec, scores),
        where="on hidden sections of this volume",
        damage=found,
        coverage90=held_out_coverage(samples, fits),
    )


def held_out_coverage(samples: Sequence[Sample], fits: Sequence[Calibration]) -> float | None:
    """Return the share of pixels inside the 90 % interval, each section calibrated on its neighbours in the list."""
    if len(samples) < 2:
        return None
    shares = [
        coverage(s.known_truth, mixed(s.guesses, fit.mix), fit.factor * s.scale)
        for s, fit in zip(samples, fits, strict=True)
    ]
    return round(float(np.mean(shares)), 4)


def _hidden(volume: Volume, gap: int, sections: Sequence[int] | None, limit: int) -> list[int]:
    count = volume.shape[0]
    if not 1 <= gap <= MAX_GAP:
        raise InputError(f"gap of {gap} sections is outside 1 to {MAX_GAP} sections")
    if count < 2 * gap + 1:
        raise InputError(f"a gap of {gap} sections needs at least {2 * gap + 1} sections, got {count}")
    if sections is not None:
        chosen = check_sections(list(sections), count)
        for k in chosen:
            if not gap <= k < count - gap:
                raise InputError(
                    f"section {k} has no neighbours {gap} sections away; allowed are {gap} to {count - 1 - gap}"
                )
        return chosen
    check_limit(limit)
    wanted = min(limit, count - 2 * gap)
    return [int(k) for k in np.unique(np.linspace(gap, count - 1 - gap, wanted).round())]


def _posed(job: Job, k: int, gap: int, window: Window) -> tuple[int, ...]:
    """Return the offsets of the sections that may be looked at: every ``gap``-th, two on each side where they exist."""
    near = (-gap, gap)
    far = [o for o in (-2 * gap, 2 * gap) if job.marks.intact(k + o, window)]
    return tuple(sorted((*near, *far)))


def _intact(wanted: Sequence[int], gap: int, found: LeftOut) -> list[int]:
    """Return for each wanted section the nearest that is intact and lies between two that are, none of them twice."""
    looked = set(found.looked)
    usable = [k for k in found.looked if all(z in looked and z not in found for z in (k - gap, k, k + gap))]
    chosen: set[int] = set()
    for k in wanted:
        free = [z for z in usable if z not in chosen]
        chosen |= {min(free, key=lambda z: (abs(z - k), z))} if free else set()
    return sorted(chosen)


def _job(volume: Volume, method: str, weights: str | None, runtime: Runtime, found: LeftOut) -> Job:
    spec = get("interpolate", method)
    marks = Marks(volume.shape, set(), {}, suspects=found.kinds)
    return Job(volume, None, marks, method, spec.params(), weights_of(spec, weights), runtime)


def _window(volume: Volume) -> Window:
    return check_window((slice(0, volume.shape[1]), slice(0, volume.shape[2])), EDGE)
