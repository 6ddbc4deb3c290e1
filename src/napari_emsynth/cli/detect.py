"""``emsynth detect``: which sections look damaged, missing or displaced."""

from __future__ import annotations

import time

from napari_emsynth.cli.groups import Common, Source
from napari_emsynth.cli.screen import Screen, table


def detect(source: Source, *, common: Common) -> None:
    """List sections that look damaged, missing or displaced, with scores."""
    from napari_emsynth.trust.detect import detect as task

    with Screen(as_json=common.json) as screen:
        volume = common.open(source, screen)
        started = time.monotonic()
        suspects = task(volume, progress=screen.progress)
        answer = {
            "task": "detect",
            "source": str(source),
            "shape": list(volume.shape),
            "sections": sorted({suspect.section for suspect in suspects}),
            "suspects": [suspect.to_json() for suspect in suspects],
            "seconds": round(time.monotonic() - started, 3),
        }
        rows = [(str(s.section), s.kind, f"{s.score:.2f}", s.detail) for s in suspects]
        found = table(("section", "kind", "score", "detail"), rows) if rows else ""
        screen.answer(answer, found or f"no suspect among {volume.shape[0]} sections")
