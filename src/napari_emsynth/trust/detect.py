"""Which sections are damaged: each section against its own neighbours.

Conventions: sections are 0-based. A section is suspected of one kind at most, the first that holds of missing, blank,
duplicate, saturated, inverted, half-missing, noisy, blurred, displaced. Scores run from 0.5 (just at the limit) to 1.
Of a section only what is not empty (:mod:`napari_emsynth.trust.validity`) is judged.
Laws: brightness or contrast that jumps from section to section is no damage; a fault that the whole stack
shares (a soft focus, a steady drift) is none either, as limits are set by the neighbours'
median and scatter (1.48 median absolute deviations). One pass reads each section once, see
:mod:`napari_emsynth.trust.features`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.sections import spans
from napari_emsynth.spec import CancelToken, Progress, no_progress
from napari_emsynth.trust.features import THUMB_PX, Features, glances, stream
from napari_emsynth.trust.gaps import Gap, Jump, gaps, jumps
from napari_emsynth.trust.rules import (
    RULES,
    STILL_A_REFERENCE,
    Finding,
    Kind,
    Rule,
    Stack,
    faint,
    lacking,
    repeated,
    typical_contrast,
)
from napari_emsynth.volume import Array, Volume


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A section that looks damaged.

    Args:
        section: 0-based index.
        kind: what seems to be wrong.
        score: 0.5 at the limit, towards 1 beyond any doubt.
        detail: one line with the figure that decided.
    """

    section: int
    kind: Kind
    score: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


def _apply(stack: Stack, kind: Kind, rule: Rule, open_sections: Iterable[int], sensitivity: float) -> list[Suspect]:
    found = []
    for z in open_sections:
        finding = rule(stack, z)
        if finding is not None and (strength := finding[0] * sensitivity) >= 1:
            found.append(Suspect(section=z, kind=kind, score=1 - 0.5 / strength, detail=finding[1]))
    return found


def detect(
    volume: Volume | Array,
    *,
    voxel_nm: Sequence[float] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
) -> list[Suspect]:
    """Return the sections that look damaged, in order, one entry a section.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: 1 is balanced; 2 halves every limit, 0.5 doubles it.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    return survey(volume, voxel_nm=voxel_nm, progress=progress, cancel=cancel, sensitivity=sensitivity).suspects


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is to say of the sections of a volume.

    Args:
        suspects: sections that look damaged, in order, one entry a section.
        gaps: where sections seem to be lost.
        jumps: sections that are brighter, darker, flatter or harsher than their neighbours, and not damaged for that.
    """

    suspects: list[Suspect]
    gaps: list[Gap]
    jumps: list[Jump]

    @property
    def notices(self) -> list[str]:
        """What the user must know beside the suspects, a line each."""
        lines = [
            f"about {gap.sections} section(s) may be lost before section {gap.before}; "
            f"--insert --sections {','.join([str(gap.before)] * gap.sections)} puts new ones there"
            for gap in self.gaps
        ]
        for kind in ("brightness", "contrast"):
            of = [jump.section for jump in self.jumps if jump.kind == kind]
            lines += [f"{kind} jumps at section(s) {spans(of)}: no damage, every method evens it out"] if of else []
        return lines


def survey(
    volume: Volume | Array,
    *,
    voxel_nm: Sequence[float] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
) -> Survey:
    """Return what :func:`detect` does, and where sections seem lost, and where brightness or contrast jumps.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: of the suspects: 1 is balanced; 2 halves every limit, 0.5 doubles it.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    stack = Volume.of(volume, voxel_nm=voxel_nm)
    suspects, features = examine(stack, progress=progress, cancel=cancel, sensitivity=sensitivity)
    unfit = {suspect.section for suspect in suspects}
    return Survey(suspects=suspects, gaps=gaps(features, unfit), jumps=jumps(features, unfit))


def examine(
    volume: Volume,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
    sections: range | None = None,
) -> tuple[list[Suspect], list[Features]]:
    """Return what :func:`detect` does, and what it rests on: every section's features.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: 1 is balanced; 2 halves every limit, 0.5 doubles it.
        sections: adjacent ones, held against each other only; None for all.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    if not 0.01 <= sensitivity <= 100:
        raise InputError(f"sensitivity {sensitivity:g} is outside 0.01 to 100")
    features = list(stream(volume, progress, cancel, sections))
    stack = Stack(features)
    stack.thumb_factor = max(1, -(-min(volume.shape[1:]) // THUMB_PX))
    suspects: dict[int, Suspect] = {}
    for kind, rule in RULES:
        found = _apply(stack, kind, rule, [z for z in range(len(features)) if z not in suspects], sensitivity)
        suspects.update({suspect.section: suspect for suspect in found})
        if kind not in STILL_A_REFERENCE:
            stack.usable[[suspect.section for suspect in found]] = False
    return [replace(suspects[z], section=stack.start + z) for z in sorted(suspects)], features


def uninformative(
    volume: Volume, *, progress: Progress = no_progress, cancel: CancelToken | None = None
) -> list[Suspect]:
    """Return the sections without any information of their own, in order: missing, blank (or black), or repeated.

    These are damaged beyond doubt, and found much faster than :func:`detect` finds everything. A stack that is alike
    throughout, or shows every section twice, is so by nature: where half of the sections or more would be named, only
    the missing ones are.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        progress: called after every few sections.
        cancel: asked before them.

    Raises:
        Cancelled: the token was cancelled.
    """
    seen = list(glances(volume, progress, cancel))
    usual = typical_contrast(glance.contrast for glance in seen)
    first = {glance.digest: glance.section for glance in reversed(seen)}
    found = []
    for glance in seen:
        rules: tuple[tuple[Kind, Finding | None], ...] = (
            ("missing", lacking(glance.missing)),
            ("blank", faint(glance.contrast, usual)),
            ("duplicate", repeated(glance.section, first[glance.digest])),
        )
        for kind, finding in rules:
            if finding is not None and finding[0] >= 1:
                found.append(Suspect(section=glance.section, kind=kind, score=1 - 0.5 / finding[0], detail=finding[1]))
                break
    return found if 2 * len(found) < len(seen) else [suspect for suspect in found if suspect.kind == "missing"]
