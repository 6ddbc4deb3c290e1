"""``emsynth batch``: many commands from one table; one that fails does not stop the others.

The table is a CSV file with a header: ``task``, ``in``, ``out``, and a column for each flag, named as the flag is
without its dashes. An empty cell gives no flag; ``yes`` gives one that takes no value. Paths are as in a shell:
relative to where the command is run.
"""

from __future__ import annotations

import csv
import io
import json as json_
import time
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import AsJson
from napari_emsynth.cli.screen import Screen, complain, table
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.methods import INDEX

FIRST = ("task", "in", "out")
SWITCH = "yes"
FAILED = 1
Jobs = Annotated[Path, typer.Argument(metavar="JOBS.csv", help="Columns task, in, out, and one for each flag.")]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One row of the table.

    Args:
        line: of the file, the header being 1.
        task: its name.
        source: IN.
        out: OUT.
        words: the command that it stands for.
    """

    line: int
    task: str
    source: str
    out: str
    words: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of one row.

    Args:
        job: the row.
        state: "done", "failed" or "was there".
        seconds: that it took.
        said: why it failed, else nothing.
        answer: its JSON object.
    """

    job: Job
    state: str
    seconds: float = 0.0
    said: str = ""
    answer: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        job = {"line": self.job.line, "task": self.job.task, "in": self.job.source, "out": self.job.out}
        return {**job, "state": self.state, "seconds": self.seconds, "said": self.said, "answer": dict(self.answer)}


def batch(
    jobs: Jobs,
    *,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write index.html there: the table, scores, pictures.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Leave out rows whose OUT is there; go on with others.")
    ] = False,
    json: AsJson = False,
) -> None:
    """Run the commands of a table, one after another; exit 1 when any of them failed."""
    with Screen(as_json=json) as screen:
        rows = read_jobs(jobs)
        if report is not None:
            check_report(report)
        outcomes = []
        for number, job in enumerate(rows, start=1):
            complain(f"[{number}/{len(rows)}] {job.task} {job.source} -> {job.out}")
            outcomes.append(run_job(job, resume=resume))
            if outcomes[-1].said:
                complain(f"[{number}/{len(rows)}] failed: {outcomes[-1].said}")
            if report is not None:
                from napari_emsynth.cli.batch_report import write_report

                write_report(report, outcomes, len(rows))
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        answer = {
            "task": "batch",
            "jobs": [outcome.to_json() for outcome in outcomes],
            "failed": len(failed),
            "report": None if report is None else str(report / "index.html"),
        }
        screen.answer(answer, describe(outcomes))
    if failed:
        raise typer.Exit(FAILED)


def read_jobs(path: Path) -> list[Job]:
    """Return the rows of a table, all of them checked before any is run.

    Raises:
        InputError: no such file, no table, a row without task, IN or OUT, two rows with one OUT.
    """
    from napari_emsynth.io.stored import why

    try:
        text = path.read_text(encoding="utf-8-sig")
        rows = list(csv.DictReader(io.StringIO(text), strict=True))
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {why(error)}") from error
    if not rows:
        raise InputError(f"{path} has no row below its header")
    missing = [name for name in FIRST if name not in rows[0]]
    if missing:
        raise InputError(f"{path} has no column {missing[0]!r}; needs {', '.join(FIRST)}")
    found = [_job(path, number, row) for number, row in enumerate(rows, start=2)]
    places: dict[Path, int] = {}
    for job in found:
        before = places.setdefault(Path(job.out).resolve(), job.line)
        if before != job.line:
            raise InputError(f"{path}: lines {before} and {job.line} both write {job.out}")
    return found


def _job(path: Path, line: int, row: Mapping[str | None, Any]) -> Job:
    if None in row or any(value is None for value in row.values()):
        raise InputError(f"{path}: line {line} has another number of cells than the header")
    cells = {str(name).strip(): str(value).strip() for name, value in row.items()}
    task, source, out = (cells.pop(name) for name in FIRST)
    if task not in INDEX:
        raise InputError(f"{path}: line {line} asks for {task!r}, which is none of {', '.join(INDEX)}")
    if not source or not out:
        raise InputError(f"{path}: line {line} names no {'IN' if not source else 'OUT'}")
    words = [task, source, out]
    for name, value in cells.items():
        if value:
            words += [f"--{name}"] if value.lower() == SWITCH else [f"--{name}", value]
    return Job(line=line, task=task, source=source, out=out, words=tuple(words))


def run_job(job: Job, *, resume: bool) -> Outcome:
    """Run one row, and return what became of it.

    Raises:
        Cancelled: interrupted.
    """
    from napari_emsynth.cli.app import INTERRUPTED, attempt

    if resume and Path(job.out).exists():
        return Outcome(job=job, state="was there")
    more = ["--resume"] if resume and job.out.lower().endswith(".zarr") else []
    started, said = time.monotonic(), io.StringIO()
    with redirect_stdout(said):
        code, line = attempt([*job.words, *more, "--json"])
    seconds = round(time.monotonic() - started, 3)
    if code == INTERRUPTED:
        raise Cancelled(line)
    if code:
        return Outcome(job=job, state="failed", seconds=seconds, said=line)
    return Outcome(job=job, state="done", seconds=seconds, answer=json_.loads(said.getvalue()))


def describe(outcomes: Sequence[Outcome]) -> str:
    """Return what became of every row, for a person."""
    rows = [
        (str(o.job.line), o.job.task, o.job.source, o.job.out, o.state, f"{o.seconds:.1f}", o.said) for o in outcomes
    ]
    counts = {state: sum(o.state == state for o in outcomes) for state in ("done", "was there", "failed")}
    told = ", ".join(f"{count} {state}" for state, count in counts.items() if count)
    return "\n".join([table(("line", "task", "in", "out", "state", "s", "why"), rows), told])


def check_report(folder: Path) -> None:
    """Refuse a place for a report where nothing can be written.

    Raises:
        InputError: it is a file, or lies nowhere.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; a report needs a folder")
    if not folder.parent.is_dir():
        raise InputError(f"cannot write {folder}: the folder {folder.parent} does not exist")
