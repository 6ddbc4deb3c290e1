"""A stack pulled straight: its fields estimated, its voxels moved along them, and what must be said of both.

Laws: a section that does not move comes out bit-identical; the mask of made-up voxels is 1 exactly where a voxel came
from outside its section; every pair that failed, and every section that was skipped or moved without a pair to be
trusted, is named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from napari_emsynth.fields.apply import Draw, moved, outside
from napari_emsynth.methods.align.stack.alignment import Alignment, SectionReport
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.request import Request
from napari_emsynth.sections import spans
from napari_emsynth.trust.validity import stated
from napari_emsynth.volume import Volume

# A section whose field is less certain than this deserves a look.
DOUBTFUL = 0.1
# Displacements within this share of the limit were shortened, as good as certainly.
AT_LIMIT = 0.999


@dataclass(frozen=True, kw_only=True, eq=False)
class Straight:
    """A stack that was pulled straight.

    Args:
        alignment: its fields, and what was found out about every section.
        volume: [z, y, x] the stack, moved.
        outside: [z, y, x] uint8, 1 where a voxel came from outside its section.
    """

    alignment: Alignment
    volume: Volume
    outside: Volume


def straighten(request: Request, constraints: Constraints) -> Straight:
    """Estimate the fields of a stack now, and move it along them: now, or as it is read when the stack is lazy.

    Raises:
        InputError: constraints that do not fit the stack.
        Cancelled: after ``request.runtime.cancel``.
    """
    (straight,) = straightened([request], constraints)
    return straight


def straightened(requests: Sequence[Request], constraints: Constraints) -> list[Straight]:
    """Do so with several stacks, whose fields are estimated together; the requests are equal but for the volume.

    Raises:
        InputError: constraints that do not fit a stack.
        Cancelled: after the requests' ``runtime.cancel``.
    """
    from napari_emsynth.methods.align.stack.estimate import estimates

    found = estimates(requests, constraints)
    return [along(request, alignment) for request, alignment in zip(requests, found, strict=True)]


def along(request: Request, alignment: Alignment) -> Straight:
    """Move a stack along its fields: now, or as it is read when it is lazy."""
    source = stated(request.volume, range(request.volume.shape[0]))
    return Straight(
        alignment=alignment,
        volume=moved(source, alignment.field, "cubic", request.runtime),
        outside=outside(alignment.field, request.volume, request.runtime),
    )


def drawing(request: Request, constraints: Constraints = Constraints()) -> Draw:
    """Estimate the fields of a stack now, and return what draws any box of the moved stack; it can be pickled."""
    from napari_emsynth.methods.align.stack.estimate import estimate

    source = stated(request.volume, range(request.volume.shape[0]))
    return Draw(source, estimate(request, constraints).field, "cubic")


def section_entries(alignment: Alignment) -> list[dict[str, Any]]:
    """Return what a provenance record says of every section: its report, and whether it was moved or kept."""
    lengths = alignment.field.largest_px()
    return [
        report.to_json() | {"treatment": "moved" if lengths[report.section] else "kept"}
        for report in alignment.sections
    ]


def notices(alignment: Alignment, constraints: Constraints) -> list[str]:
    """Return what must be known of an alignment, a line each."""
    reports = alignment.sections
    lines = _skipped(reports)
    failed = [pair for pair in alignment.pairs if not pair.ok]
    for reason in dict.fromkeys(pair.reason for pair in failed):
        named = ", ".join(f"{p.section} to {p.neighbour}" for p in failed if p.reason == reason)
        lines.append(f"sections that could not be matched ({reason}): {named}")
    doubtful = [r.section for r in reports if r.confidence < DOUBTFUL and _could_move(r, constraints)]
    if doubtful:
        lines.append(
            f"no trustworthy match holds section {spans(doubtful)}: the confidence is below {DOUBTFUL:g}, "
            "and the position comes from the neighbours"
        )
    return lines + _at_limit(alignment, constraints)


def _could_move(report: SectionReport, constraints: Constraints) -> bool:
    return not report.skipped and report.section not in constraints.reference


def _skipped(reports: Iterable[SectionReport]) -> list[str]:
    by_reason: dict[str, list[int]] = {}
    for report in reports:
        if report.skipped:
            by_reason.setdefault(report.skipped, []).append(report.section)
    return [
        f"left out, and moved as the neighbours are ({reason}): section {spans(sections)}"
        for reason, sections in by_reason.items()
    ]


def _at_limit(alignment: Alignment, constraints: Constraints) -> list[str]:
    limit, voxel_nm = constraints.max_displacement_nm, alignment.field.voxel_nm
    if limit is None or voxel_nm is None:
        return []
    # Pixels that are not square: the longer side decides what a pixel can be at most.
    px = AT_LIMIT * limit / max(voxel_nm[1:])
    reached = [r.section for r in alignment.sections if r.max_px >= px]
    if not reached:
        return []
    return [f"the largest displacement of {limit:g} nm holds back section {spans(reached)}"]
