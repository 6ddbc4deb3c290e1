"""The finished blocks of one job, noted as they finish, so that the job can go on after a stop.

Conventions: a text file. The first line is a JSON object with ``job``, a fingerprint of everything the result depends
on, and ``blocks``, how many there are. Every further line is a finished block: its number, a digest of its voxels, and
a seal over both and the job.

Laws: a line is on the disk before :meth:`Journal.add` returns; a line without its seal (torn, overwritten, zeros after
a power loss, another job's) is no finished block; what the sealed lines say can be trusted whatever became of the
others.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic.disk import put


def digest(*parts: Any) -> str:
    """Return what tells the bytes of some arrays from others."""
    mixed = hashlib.blake2b(digest_size=16)
    for part in parts:
        mixed.update(part.tobytes())
    return mixed.hexdigest()


@dataclass
class Journal:
    """The finished blocks of one job.

    Args:
        path: of the file.
        job: the fingerprint.
        blocks: of the whole job.
        done: digests of the finished ones, by number.
    """

    path: Path
    job: str
    blocks: int
    done: dict[int, str] = field(default_factory=dict)

    @classmethod
    def start(cls, path: Path, job: str, blocks: int) -> Journal:
        """Begin the journal of a job, forgetting any other."""
        journal = cls(path, job, blocks)
        journal.rewrite()
        return journal

    @classmethod
    def resume(cls, path: Path, job: str, blocks: int, target: Path, note: Callable[[str], None]) -> Journal | None:
        """Return the journal an interrupted job left, or None when it left none of use.

        Args:
            path: of the file.
            job: the fingerprint of what is to be gone on with.
            blocks: of the whole job.
            target: what the job makes.
            note: told in one line when the file is damaged.

        Raises:
            InputError: it is another job's.
        """
        # What follows the last line's end was being written when the job died.
        head, *lines = path.read_bytes().split(b"\n")[:-1] or [b""] if path.exists() else [b""]
        if not head:
            return None
        journal = cls(path, job, blocks)
        found = [journal._sealed(line) for line in lines]
        journal.done = dict(entry for entry in found if entry is not None)
        whose = _job(head)
        if whose is not None and whose != job:
            raise InputError(
                f"the unfinished {target.name} belongs to another job (other input, method, parameters, sections or "
                "version of this package); run without resume to start again"
            )
        if whose is None or None in found:
            trusted = f"{len(journal.done)} of {blocks} blocks are still known to be finished"
            note(f"the journal of the unfinished {target.name} is damaged: {trusted}, the others are computed again")
        if not journal.done and whose is None:
            return None
        journal.rewrite()
        return journal

    def sealed(self) -> dict[int, str]:
        """Return the digests of the finished blocks that the file vouches for, by number; of another job's none."""
        head, *lines = self.path.read_bytes().split(b"\n")[:-1] or [b""]
        if _job(head) != self.job:
            return {}
        return dict(entry for entry in map(self._sealed, lines) if entry is not None)

    def add(self, block: int, found: str) -> None:
        """Note that ``block``, whose voxels have a digest, is completely on the disk."""
        with self.path.open("ab") as file:
            file.write(self._line(block, found))
            file.flush()
            os.fsync(file.fileno())
        self.done[block] = found

    def rewrite(self) -> None:
        """Write the whole file anew."""
        head = json.dumps({"job": self.job, "blocks": self.blocks}).encode() + b"\n"
        made = self.path.with_name(f"{self.path.name}.new")
        made.write_bytes(head + b"".join(self._line(*entry) for entry in self.done.items()))
        put(made, self.path)

    def _line(self, block: int, found: str) -> bytes:
        said = f"{block} {found}"
        return f"{said} {hashlib.blake2b(f'{self.job} {said}'.encode(), digest_size=8).hexdigest()}\n".encode()

    def _sealed(self, line: bytes) -> tuple[int, str] | None:
        """Return the block and the digest that a line holds, None when it is not whole or not this job's."""
        words = line.split(b" ")
        if len(words) != 3 or not words[0].isdigit() or len(words[0]) > 18:
            return None
        block, found = int(words[0]), words[1].decode("ascii", "replace")
        return (block, found) if self._line(block, found) == line + b"\n" and block < self.blocks else None


def _job(head: bytes) -> str | None:
    """Return the job that a journal's first line names, None when it is damaged."""
    try:
        said = json.loads(head)
    except (ValueError, RecursionError):
        return None
    job = said.get("job") if isinstance(said, dict) else None
    return job if isinstance(job, str) else None
