"""One pair registered by optimising the network on it: the first of the two forms in Li & Fan's paper.

The network's parameters ``theta`` take Adam's steps on the loss (4) of :mod:`.li2017_loss` of this one pair, from an
untrained network or from a trained one; ``u_theta`` is then the answer. Images larger than a window are optimised on
windows drawn at random, so that a step costs the same for any size. The same in two dimensions and in three.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.methods.align.li2017.loss import LossConfig, loss
from napari_emsynth.models.li2017 import LiFan
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.tiling.transfer import channels_last


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a pair is optimised; all [O].

    Args:
        iterations: steps.
        rate: Adam's learning rate.
        window: largest edge of what one step looks at, px.
        constants: of the loss.
    """

    iterations: int
    rate: float
    window: int
    constants: LossConfig = LossConfig()


def optimised(network: LiFan, pair: Tensor, known: Tensor, how: Optimisation, runtime: Runtime) -> LiFan:
    """Return a copy of the network, optimised on one pair.

    Args:
        network: where it starts.
        pair: [2, *size] (fixed, moving), normalised.
        known: [1, *size] 1 where both are tissue, 0 elsewhere.
        how: steps and constants.
        runtime: device, seed, and the token that is asked at every step.

    Raises:
        Cancelled: after ``runtime.cancel``.
    """
    device = resolve(runtime.device)
    learner = channels_last(deepcopy(network).to(device)).train()
    assert isinstance(learner, LiFan)
    optimiser = torch.optim.Adam(learner.parameters(), lr=how.rate)
    rng = np.random.default_rng(runtime.seed)
    images = padded(torch.cat((pair, known))[None].to(device), network.config.multiple)
    for _ in range(how.iterations):
        runtime.cancel.check()
        seen = window(images, how.window, network.config.multiple, rng)
        total, _ = loss(seen[:, :1], seen[:, 1:2], learner(seen[:, :2]), how.constants, seen[:, 2:])
        optimiser.zero_grad(set_to_none=True)
        total.backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    return learner.eval()


def padded(images: Tensor, multiple: int) -> Tensor:
    """Repeat the far border of [b, c, *size] until every size is a multiple; the last channel becomes 0 there."""
    size = images.shape[2:]
    more = [-n % multiple for n in size]
    sides = [side for n in reversed(more) for side in (0, n)]
    seen, known = images[:, :-1], images[:, -1:]
    return torch.cat((F.pad(seen, sides, mode="replicate"), F.pad(known, sides)), dim=1)


def window(images: Tensor, edge: int, multiple: int, rng: np.random.Generator) -> Tensor:
    """Cut a window [b, c, *window] at random, at most ``edge`` px along each axis, of a size the network takes."""
    largest = max(edge // multiple, 1) * multiple
    cut = [slice(None), slice(None)]
    for n in images.shape[2:]:
        start = int(rng.integers(0, max(n - largest, 0) + 1))
        cut.append(slice(start, start + largest))
    return images[tuple(cut)]
