"""Whether a result has room in memory, asked before it is computed."""

from __future__ import annotations

import torch

from napari_emsynth.errors import InputError
from napari_emsynth.tiling import device

# A result that needs more of the free memory than this share would make the machine swap.
ROOM = 0.8
GIB = 2**30


def check_room(needed: int, what: str, instead: str) -> None:
    """Refuse what does not fit into memory.

    Args:
        needed: bytes.
        what: needs them, with its verb, such as "the result needs".
        instead: what can be done.

    Raises:
        InputError: that is more than 80 % of what is free.
    """
    free = device.free_bytes(torch.device("cpu"))
    if free is not None and needed > ROOM * free:
        raise InputError(
            f"{what} {needed / GIB:.1f} GiB, the limit is {ROOM * free / GIB:.1f} GiB ({ROOM:.0%} of the "
            f"free memory); {instead}"
        )
