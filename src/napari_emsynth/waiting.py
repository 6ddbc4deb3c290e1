"""How the threads of a computation wait for each other: asleep, not spinning.

Threads that share one operation meet at its end, thousands of times a second where operations are small. As a rule the
runtimes let whoever comes first spin there; where another program needs the core, all wait for it, spinning. The
runtimes read how to wait once, when they are loaded, so it must be said before torch is first imported; loads nothing.

Law: what the user said of it stays.
"""

from __future__ import annotations

import os

ASLEEP = {"OMP_WAIT_POLICY": "PASSIVE", "GOMP_SPINCOUNT": "0", "KMP_BLOCKTIME": "0"}
"""What OpenMP, GNU's and LLVM's runtimes are told."""


def wait_asleep() -> None:
    """Let threads sleep while they wait, unless the user said how they are to wait."""
    if not any(name in os.environ for name in ASLEEP):
        os.environ.update(ASLEEP)
