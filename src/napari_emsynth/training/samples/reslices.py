"""What a discriminator of reslices sees: images of one size, cut from stacks in all three planes.

Conventions: stacks are [b, z, y, x]; images are [n, 1, h, w]; an xz reslice is [z, x], a yz reslice [z, y].
"""

from __future__ import annotations

import torch
from numpy.random import Generator
from torch import Tensor


def random_reslices(stacks: Tensor, count: int, rng: Generator) -> Tensor:
    """Cut xz and yz reslices out of stacks at random.

    Args:
        stacks: [b, z, y, x]; y and x are cut to the shorter of the two, so that both kinds have one size.
        count: images.
        rng: chooses stack, plane and position.

    Returns:
        [count, 1, z, min(y, x)], alternately xz and yz; gradients flow back.
    """
    b, _, h, w = stacks.shape
    edge = min(h, w)
    images = []
    for i in range(count):
        stack = stacks[int(rng.integers(b))]
        if i % 2:
            images.append(stack[:, :edge, int(rng.integers(w))])  # yz
        else:
            images.append(stack[:, int(rng.integers(h)), :edge])  # xz
    return torch.stack(images)[:, None]


def random_sections(stacks: Tensor, count: int, size: tuple[int, int], rng: Generator) -> Tensor:
    """Cut windows out of xy sections at random.

    Args:
        stacks: [b, z, y, x].
        count: images.
        size: (height, width) of an image in px, at most (y, x).
        rng: chooses stack, section and window.

    Returns:
        [count, 1, *size].
    """
    b, z, h, w = stacks.shape
    images = []
    for _ in range(count):
        y, x = int(rng.integers(h - size[0] + 1)), int(rng.integers(w - size[1] + 1))
        images.append(stacks[int(rng.integers(b)), int(rng.integers(z)), y : y + size[0], x : x + size[1]])
    return torch.stack(images)[:, None]
