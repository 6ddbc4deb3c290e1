"""The expert that looks along z: what lies between (or within) sections, drawn in the plane of the sections.

For the section wanted at ``p`` the network of :mod:`napari_emsynth.models.reslice_unet` sees five xy planes: the two
acquired sections below, what cubic interpolation makes of ``p``, and the two above::

    a_{b-1}, a_b, cubic(p), a_{b+1}, a_{b+2},   b = floor(p)                                    (1)

and the place ``p - b`` instead of a place a row. It answers with a correction of ``cubic(p)`` and the scale of its
error. Arrays are [section, y, x] float32, normalised.
"""

from __future__ import annotations

import math
from itertools import groupby

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.methods.upsample.reslice import mirrored, stretched
from napari_emsynth.methods.upsample.upsampler import Ask
from napari_emsynth.models.reslice_unet import ResliceUNet, facts_of
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Float

# Px looked at around what is computed; a multiple of the network's strides.
PX = 32
# Cores of this edge keep the halo's share of the work small.
TILE = 512
# Acquired sections seen on each side of the wanted one; cubic interpolation needs no more.
SEEN = 2


class Between(nn.Module):
    """The network at some places between the same two sections, as the engine wants it: channels in, channels out."""

    def __init__(
        self, network: ResliceUNet, places: tuple[float, ...], facts: tuple[float, float, float]
    ) -> None:
        super().__init__()
        self.network, self.places, self.facts = network, places, facts

    def forward(self, x: Tensor) -> Tensor:
        """[b, 4 + n, y, x] (sections, then what cubic interpolation says at n places) -> [b, 2 n, y, x]."""
        answers = []
        facts = x.new_tensor(self.facts).expand(len(x), -1)
        for i, place in enumerate(self.places):
            planes = planes_of(x[:, :SEEN], x[:, 2 * SEEN + i : 2 * SEEN + i + 1], x[:, SEEN : 2 * SEEN])
            answers += self.network(planes, x.new_full((len(x), x.shape[-2]), place), facts)
        return torch.cat(answers, dim=1)


def planes_of(below: Tensor, wanted: Tensor, above: Tensor) -> Tensor:
    """Return (1): [b, 2, y, x], [b, 1, y, x] and [b, 2, y, x] -> [b, 5, y, x]."""
    return torch.cat((below, wanted, above), dim=1).contiguous(memory_format=torch.channels_last)


def between(network: ResliceUNet, block: Float, ask: Ask, runtime: Runtime) -> tuple[Float, Float]:
    """Draw fine sections of a block.

    Args:
        network: of the sections, in eval mode.
        block: [z, y, x] acquired, normalised.
        ask: which sections.
        runtime: how to compute.

    Returns:
        mean and Laplace scale [n, y, x]. Acquired sections are as surely known as anything.
    """
    sections, factor, sampling, more = ask.sections, ask.factor, ask.sampling, SEEN + 2
    thick = mirrored(block, more, sampling)
    # Whole slabs around, so that slab means of the start are right.
    around = math.ceil(factor)
    rows = range(sections.start - around, sections.stop + around)
    start = stretched(thick, factor, sampling, rows, ask.origin - more)[around : around + len(sections)]
    mean, scale = np.empty_like(start), np.empty_like(start)
    places = [p + more for p in ask.positions]
    facts = facts_of(factor, sampling == "slab", sides=True)
    for below, group in groupby(range(len(places)), key=lambda i: math.floor(places[i])):
        wanted = list(group)
        source = np.concatenate((thick[below - 1 : below + 1 + SEEN], start[wanted]))
        fn = Between(network, tuple(places[i] - below for i in wanted), facts)
        answer = run(
            fn,
            source,
            halo=PX,
            runtime=runtime,
            tile=TILE,
            multiple=network.config.multiple,
            faces="inside",
            out_channels=2 * len(wanted),
        )
        mean[wanted], scale[wanted] = answer[0::2], np.exp(answer[1::2])
    return mean, scale
