"""The report of a batch: one HTML file that needs nothing else, with a row a job, its scores, and a picture.

Law: it is whole after every job, so that a batch can be watched.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import put

if TYPE_CHECKING:
    from napari_emsynth.cli.batch import Outcome
    from napari_emsynth.volume import Array

# Pictures are no wider or higher, px.
PICTURE_PX = 320
HEAD = ("line", "task", "IN and OUT", "state", "method", "self-check", "result", "told")
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em; color: #222; background: #fff; }
table { border-collapse: collapse; } th, td { border-bottom: 1px solid #ccc; padding: .5em .8em; text-align: left;
vertical-align: top; } .failed { background: #fde8e8; } img { display: block; } code { font-size: 13px; }
figcaption { font-size: 13px; color: #555; } figure { margin: 0; }
"""


def write_report(folder: Path, outcomes: Sequence[Outcome], total: int) -> Path:
    """Write ``index.html``, in place of the one that is there.

    Args:
        folder: made if it is not there.
        outcomes: of the jobs that were run, in order.
        total: jobs of the batch.

    Returns:
        The file.
    """
    folder.mkdir(exist_ok=True)
    target, made = folder / "index.html", folder / ".index.html.new"
    made.write_text(page(outcomes, total), encoding="utf-8")
    put(made, target)
    return target


def page(outcomes: Sequence[Outcome], total: int) -> str:
    """Return the report as HTML."""
    failed = sum(outcome.state == "failed" for outcome in outcomes)
    head = "".join(f"<th>{escape(word)}</th>" for word in HEAD)
    rows = "\n".join(_row(outcome) for outcome in outcomes)
    summary = f"{len(outcomes)} of {total} jobs were run, {failed} failed."
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>emsynth batch</title>'
        f"<style>{STYLE}</style></head>\n<body><h1>emsynth batch</h1>\n<p>{summary}</p>\n"
        f"<table><thead><tr>{head}</tr></thead>\n<tbody>{rows}</tbody></table></body></html>\n"
    )


def _row(outcome: Outcome) -> str:
    job, answer = outcome.job, outcome.answer
    told = [outcome.said] if outcome.said else [str(line) for line in answer.get("notices", ())]
    cells = [
        str(job.line),
        escape(job.task),
        f"<code>{escape(job.source)}</code><br>&rarr; <code>{escape(job.out)}</code>",
        f"{escape(outcome.state)}<br>{outcome.seconds:.1f} s",
        escape(str(answer.get("method", ""))),
        "<br>".join(escape(line) for line in scores(answer.get("selfcheck"))),
        "" if outcome.state == "failed" else picture(Path(job.out)),
        "<br>".join(escape(line) for line in told),
    ]
    return f'<tr class="{escape(outcome.state)}">' + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def scores(check: Any) -> list[str]:
    """Return what a self-check says, a line a figure; of several sections the first and how many more."""
    checks = check if isinstance(check, list) else [check] if isinstance(check, dict) else []
    if not checks:
        return []
    first = {k: v for k, v in checks[0].items() if isinstance(v, int | float) and not isinstance(v, bool)}
    lines = [f"{name.replace('_', ' ')}: {value:.4g}" for name, value in first.items()]
    return [*lines, f"and {len(checks) - 1} more"] if len(checks) > 1 else lines


def picture(path: Path) -> str:
    """Return a section of an output as HTML, a treated one where there is one; nothing where it cannot be read."""
    from PIL import Image

    from napari_emsynth.io import read

    try:
        volume = read(path)
        z = shown_section(volume)
        section = volume.section(z).astype(np.float64)
    except InputError:
        return ""
    image = Image.fromarray(_grey(section))
    image.thumbnail((PICTURE_PX, PICTURE_PX))
    file = io.BytesIO()
    image.save(file, "PNG")
    source = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    name = f"section {z}"
    return f'<figure><img alt="{name}" src="{source}"><figcaption>{name}</figcaption></figure>'


def shown_section(volume: Any) -> int:
    """Return which section of a volume to show: the first that its record says was treated, else the middle one."""
    entries = (volume.record or {}).get("sections") or ()
    treated = [int(entry["section"]) for entry in entries if entry.get("treatment") not in ("kept", None)]
    middle: int = volume.shape[0] // 2
    return min(treated, key=lambda z: abs(z - middle)) if treated and max(treated) < volume.shape[0] else middle


def _grey(section: Array) -> Array:
    """Return a section as bytes, from its 0.5th to its 99.5th percentile."""
    finite = section[np.isfinite(section)]
    low, high = np.percentile(finite, (0.5, 99.5)) if finite.size else (0.0, 1.0)
    scaled = np.nan_to_num((section - low) / max(high - low, 1e-9), nan=0.0, posinf=1.0, neginf=0.0)
    grey: Array = (255 * scaled.clip(0, 1)).astype(np.uint8)
    return grey
