"""What is said of every section once its field is known: how far it moves, and what that did to its neighbourhood."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.methods.align.stack.alignment import PairReport, SectionReport
from napari_emsynth.methods.align.stack.constraints import Constraints
from napari_emsynth.methods.align.stack.pair import likeness
from napari_emsynth.methods.align.stack.sections import Section, Sections
from napari_emsynth.methods.blocks import middle
from napari_emsynth.methods.request import Request
from napari_emsynth.volume import Float

# Correlations are taken in the middle of large sections.
EDGE = 1024


def section_reports(
    request: Request,
    constraints: Constraints,
    field: Displacement,
    confidence: Float,
    pairs: Sequence[PairReport],
    skipped: Mapping[int, str],
) -> tuple[SectionReport, ...]:
    """Return one report a section, in order.

    Args:
        request: volume, and how to compute.
        constraints: for its materials.
        field: of the volume.
        confidence: [z, y', x'] 0 to 1.
        pairs: what was asked about.
        skipped: why sections were left out.
    """
    sections = Sections(request.volume, constraints, keep=2)
    reports = []
    last: tuple[Section, Section] | None = None
    for z in range(request.volume.shape[0]):
        request.runtime.cancel.check()
        nodes = field.section(z)
        here = _middles(sections[z], field)
        reports.append(
            SectionReport(
                section=z,
                shift_px=(float(nodes[0].mean()), float(nodes[1].mean())),
                max_px=float(field.magnitude(z).max()),
                cpc_before=math.nan if last is None else likeness(here[0], last[0]),
                cpc_after=math.nan if last is None else likeness(here[1], last[1]),
                confidence=0.0 if z in skipped else float(confidence[z].mean()),
                failed=tuple(f"onto section {p.neighbour}: {p.reason}" for p in pairs if p.section == z and not p.ok),
                skipped=skipped.get(z, ""),
            )
        )
        last = here
    return tuple(reports)


def _middles(section: Section, field: Displacement) -> tuple[Section, Section]:
    """Return the middle of a section as it is, and as it is pulled."""
    y, x = (middle(n, EDGE) for n in section.image.shape)
    part = replace(section, image=section.image[y, x], known=None if section.known is None else section.known[y, x])
    return part, part.moved_by(field.dense(section.index, y, x))
