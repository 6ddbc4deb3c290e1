"""The self-test: warp the user's own sections by a known field, and see whether a method finds it.

With ``s`` a section, ``f`` the one before it, ``g`` a known smooth field without folds, noise independent everywhere::

    u_s: s(p) + noise  onto  s(p + g(p)) + noise      should be g: end-point error                (1)
    u_1: s(p) + noise  onto  s(p) + noise             should be 0: do no harm                     (2)
    u_0: s(p)          onto  f(p)                     nobody knows                                (3)
    u_g: s(p)          onto  f(p + g(p))              should be g + u_0 o (id + g): equivariance  (4)

and none of the four should fold. See :mod:`napari_emsynth.metrics.registration` for the figures. Laws: the volume is
only read, and no more of it than the middle of a few pairs and what it takes to tell that they are not damaged; the
same seed gives the same answer; doing nothing has the size of ``g`` as its errors in (1) and (4).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.random import Generator

from napari_emsynth.errors import InputError
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.methods.align.protocol import Neighbour, Registrar
from napari_emsynth.methods.align.stack.pair import LARGE_PX
from napari_emsynth.methods.align.stack.sections import Section, normalised
from napari_emsynth.methods.align.unfit import looked_over, unfit
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.metrics.registration import cpc, end_point_error, equivariance_error, folds, mean_magnitude
from napari_emsynth.spec import Runtime, no_progress
from napari_emsynth.trust.features import stream
from napari_emsynth.trust.intact import NOTHING, LeftOut
from napari_emsynth.trust.rules import RELIABLE
from napari_emsynth.volume import Float, Volume

EDGE, PAIRS, PAIR = 512, 3, 2
SMALLEST_EDGE = 48
# After so long no further pair is begun.
BUDGET_S = 20.0
# Mean length of the known field, px, and its extent on large sections; of the noise, as a share of the contrast.
WARP_PX, WAVELENGTH_PX, NOISE = 3.0, 48.0, 0.15
# Sections that show less tissue than this are left out.
LEAST_TISSUE = 0.5
# Fit means: most of a known warp is found, real neighbours follow it rather than not, and what is right is left.
MOST_EPE, MOST_EQE, MOST_HARM = 0.1, 0.6, 0.1
QUESTIONS = 4


@dataclass(frozen=True, kw_only=True)
class SelfTest:
    """What was found on ``pairs`` pairs from the middle of the volume; means over them.

    Args:
        method: id.
        pairs: (section, neighbour) that were looked at.
        edge_px: (y, x) px of the crop.
        warp_px: mean length of the known field: what doing nothing would score.
        epe_px: end-point error (1).
        eqe_px: equivariance error (4).
        folds: share of pixels that any answer turns over, 0 to 1.
        harm_px: mean displacement of a section that lies right (2).
        cpc_before: chunked Pearson correlation of the neighbours as they are.
        cpc_after: the same, the section pulled onto its neighbour (3).
        seconds: for one answer.
        left_out: sections that look damaged: no pair holds one.
    """

    method: str
    pairs: tuple[tuple[int, int], ...]
    edge_px: tuple[int, int]
    warp_px: float
    epe_px: float
    eqe_px: float
    folds: float
    harm_px: float
    cpc_before: float
    cpc_after: float
    seconds: float
    left_out: LeftOut = NOTHING

    @property
    def faults(self) -> tuple[str, ...]:
        """What speaks against the method on this volume, a few words each."""
        warp = self.warp_px
        checks = (
            (self.epe_px > MOST_EPE * warp, f"misses a known warp of {warp:.1f} px by {self.epe_px:.2f} px"),
            (self.eqe_px > MOST_EQE * warp, f"follows it on real neighbours only to {self.eqe_px:.2f} px"),
            (self.folds > 0, f"folds {100 * self.folds:.2g} % of the pixels"),
            (self.harm_px > MOST_HARM * warp, f"moves a section that lies right by {self.harm_px:.2f} px"),
        )
        return tuple(said for wrong, said in checks if wrong)

    @property
    def fit(self) -> bool:
        """True when nothing speaks against it."""
        return not self.faults

    @property
    def verdict(self) -> str:
        """One line for the user."""
        if self.faults:
            return f"Be careful: {self.method} {', '.join(self.faults)}"
        return (
            f"Fit for this volume: {self.method} finds a known warp of {self.warp_px:.1f} px to {self.epe_px:.2f} px, "
            f"follows it on real neighbours to {self.eqe_px:.2f} px, and folds nothing"
        )

    def to_json(self) -> dict[str, Any]:
        """Return figures rounded for reading, and the verdict; what cannot be told is null."""
        figures = {k: _rounded(v) if isinstance(v, float) else v for k, v in asdict(self).items()}
        pairs, edge = [list(p) for p in self.pairs], list(self.edge_px)
        told = {"pairs": pairs, "edge_px": edge, "left_out": self.left_out.to_json()}
        return figures | told | {"fit": self.fit, "verdict": self.verdict}


@dataclass(frozen=True)
class _Asked:
    """A method, asked densely."""

    method: Registrar
    runtime: Runtime

    def __call__(self, moving: Section, fixed: Section) -> Float:
        """Return [2, y, x] px; one neighbour, whatever the method does with more."""
        self.runtime.cancel.check()
        found = self.method(moving.image, [Neighbour(fixed.image, 1.0, fixed.known)], moving.known, self.runtime)
        return Displacement(found.displacement[None], (1, *moving.image.shape)).dense(0)


def self_test(
    request: Request,
    *,
    skip: Sequence[int] | None = None,
    pairs: int = PAIRS,
    edge: int = EDGE,
    budget_s: float = BUDGET_S,
) -> SelfTest:
    """Test a method on the middle of a few pairs of neighbouring sections.

    Args:
        request: volume, method, and how to compute; of a method that answers with displacements.
        skip: sections that are not used, beside those that look damaged; an empty list says that none is.
        pairs: most pairs, spread over the stack.
        edge: most px along y and x.
        budget_s: no further pair is begun after so many seconds.

    Raises:
        InputError: a method that redraws sections, sections below 48 px, no two neighbours that show tissue.
        Cancelled: after ``request.runtime.cancel``.
    """
    if request.spec.answers != "displacement":
        raise InputError(f"{request.spec.name} redraws sections: there is no displacement to be tested")
    height, width = request.volume.shape[1:]
    if min(height, width) < SMALLEST_EDGE:
        raise InputError(
            f"sections of {height} x {width} px are too small for a self-test: the limit is {SMALLEST_EDGE} px"
        )
    runtime = request.runtime
    runtime.progress(0, QUESTIONS * pairs, "self-test")
    asked = _Asked(request.built(), replace(runtime, progress=no_progress))
    rows: list[dict[str, float]] = []
    which: list[tuple[int, int]] = []
    count = request.volume.shape[0]
    found = looked_over(request.volume, skip, _spread(count, pairs), replace(runtime, progress=no_progress))
    rng, started = np.random.default_rng(runtime.seed), time.monotonic()
    for moving, fixed in _neighbours(request.volume, unfit(found, skip, count, PAIR), pairs, edge):
        if rows and time.monotonic() - started > budget_s:
            break
        rows.append(_score(asked, moving, fixed, rng))
        which.append((moving.index, fixed.index))
        runtime.progress(QUESTIONS * len(rows), QUESTIONS * pairs, "self-test")
    if not rows:
        raise InputError("no two neighbouring sections show tissue: there is nothing to test on")
    means = {name: _mean([row[name] for row in rows]) for name in rows[0]}
    crop = moving.image.shape
    return SelfTest(method=request.method, pairs=tuple(which), edge_px=(crop[0], crop[1]), left_out=found, **means)


def _neighbours(volume: Volume, skip: frozenset[int], most: int, edge: int) -> Iterator[tuple[Section, Section]]:
    """Yield the middle of up to ``most`` pairs that show tissue, those spread over the stack first."""
    count, height, width = volume.shape
    y, x = middle(height, edge), middle(width, edge)
    spread = _spread(count, most)
    order = [*spread, *(z for z in range(1, count) if z not in spread)]
    given = 0
    for z in order:
        if given == most:
            return
        if {z, z - 1} & skip:
            continue
        moving, fixed = (normalised(i, volume.section(i, y, x)) for i in (z, z - 1))
        if min(moving.share_known, fixed.share_known) >= LEAST_TISSUE and _differ(moving, fixed):
            given += 1
            yield moving, fixed


def _spread(count: int, most: int) -> list[int]:
    """Return sections with one before them, spread over a stack."""
    if count < PAIR:
        return []
    return [int(z) for z in np.unique(np.linspace(1, count - 1, most + 2)[1:-1].round())]


def _differ(a: Section, b: Section) -> bool:
    return not np.array_equal(a.image, b.image)


def _score(asked: _Asked, moving: Section, fixed: Section, rng: Generator) -> dict[str, float]:
    """Ask (1) to (4) of one pair."""
    shape = moving.image.shape
    g, margin = known_warp(rng, shape), min(24, min(shape) // 8)
    nearer = moving.moved_by(_large_shift(moving, fixed))
    started = time.monotonic()
    u_s = asked(_noisy(moving, rng), _noisy(moving.moved_by(g), rng))
    u_1 = asked(_noisy(moving, rng), _noisy(moving, rng))
    u_0, u_g = asked(nearer, fixed), asked(nearer, fixed.moved_by(g))
    seconds = (time.monotonic() - started) / QUESTIONS
    return {
        "warp_px": mean_magnitude(g, margin),
        "epe_px": end_point_error(u_s, g, margin),
        "eqe_px": equivariance_error(u_g, u_0, g, margin),
        "folds": float(np.mean([folds(u) for u in (u_s, u_1, u_0, u_g)])),
        "harm_px": mean_magnitude(u_1, margin),
        "cpc_before": _alike(moving, fixed, margin),
        "cpc_after": _alike(nearer.moved_by(u_0), fixed, margin),
        "seconds": seconds,
    }


def known_warp(rng: Generator, shape: tuple[int, ...]) -> Float:
    """Return a smooth field [2, y, x] px without folds, 3 px long on average, less on small sections.

    Args:
        rng: source of randomness.
        shape: (y, x) px.
    """
    size = min(shape)
    kind = Distortion(shift_px=1.0, rotation_deg=0.3, warp_px=2.0, wavelength_px=min(WAVELENGTH_PX, size / 4))
    g = kind.draw(rng, (shape[0], shape[1]))
    g *= WARP_PX * min(1.0, size / (4 * WAVELENGTH_PX)) / mean_magnitude(g)
    while folds(g) > 0:
        g *= 0.5
    return g


def _large_shift(moving: Section, fixed: Section) -> Float:
    """Return what an alignment takes out beforehand, [2, y, x]: a large shift, whole pixels."""
    both = Volume.of(np.stack((fixed.image, moving.image)))
    match = list(stream(both, no_progress, None))[1].matches[0]
    shift = np.round((match.dy, match.dx))
    if match.quality < RELIABLE or np.hypot(*shift) <= LARGE_PX:
        shift = np.zeros(2)
    return np.broadcast_to(shift[:, None, None], (2, *moving.image.shape)).astype(np.float32)


def _noisy(section: Section, rng: Generator) -> Section:
    noise = rng.normal(0.0, NOISE, section.image.shape)
    return replace(section, image=(section.image + noise).astype(np.float32))


def _alike(a: Section, b: Section, margin: int) -> float:
    inner = slice(margin, -margin)
    images = [np.where(s.known, s.image, np.nan) if s.known is not None else s.image for s in (a, b)]
    return cpc(images[0][inner, inner], images[1][inner, inner])


def _mean(values: Sequence[float]) -> float:
    known = [v for v in values if np.isfinite(v)]
    return float(np.mean(known)) if known else float("nan")


def _rounded(value: float) -> float | None:
    return round(value, 4) if np.isfinite(value) else None
