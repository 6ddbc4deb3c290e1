"""The folder in which a job works until its target is complete, and who holds it.

Conventions: a job writes into a work folder ``.NAME.emsynth-part`` beside its target NAME (beside what NAME points to,
where it is a link) and renames what it made when it is complete. The folder holds ``lock`` (held by the living job,
freed by the system when it dies), ``data`` (what becomes NAME), ``journal`` (finished blocks, for jobs that can resume)
and, for an instant, ``old`` (what NAME was). A job may be done in parts by several processes: they share the lock, each
keeps a journal of its own, ``journal.N-M``, and the one that is left alone when all blocks are finished renames.

Laws: whatever happens, NAME is what it was or the complete new thing; a work folder nobody holds is a dead job's and is
cleaned, or resumed, by the next job for NAME; one job at a time writes NAME, and holds it from before it computes.
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic.disk import DISK_FULL, beside, put, real, remove, sync, why_not_written
from napari_emsynth.io.atomic.journal import Journal
from napari_emsynth.io.atomic.lock import lock
from napari_emsynth.io.atomic.undisturbed import undisturbed
from napari_emsynth.spec import no_note

ENDING = ".emsynth-part"
Part = tuple[int, int]
"""Which part of a job, from 0, of how many."""
# How long a part waits for another that is beginning the job.
BEGIN_TRIES, BEGIN_PAUSE_S = 600, 0.1


def work_folder(target: Path) -> Path:
    """Return the folder in which a job for ``target`` works."""
    return beside(real(target), ENDING)


@dataclass
class Work:
    """A claimed work folder.

    Args:
        target: what the job makes, as the user calls it.
        folder: where it works.
        note: told in one line what a user should know.
        begun: the journal of the job that works here now; None before it began, and of jobs that cannot resume.
        spoiled: True when what is here must not be gone on with.
        shared: other processes do parts of the same job here.
    """

    target: Path
    folder: Path
    note: Callable[[str], None] = no_note
    begun: Journal | None = None
    spoiled: bool = False
    shared: bool = False
    held: IO[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        """The file or folder that becomes the target."""
        return self.folder / "data"

    @property
    def old(self) -> Path:
        """Where the previous target waits while it is replaced."""
        return self.folder / "old"

    @property
    def journal(self) -> Path:
        """The file in which a job that can resume notes its finished blocks."""
        return self.folder / "journal"

    @property
    def resumable(self) -> bool:
        """True when finished blocks are worth keeping."""
        journals = [self.journal, *self.folder.glob("journal.*-*")]
        return not self.spoiled and any(path.exists() and path.read_bytes().count(b"\n") > 1 for path in journals)

    @property
    def kept(self) -> str:
        """What waits to be gone on with, in words; empty when nothing does."""
        if self.begun is None or not self.resumable:
            return ""
        finished = self.begun.done | self.finished(self.begun.job, self.begun.blocks)
        done = f"{len(finished)} of {self.begun.blocks} blocks of {self.target} are finished and kept"
        return f"{done}; {'the same command' if self.shared else '--resume'} goes on with the others"

    @property
    def left(self) -> str:
        """What an interrupt leaves to be gone on with, in words; empty when nothing."""
        if self.begun is None and self.resumable:
            return f"what an earlier run finished of {self.target} is kept; --resume goes on with the rest"
        return self.kept

    def start(self, job: str, blocks: int) -> Journal:
        """Begin the journal of a job."""
        self.begun = Journal.start(self.journal, job, blocks)
        return self.begun

    def resume(self, job: str, blocks: int) -> Journal | None:
        """Return the journal of a job that was stopped, None when it left none.

        Raises:
            InputError: it is another job's.
        """
        self.begun = Journal.resume(self.journal, job, blocks, self.target, self.note)
        if self.begun is not None:
            self.begun.done |= self.finished(job, blocks)
        return self.begun

    def finished(self, job: str, blocks: int) -> dict[int, str]:
        """Return the digests of all blocks that parts of a job have finished, by number."""
        found: dict[int, str] = {}
        for path in sorted(self.folder.glob("journal.*-*")):
            found |= Journal(path, job, blocks).sealed()
        return found

    @contextlib.contextmanager
    def beginning(self) -> Iterator[None]:
        """Keep other parts from beginning the job meanwhile.

        Raises:
            InputError: one has been beginning for too long.
        """
        with (self.folder / "begin").open("ab") as file:
            for _ in range(BEGIN_TRIES):
                if lock(file) != "taken":
                    break
                time.sleep(BEGIN_PAUSE_S)
            else:
                raise InputError(f"another part of {self.target} is still beginning; run again")
            yield

    def alone(self) -> bool:
        """Return whether no other part is at work, now that this one is done; others are kept out from then on."""
        assert self.held is not None
        if lock(self.held) != "ours" or not self.data.exists():
            return False
        self.shared = False
        return True

    def clear(self) -> None:
        """Forget what a dead job left."""
        self.begun = None
        for path in self.folder.iterdir():
            if path.name not in ("lock", "begin"):
                remove(path)

    def recover(self) -> None:
        """Finish what a job began that died between the two renames of :meth:`publish`."""
        target = real(self.target)
        if self.old.exists() and not target.exists():
            (self.data if self.data.exists() else self.old).replace(target)
            sync(target.parent)
            self.clear()

    def publish(self) -> None:
        """Rename ``data`` to the target; the previous target goes only after that."""
        target = real(self.target)
        if self.data.is_dir() and target.exists():  # a folder cannot be renamed onto a folder
            target.replace(self.old)
        put(self.data, target)
        self.spoiled = True  # all is done: nothing is left to go on with


@dataclass(frozen=True)
class Claims:
    """Targets that this job holds.

    Args:
        held: their work folders, by what the targets name in the end.
    """

    held: Mapping[Path, Work] = field(default_factory=dict)

    def of(self, target: Path) -> Work | None:
        """Return the work folder of a target that is held, else None."""
        return self.held.get(real(target))

    @property
    def left(self) -> str:
        """What an interrupt leaves to be gone on with, in words; empty when nothing."""
        return "; ".join(work.left for work in self.held.values() if work.left)


UNCLAIMED = Claims()
"""Of a job that holds nothing yet."""


def _unchecked() -> None:
    """Check nothing."""


@contextlib.contextmanager
def claiming(
    targets: Sequence[Path],
    check: Callable[[], None] = _unchecked,
    note: Callable[[str], None] = no_note,
    *,
    shared: bool = False,
) -> Iterator[Claims]:
    """Hold what a job will write, from before it computes until it is done.

    Args:
        targets: what it makes.
        check: refuses targets that must not be written; asked again once nobody else can write them.
        note: told in one line what a user should know.
        shared: other processes may do parts of the same job.

    Raises:
        InputError: another job is writing one of them, the system refused, or ``check`` did.
    """
    check()
    with contextlib.ExitStack() as stack:
        # A target that is named twice is held once; whether it may be is up to the check.
        named = {real(target): target for target in targets}
        claims = Claims({end: stack.enter_context(_held(target, note, shared=shared)) for end, target in named.items()})
        check()
        yield claims


@contextlib.contextmanager
def working(target: Path, claims: Claims = UNCLAIMED, note: Callable[[str], None] = no_note) -> Iterator[Work]:
    """Work in the folder of ``target``, which is claimed unless it is held; it stays only if its job can resume.

    Args:
        target: what is made.
        claims: what the job holds already.
        note: told in one line what a user should know.

    Raises:
        InputError: another job is writing ``target``, the system refused (disk full, no permission), or what the job
            raised, which then also says what was kept.
    """
    held = claims.of(target)
    with contextlib.nullcontext(held) if held is not None else _held(target, note) as work:
        try:
            yield work
        except OSError as error:
            # What was finished before the disk was full is whole; what else went wrong is not known.
            work.spoiled = error.errno not in DISK_FULL
            kept = f"; {work.kept}" if work.kept else ""
            raise InputError(f"{why_not_written(error, target)}{kept}") from error
        except InputError as error:
            if work.kept:
                raise InputError(f"{error}; {work.kept}") from error
            raise


@contextlib.contextmanager
def _held(target: Path, note: Callable[[str], None], *, shared: bool = False) -> Iterator[Work]:
    work = Work(target, work_folder(target), note, shared=shared)
    held: IO[bytes] | None = None
    try:
        try:
            with undisturbed():
                held = work.held = _claim(work)
                if not shared:
                    work.recover()
        except OSError as error:
            raise InputError(why_not_written(error, target)) from error
        yield work
    finally:
        if held is not None:  # without the lock the folder is another job's
            with undisturbed():
                _let_go(work, held)


def _claim(work: Work) -> IO[bytes]:
    """Return the held lock of ``work``.

    Raises:
        InputError: another job holds it.
        OSError: the system refused.
    """
    path = work.folder / "lock"
    while True:
        work.folder.mkdir(exist_ok=True)
        try:
            held = path.open("ab")
        except FileNotFoundError:  # the previous holder has just removed the folder
            continue
        try:
            answer = lock(held, shared=work.shared)
        except OSError:
            held.close()
            raise
        if answer == "taken":
            held.close()
            raise InputError(f"{work.target} is being written by another job; wait for it or choose another name")
        if answer == "unknown":
            work.note(f"{work.folder.parent} has no file locks: see to it that no other job writes {work.target.name}")
            return held
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(held.fileno()), path.stat()):
                return held
        held.close()  # the previous holder removed the folder between our open and our lock


def _let_go(work: Work, held: IO[bytes]) -> None:
    """Remove the work folder, unless its job can resume, while nobody else can claim it; then let go."""
    if work.shared or work.resumable:
        held.close()
        return
    with contextlib.suppress(OSError):
        work.clear()
    if sys.platform == "win32":  # where an open file cannot be removed
        held.close()
    with contextlib.suppress(OSError):
        (work.folder / "begin").unlink(missing_ok=True)
        (work.folder / "lock").unlink(missing_ok=True)
        work.folder.rmdir()  # fails when another job is there already
    held.close()
    with contextlib.suppress(OSError):
        work.folder.rmdir()  # network file systems keep the name of a removed file until it is closed
