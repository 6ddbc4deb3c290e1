"""``emsynth detect``: which sections look damaged or are missing, and where some seem to be lost."""

from __future__ import annotations

import time

from napari_emsynth.cli.groups import Common, Source
from napari_emsynth.cli.screen import Screen, table


def detect(source: Source, *, common: Common) -> None:
    """List sections that look damaged or are missing, and places where sections seem lost, with scores.

    Not seen: dirt, folds, cracks, stripes that leave most of a section intact, small rotations, lost ends of a stack.
    """
    from napari_emsynth.trust.detect import survey

    with Screen(as_json=common.json) as screen:
        volume = common.open(source, screen)
        started = time.monotonic()
        found = survey(volume, progress=screen.progress)
        suspects = found.suspects
        answer = {
            "task": "detect",
            "source": str(source),
            "shape": list(volume.shape),
            "sections": sorted({suspect.section for suspect in suspects}),
            "suspects": [suspect.to_json() for suspect in suspects],
            "gaps": [gap.to_json() for gap in found.gaps],
            "jumps": [jump.to_json() for jump in found.jumps],
            "notices": list(dict.fromkeys([*screen.notes, *found.notices])),
            "seconds": round(time.monotonic() - started, 3),
        }
        rows = [(str(s.section), s.kind, f"{s.score:.2f}", s.detail) for s in suspects]
        shown = table(("section", "kind", "score", "detail"), rows) if rows else ""
        shown = shown or f"no suspect among {volume.shape[0]} sections"
        screen.answer(answer, "\n".join([shown, *found.notices]))
