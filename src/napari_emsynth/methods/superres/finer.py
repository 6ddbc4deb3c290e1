"""Running networks whose answer is larger than what they see, in the engine whose answers are as large.

Law: an answer [c, f y, f x] travels as [c f f, y, x]; unfolding it again changes no value.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.protocol import Finer
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.training.samples.reductions import Simulation
from napari_emsynth.volume import Float

# Fine cores of this edge: the widest maps of a tile take about 1 GB.
TILE = 2048


class Together(nn.Module):
    """A network [b, n, y, x] -> some [b, 1, f y, f x], all of its answers side by side."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, sections: Tensor) -> Tensor:
        """[b, n, y, x] -> [b, answers, f y, f x]."""
        return torch.cat(tuple(self.network(sections)), dim=1)


class FromNetwork:
    """A method that is a network, run tile by tile: all that :class:`Superresolver` asks for.

    Args:
        network: [b, n, y, x] -> mean, log of the error's scale and, of those with a prior, its mask, each
            [b, 1, f y, f x].
        confidence: from scale to half width.
        factor: f.
        sections: n.
        halo: low-resolution px on each side that an answer depends on.
        multiple: of which the network's inputs must be, low-resolution px.
    """

    def __init__(
        self, network: nn.Module, confidence: Confidence, *, factor: int, sections: int, halo: int, multiple: int = 1
    ) -> None:
        self.network, self.confidence = Together(network.eval()), confidence
        self.factor: int | None = factor
        self.context, self.halo, self.multiple = sections // 2, halo, multiple
        # Neighbours lay as far apart where it learned.
        self.spacing = Simulation().spacing[1]

    def __call__(self, block: Float, factor: int, runtime: Runtime) -> Finer:
        """Make the middle section of a block [n, y, x] finer."""
        mean, log_scale, *mask = computed(
            self.network, block, factor, halo=self.halo, runtime=runtime, multiple=self.multiple
        )
        return Finer(mean, np.exp(log_scale), *mask)


class Folded(nn.Module):
    """A network [b, n, y, x] -> [b, c, f y, f x], its fine pixels folded into channels."""

    def __init__(self, network: nn.Module, factor: int) -> None:
        super().__init__()
        self.network, self.factor = network, factor

    def forward(self, sections: Tensor) -> Tensor:
        """[b, n, y, x] -> [b, c f f, y, x]."""
        return F.pixel_unshuffle(self.network(sections), self.factor)


def unfolded(folded: Float, factor: int) -> Float:
    """[c f f, y, x] -> [c, f y, f x]."""
    c, (y, x) = len(folded) // factor**2, folded.shape[1:]
    pixels = folded.reshape(c, factor, factor, y, x).transpose(0, 3, 1, 4, 2)
    return np.ascontiguousarray(pixels).reshape(c, y * factor, x * factor)


def computed(network: nn.Module, block: Float, factor: int, *, halo: int, runtime: Runtime, multiple: int = 1) -> Float:
    """Run a network over a block of any size, tile by tile.

    Args:
        network: [b, n, y, x] -> [b, c, f y, f x].
        block: [n, y, x].
        factor: f.
        halo: low-resolution px on each side that a pixel depends on.
        runtime: device, precision, tile, progress and cancel.
        multiple: of which the network's inputs must be, low-resolution px.

    Returns:
        [c, f y, f x].
    """
    y, x = block.shape[1:]
    folded = run(
        Folded(network, factor),
        completed(block, multiple),
        halo=halo,
        runtime=runtime,
        tile=TILE // factor,
        multiple=multiple,
        faces="inside",
    )
    return unfolded(folded[:, :y, :x], factor)


def completed(block: Float, multiple: int) -> Float:
    """Extend sections [n, y, x] to multiples of ``multiple`` px, mirrored about their lower right edges.

    A pixel is the mean over its area, so it is the edge that mirrors. Mirrored about the centres of the outermost
    pixels, as the engine would, the last rows of an answer are up to 0.9 dB worse.
    """
    short = [(0, -n % multiple) for n in block.shape[1:]]
    return np.pad(block, ((0, 0), *short), mode="symmetric") if any(n for _, n in short) else block
