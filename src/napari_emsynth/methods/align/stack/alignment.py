"""What is found out about a stack: a field a section, what it rests on, and what failed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.volume import Float


@dataclass(frozen=True, kw_only=True)
class PairReport:
    """What registering one section onto one neighbour gave.

    Args:
        section: that was moved.
        neighbour: that it was moved onto.
        ok: False when the answer is not used.
        reason: why not.
        shift_px: (dy, dx) px, mean of the field.
        confidence: mean over the section, 0 to 1.
    """

    section: int
    neighbour: int
    ok: bool
    reason: str = ""
    shift_px: tuple[float, float] = (0.0, 0.0)
    confidence: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, figures rounded for reading."""
        return asdict(self) | {
            "shift_px": [round(s, 3) for s in self.shift_px],
            "confidence": round(self.confidence, 3),
        }


@dataclass(frozen=True, kw_only=True)
class SectionReport:
    """What happens to one section.

    Args:
        section: index.
        shift_px: (dy, dx) px, mean of its field.
        max_px: length of the longest displacement, px.
        cpc_before: chunked Pearson correlation with the section before it; NaN when it cannot be told.
        cpc_after: the same when both are aligned.
        confidence: mean over the section, 0 to 1.
        failed: one line for each pair that failed.
        skipped: why the section was left out, or "".
    """

    section: int
    shift_px: tuple[float, float]
    max_px: float
    cpc_before: float
    cpc_after: float
    confidence: float
    failed: tuple[str, ...] = ()
    skipped: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object, figures rounded for reading; what cannot be told is null."""
        return {
            "section": self.section,
            "shift_px": [round(s, 3) for s in self.shift_px],
            "max_px": round(self.max_px, 3),
            "cpc_before": _known(self.cpc_before),
            "cpc_after": _known(self.cpc_after),
            "confidence": round(self.confidence, 3),
            "failed": list(self.failed),
            "skipped": self.skipped,
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class Alignment:
    """How a stack is to be pulled straight.

    Args:
        field: displacements of all sections.
        confidence: [z, y', x'] 0 to 1 on the field's nodes.
        sections: one report each, in order.
        pairs: one report for each pair that was asked about.
    """

    field: Displacement
    confidence: Float
    sections: tuple[SectionReport, ...]
    pairs: tuple[PairReport, ...]


def _known(value: float) -> float | None:
    return round(value, 4) if value == value else None
