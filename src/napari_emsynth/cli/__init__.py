"""The command line ``emsynth``: one engine, driven from a shell.

Laws: exit code 0 on success, 2 on bad use or bad input, 130 when interrupted; a failure is one line on
standard error and leaves nothing written; with ``--json`` standard output holds exactly one JSON object.
"""

from napari_emsynth.cli.app import main

__all__ = ["main"]
