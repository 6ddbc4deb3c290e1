"""Li & Fan 2017 on a pair of volumes: the form of the paper itself, one network optimised on one pair.

The network, the loss and the optimisation are those of sections, with a third axis. There are no bundled weights:
``theta = argmin L(fixed, moving, u_theta)`` from an untrained network.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.methods.align.li2017.loss import LossConfig
from napari_emsynth.methods.align.li2017.optimise import Optimisation, optimised
from napari_emsynth.methods.align.li2017.pair import forward, judge
from napari_emsynth.models.li2017 import Config, LiFan
from napari_emsynth.normalisation import Normalisation
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float

# What [O] has to hold in three dimensions: smaller windows show enough, and steps must stay affordable.
CONSTANTS = LossConfig(window=7)
# Edge of what one step looks at, voxels.
WINDOW = 64


@dataclass(frozen=True, eq=False)
class VolumePair:
    """How one volume must be pulled to lie on another.

    Args:
        displacement: [3, z, y, x] (dz, dy, dx) voxels, pull: ``moving(p + u(p)) ~ fixed(p)``.
        similarity_before: mean local NCC when nothing moves, -1 to 1.
        similarity_after: the same when the moving volume is pulled.
    """

    displacement: Float
    similarity_before: float
    similarity_after: float


def register_volumes(
    moving: Array,
    fixed: Array,
    *,
    config: Config = Config.volumes(),
    iterations: int = 150,
    learning_rate: float = 2e-3,
    constants: LossConfig = CONSTANTS,
    runtime: Runtime = Runtime(),
) -> VolumePair:
    """Register one volume onto another by optimising a network on the two.

    Args:
        moving: [z, y, x] any real dtype.
        fixed: [z, y, x] of the same shape.
        config: sizes of the network, of dimension 3.
        iterations: Adam's steps.
        learning_rate: of Adam.
        constants: of the loss.
        runtime: device, seed, and the token that is asked at every step.

    Raises:
        InputError: shapes that differ or are no volumes, a network of another dimension, no steps.
        Cancelled: after ``runtime.cancel``.
    """
    _check(moving, fixed, config, iterations)
    pair = np.stack([Normalisation.of_section(v).forward(v) for v in (fixed, moving)])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(runtime.seed)
        network = LiFan(config)
    how = Optimisation(iterations=iterations, rate=learning_rate, window=WINDOW, constants=constants)
    known = np.stack([np.isfinite(v) for v in (fixed, moving)]).astype(np.float32)
    images = torch.from_numpy(pair)
    network = optimised(network, images, torch.from_numpy(known.prod(0, keepdims=True)), how, runtime)
    seen = np.concatenate((pair, known))
    still = np.zeros((3, *fixed.shape), np.float32)
    found = forward(network, pair, runtime)
    before, after = (judge(seen, field, constants, runtime) for field in (still, found))
    return VolumePair(found, before.similarity, after.similarity)


def _check(moving: Array, fixed: Array, config: Config, iterations: int) -> None:
    if moving.shape != fixed.shape or fixed.ndim != 3:
        raise InputError(
            f"volumes of shapes {moving.shape} and {fixed.shape} voxels cannot be registered: both must be z, y, x of "
            "one shape"
        )
    if config.dimension != 3:
        raise InputError(f"a network of dimension {config.dimension} cannot register volumes: it must be 3")
    if iterations < 1:
        raise InputError(f"{iterations} iterations are below the limit of 1")
