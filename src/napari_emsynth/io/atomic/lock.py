"""Who holds a file: one process at a time, or several that share it, until they let go or die.

Law: a file system that has no locks is no obstacle: :func:`lock` says so, and the caller goes on without.
"""

from __future__ import annotations

import errno
import sys
from typing import IO, Literal

# What network file systems answer that keep no locks.
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS})

Answer = Literal["ours", "taken", "unknown"]

if sys.platform == "win32":
    import msvcrt

    def lock(file: IO[bytes], *, shared: bool = False) -> Answer:  # noqa: ARG001 - this system shares none
        """Lock ``file`` for this process: "taken" when another holds it."""
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return "taken"
        return "ours"

else:
    import fcntl

    def lock(file: IO[bytes], *, shared: bool = False) -> Answer:
        """Lock ``file`` for this process: "taken" when another holds it, "unknown" where there are no locks.

        Args:
            file: open; a lock that it has already is exchanged, and lost where the new one is taken.
            shared: others that share it are no obstacle.

        Raises:
            OSError: the system refused for another reason.
        """
        try:
            fcntl.flock(file, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
        except BlockingIOError:
            return "taken"
        except OSError as error:
            if error.errno in NO_LOCKS:
                return "unknown"
            raise
        return "ours"
