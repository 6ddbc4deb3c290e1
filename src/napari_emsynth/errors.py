"""The error types a caller branches on.

Law: a message is one line that names the value, the limit and the unit. The command line turns
:class:`InputError` into exit code 2 and :class:`Cancelled` into 130; the plugin shows both as a notice.
"""


class InputError(ValueError):
    """Bad use or bad input: a single clear line, raised before anything is written."""


class Cancelled(Exception):  # noqa: N818 - not an error: the user asked for it
    """The user cancelled the job; nothing half-done is kept."""
