"""The command line ``emsynth``: one engine, driven from a shell.

Laws: exit code 0 on success, 2 on bad use or bad input, 130 when interrupted; a failure is one line on
standard error and leaves nothing written; with ``--json`` standard output holds exactly one JSON object.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code, see :func:`napari_emsynth.cli.app.main`."""
    try:
        from napari_emsynth.cli.app import main as run
    except KeyboardInterrupt:  # while our own files are loaded: nothing has begun
        return 130
    return run(arguments)
