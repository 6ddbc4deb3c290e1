"""Small tensors that are made once for every size and device, and kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import ParamSpec, cast

import torch
from torch import Tensor

P = ParamSpec("P")
MOST = 256


def kept(make: Callable[P, Tensor]) -> Callable[P, Tensor]:
    """Keep what a function of hashable arguments makes, in full precision; nobody may write to it.

    What is made in inference mode cannot serve a learner: both have their own.
    """

    @lru_cache(maxsize=MOST)
    def made(in_inference: bool, *args: object) -> Tensor:  # noqa: ARG001 - part of the key
        with torch.autocast("cpu", enabled=False):
            return cast("Callable[..., Tensor]", make)(*args)

    @wraps(make)
    def looked_up(*args: P.args, **kwargs: P.kwargs) -> Tensor:
        assert not kwargs, "given by place"
        return made(torch.is_inference_mode_enabled(), *args)

    return looked_up
