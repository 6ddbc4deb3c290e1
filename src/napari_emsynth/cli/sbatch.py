"""A SLURM job array over one command: every task does a part of OUT, the last one to end completes it.

The script is plain and meant to be edited: partitions, accounts and environments are a cluster's own.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from napari_emsynth.errors import InputError

OWN = ("--sbatch", "--array")
MOST_PARTS = 10_000
TEMPLATE = """\
#!/bin/bash
#SBATCH --job-name=emsynth
#SBATCH --array=0-{last}
#SBATCH --output=emsynth-%A_%a.log
#SBATCH --requeue
# What your cluster wants to know, such as:
# #SBATCH --partition=gpu --gres=gpu:1
# #SBATCH --cpus-per-task=4 --mem=16G --time=04:00:00

# A task that is requeued, or run again, goes on where it was; the last one to end makes OUT appear.
set -euo pipefail
cd {folder}
exec {command} --array "$SLURM_ARRAY_TASK_ID/{parts}"
"""


def script(words: Sequence[str], parts: int, folder: Path) -> str:
    """Return the script of a job array.

    Args:
        words: of the command, without ``emsynth``.
        parts: tasks of the array.
        folder: where relative paths begin.
    """
    command = shlex.join(["emsynth", *without(words)])
    return TEMPLATE.format(last=parts - 1, parts=parts, folder=shlex.quote(str(folder)), command=command)


def without(words: Sequence[str]) -> list[str]:
    """Return the words of a command without what asks for a job array."""
    kept: list[str] = []
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word in OWN:
            skip = True
        elif not word.startswith(tuple(f"{flag}=" for flag in OWN)):
            kept.append(word)
    return kept


def write_script(path: Path, words: Sequence[str], array: str | None, *, overwrite: bool) -> int:
    """Write a job array to a file, and return how many tasks it has.

    Raises:
        InputError: no number of parts, too many, or a file that is there.
    """
    if array is None or not array.isdecimal() or not 1 <= int(array) <= MOST_PARTS:
        raise InputError(f"--sbatch needs --array M, the number of tasks from 1 to {MOST_PARTS} (got {array})")
    if path.exists() and not overwrite:
        raise InputError(f"{path} exists; choose another name or allow overwriting")
    from napari_emsynth.io.atomic import put

    made = path.with_name(f".{path.name}.new")
    made.write_text(script(words, int(array), Path.cwd()))
    made.chmod(0o755)
    put(made, path)
    return int(array)
