"""Files that exist whole or not at all.

Conventions: a job writes into a work folder ``.NAME.emsynth-part`` beside its target NAME and renames what
it made when it is complete. The folder holds ``lock`` (held by the living job, freed by the system when it
dies), ``data`` (what becomes NAME), ``journal`` (finished blocks, for jobs that can resume) and, for an
instant, ``old`` (what NAME was).

Laws: whatever happens, NAME is what it was or the complete new thing; a work folder nobody holds is a dead
job's and is cleaned, or resumed, by the next job for NAME; one job at a time writes NAME.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from napari_emsynth.errors import InputError

DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


def work_folder(target: Path) -> Path:
    """Return the folder in which a job for ``target`` works."""
    return target.with_name(f".{target.name}.emsynth-part")


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def why_not_written(error: OSError, target: Path) -> str:
    """Return one line that says why ``target`` was not written."""
    if error.errno in DISK_FULL:
        free = shutil.disk_usage(target.parent).free
        return f"disk full: {target} was not written; {free / 1e6:.0f} MB free in {target.parent}"
    where = f" ({error.filename})" if error.filename else ""
    return f"cannot write {target}: {error.strerror or error}{where}"


def check_room(target: Path, needed: int) -> None:
    """Refuse to begin a file that cannot fit.

    Args:
        target: what is to be written.
        needed: bytes that it takes at least.

    Raises:
        InputError: less is free.
    """
    free = shutil.disk_usage(target.parent).free
    if needed > free:
        raise InputError(f"disk full: {target} takes {needed / 1e6:.3g} MB, {free / 1e6:.3g} MB free")


@dataclass
class Journal:
    """The finished blocks of one job, appended as they finish.

    Args:
        path: text file; the first line describes the job, each further line is a finished block's number.
        done: finished blocks.
    """

    path: Path
    done: set[int] = field(default_factory=set)

    @classmethod
    def start(cls, path: Path, job: str) -> Journal:
        """Begin the journal of ``job`` (its fingerprint), forgetting any other."""
        path.write_text(json.dumps({"job": job}) + "\n")
        return cls(path)

    @classmethod
    def resume(cls, path: Path, job: str, target: Path) -> Journal | None:
        """Return the journal an interrupted job left, or None when it left none.

        Raises:
            InputError: it is another job's.
        """
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        if not lines or not lines[0].endswith("\n"):
            return None
        if json.loads(lines[0])["job"] != job:
            raise InputError(
                f"the unfinished {target.name} belongs to another job (other input, method, parameters "
                "or sections); run without resume to start again"
            )
        # A line without its end was being written when the job died: that block is done again.
        return cls(path, {int(line) for line in lines[1:] if line.endswith("\n")})

    def add(self, block: int) -> None:
        """Note that ``block`` is completely written."""
        with self.path.open("a") as file:
            file.write(f"{block}\n")
        self.done.add(block)


@dataclass
class Work:
    """A claimed work folder.

    Args:
        target: what the job makes.
        folder: where it works.
    """

    target: Path
    folder: Path

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
        return self.journal.exists() and self.journal.read_bytes().count(b"\n") > 1

    def clear(self) -> None:
        """Forget what a dead job left."""
        for path in self.folder.iterdir():
            if path.name != "lock":
                remove(path)

    def recover(self) -> None:
        """Finish what a job began that died between the two renames of :meth:`publish`."""
        if self.old.exists() and not self.target.exists():
            (self.data if self.data.exists() else self.old).replace(self.target)
            self.clear()

    def publish(self) -> None:
        """Rename ``data`` to the target; the previous target goes only after that."""
        if self.data.is_file():
            with self.data.open("rb+") as file:
                os.fsync(file.fileno())
            self.data.replace(self.target)
            return
        if self.target.exists():  # a folder cannot be renamed onto a folder
            self.target.replace(self.old)
        self.data.replace(self.target)


@contextlib.contextmanager
def working(target: Path) -> Iterator[Work]:
    """Claim the work folder of ``target``; leave it only if its job can resume.

    Raises:
        InputError: another job is writing ``target``, or the system refused (disk full, no permission).
    """
    work = Work(target, work_folder(target))
    lock: IO[bytes] | None = None
    keep = False
    try:
        lock = _claim(work)
        work.recover()
        yield work
    except OSError as error:
        raise InputError(why_not_written(error, target)) from error
    except BaseException:
        keep = work.resumable
        raise
    finally:
        if lock is not None:  # without the lock the folder is another job's
            lock.close()
            if not keep:
                shutil.rmtree(work.folder, ignore_errors=True)


def _claim(work: Work) -> IO[bytes]:
    """Return the held lock of ``work``."""
    path = work.folder / "lock"
    while True:
        work.folder.mkdir(exist_ok=True)
        lock = path.open("ab")
        if not _lock(lock):
            lock.close()
            raise InputError(f"{work.target} is being written by another job; wait for it or choose another name")
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()  # the previous holder removed the folder between our open and our lock


if sys.platform == "win32":
    import msvcrt

    def _lock(file: IO[bytes]) -> bool:
        """Lock ``file`` for this process; False when another holds it."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _lock(file: IO[bytes]) -> bool:
        """Lock ``file`` for this process; False when another holds it."""
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
