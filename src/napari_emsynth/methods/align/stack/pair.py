"""One section held against others: the large shift first, then the method, then a judgement.

An answer is used when the two sections overlap, when the method trusts it somewhere, and when the pulled section has
something in common with the other one: the chunked Pearson correlation of both, binned to twice the pixel size.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.dialogue import Dialogue
from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField, Question
from napari_emsynth.methods.align.stack.alignment import PairReport
from napari_emsynth.methods.align.stack.sections import Section
from napari_emsynth.methods.align.stack.solve import Measured
from napari_emsynth.metrics.image import bin2
from napari_emsynth.metrics.registration import cpc
from napari_emsynth.volume import Array

# Sections with less tissue than this cannot be held against others; nor can two that share less.
LEAST_KNOWN, LEAST_OVERLAP = 0.02, 0.15
# Sections that have nothing in common correlate by less than this once they are pulled onto each other: with noise by
# up to 0.09 in small sections, real neighbours, three sections apart, by 0.26 and more in three microscopes.
LEAST_CPC = 0.12
# A method that trusts its answer less than this on average abstains.
LEAST_CONFIDENCE = 0.01
# Shifts below this are left to the method, px.
LARGE_PX = 8.0

Nodes = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Verdict:
    """What registering one section gave: its field and trust on common nodes, and how it went."""

    measured: Measured | None
    report: PairReport


def compare(
    moving: Section, fixed: Sequence[Section], weights: Sequence[float], nodes: Nodes, shift: tuple[float, float]
) -> Dialogue[Verdict]:
    """Register a section onto others, in one question, and judge the answer by the nearest of them.

    Args:
        moving: the section.
        fixed: its neighbours, the nearest first; one for a method that works on pairs.
        weights: their say.
        nodes: of the answer, along y and x.
        shift: (dy, dx) px known beforehand; taken out when it is large.
    """
    z, onto = moving.index, fixed[0].index
    for section in (moving, fixed[0]):
        if section.share_known < LEAST_KNOWN:
            return _failed(z, onto, f"section {section.index} shows no tissue")
    whole = tuple(round(s) if np.hypot(*shift) > LARGE_PX else 0 for s in shift)
    field = np.broadcast_to(np.array(whole, np.float32)[:, None, None], (2, *moving.image.shape))
    nearer = moving.moved_by(field) if any(whole) else moving
    overlap = _overlap(nearer, fixed[0])
    if overlap < LEAST_OVERLAP:
        return _failed(z, onto, f"they share {overlap:.0%} of a section, the limit is {LEAST_OVERLAP:.0%}")
    neighbours = [Neighbour(f.image, w, f.known) for f, w in zip(fixed, weights, strict=True)]
    (found,) = yield [Question(nearer.image, neighbours, nearer.known)]
    answer = on_nodes(found, nodes)
    displacement = answer.displacement + np.array(whole, np.float32)[:, None, None]
    return _judged(moving, fixed[0], Measured(z, onto, displacement, answer.confidence))


def _judged(moving: Section, fixed: Section, measured: Measured) -> Verdict:
    z, onto = measured.section, measured.onto
    trust = float(measured.trust.mean())
    if trust < LEAST_CONFIDENCE:
        return _failed(z, onto, f"confidence {trust:.3f} is below {LEAST_CONFIDENCE}: the method abstains")
    shape = (1, *moving.image.shape)
    there = moving.moved_by(Displacement(measured.displacement[None], shape).dense(0))
    overlap = _overlap(there, fixed)
    if overlap < LEAST_OVERLAP:
        return _failed(z, onto, f"pulled, they share {overlap:.0%}, the limit is {LEAST_OVERLAP:.0%}")
    alike = likeness(there, fixed)
    if not alike >= LEAST_CPC:
        return _failed(z, onto, f"correlation {alike:.3f} once pulled, the limit is {LEAST_CPC}")
    dy, dx = (float(c.mean()) for c in measured.displacement)
    return Verdict(measured, PairReport(section=z, neighbour=onto, ok=True, shift_px=(dy, dx), confidence=trust))


def likeness(a: Section, b: Section) -> float:
    """Return the chunked Pearson correlation of what both sections know, at twice the pixel size; NaN if nothing.

    Of small sections, no chunk of which is known throughout, it is the correlation of all that is known.
    """
    images: list[Array] = []
    for section in (a, b):
        values = section.image
        if section.known is not None:
            values = np.where(section.known, values, np.nan)
        images.append(bin2(values.astype(np.float64), 2 if min(values.shape) >= 64 else 1))
    found = cpc(images[0], images[1])
    return found if np.isfinite(found) else _correlation(images[0], images[1])


def _correlation(a: Array, b: Array) -> float:
    known = np.isfinite(a) & np.isfinite(b)
    if known.mean() < LEAST_OVERLAP:
        return float("nan")
    a, b = (image[known] - image[known].mean() for image in (a, b))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float((a * b).sum()) / size if size else float("nan")


def on_nodes(answer: PairField, nodes: Nodes) -> PairField:
    """Return a field and its confidence on other nodes; what is trusted speaks for what is not."""
    if answer.confidence.shape == nodes:
        return answer
    c = torch.from_numpy(np.ascontiguousarray(answer.confidence, np.float32))[None, None]
    u = torch.from_numpy(np.ascontiguousarray(answer.displacement, np.float32))[None]
    weight = c + 1e-4
    total = _resized(weight, nodes)
    return PairField((_resized(u * weight, nodes) / total)[0].numpy(), _resized(c, nodes)[0, 0].numpy(), answer.notes)


def _resized(image: torch.Tensor, nodes: Nodes) -> torch.Tensor:
    finer = image.shape[-2] < nodes[0] or image.shape[-1] < nodes[1]
    if finer:
        return F.interpolate(image, size=nodes, mode="bilinear", align_corners=False)
    return F.interpolate(image, size=nodes, mode="area")


def _overlap(a: Section, b: Section) -> float:
    known: Mask = np.ones(a.image.shape, bool)
    for section in (a, b):
        if section.known is not None:
            known = known & section.known
    return float(known.mean())


def _failed(z: int, onto: int, reason: str) -> Verdict:
    return Verdict(None, PairReport(section=z, neighbour=onto, ok=False, reason=reason))
