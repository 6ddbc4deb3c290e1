"""The reslice expert: every xz and every yz plane of a kriged volume, sharpened by one network.

With ``m_d`` and ``s_d`` the network's mean and log scale for planes of direction ``d`` (xz or yz)::

    w_d = e^(-2 s_d),   mean = sum_d w_d m_d / sum_d w_d,   log scale = sum_d w_d s_d / sum_d w_d         (1)

The scale is a mean, not that of independent errors: both directions miss the same noise. Arrays are [section, y, x]
float32, normalised.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.methods.upsample.acquisition import applied, back_projected, cubic_weights, shares, steps
from napari_emsynth.methods.upsample.kriging import kriged
from napari_emsynth.methods.upsample.lattice import Sampling, position
from napari_emsynth.methods.upsample.protocol import Ask
from napari_emsynth.models.kriging import Reach
from napari_emsynth.models.reslice_unet import ResliceUNet, facts_of
from napari_emsynth.spec import Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.volume import Array, Float

# Output rows (along z) and px (along y and x) looked at around what is computed; multiples of the network's strides.
ROWS, PX = 16, 16
# Cores of this edge keep the halo's share of the work small.
TILE = 256
# Planes are sharpened so many px at a time: what a processor's cache holds pays off, larger batches do not.
PASS_PX = 1 << 18


def reach(factor: float) -> int:
    """Return how many output rows the expert looks at beyond those wanted."""
    return ROWS * math.ceil(2 * factor / ROWS)


def mirrored(block: Float, count: int, sampling: Sampling) -> Float:
    """Return a block with ``count`` sections more at both ends: mirrored at centres (point) or faces (slab)."""
    width = [(count, count)] + [(0, 0)] * (block.ndim - 1)
    if len(block) == 1:
        return np.pad(block, width, mode="edge")
    return np.pad(block, width, mode="reflect" if sampling == "point" else "symmetric")


def started(block: Float, ask: Ask, sections: range, reach: Reach) -> tuple[Float, Float]:
    """Return what networks start from: kriging, slab means put right where slabs are whole.

    Args:
        block: [z, y, x] acquired, normalised.
        ask: factor, sampling, origin, and what is known of the volume.
        sections: which fine sections, [n]; mirrored beyond the block.
        reach: which pixels of a section have a say.

    Returns:
        mean [n, y, x], and root mean square error [n] before means are put right; normalised.
    """
    mean, error = kriged(block, ask, [ask.position(j) for j in sections], reach)
    if ask.sampling == "point":
        return mean, error
    more = math.ceil((len(sections) + 1) / ask.factor) + 2
    slabs = range(ask.origin - more, ask.origin + len(block) + more)
    matrix = shares(ask.factor, sections, slabs)
    return back_projected(mean, mirrored(block, more, ask.sampling), matrix, count=steps(ask.factor)), error


def stretched(thick: Float, factor: float, sampling: Sampling, sections: range, origin: int = 0) -> Float:
    """Return acquired sections on the fine grid: cubic interpolation, slab means put right where slabs are whole.

    Args:
        thick: [z, ...] acquired.
        factor: fine sections a section.
        sampling: how they were acquired.
        sections: which fine sections, [n].
        origin: acquired section that is the first of ``thick``.
    """
    positions = [position(j, factor, sampling) - origin for j in sections]
    fine = applied(cubic_weights(positions, len(thick)), thick)
    if sampling == "point":
        return fine
    matrix = shares(factor, sections, range(origin, origin + len(thick)))
    return back_projected(fine, thick, matrix, count=steps(factor))


def places_of(factor: float, sampling: Sampling, sections: range) -> Float:
    """Return the place of every fine section between two acquired ones, [n] in [0, 1): 0 = an acquired centre."""
    p = np.array([position(j, factor, sampling) for j in sections])
    return np.asarray(p - np.floor(p), np.float32)


def acquired_rows(factor: float, sampling: Sampling, sections: range) -> Array:
    """Return which fine sections are acquired ones, [n] bool."""
    return np.asarray((places_of(factor, sampling, sections) == 0) & (sampling == "point"))


class Reslices(nn.Module):
    """The network over every plane of a block, as the engine wants it: channels in, channels out.

    Args:
        network: of the planes.
        facts: of :func:`facts_of`.
        margin: px along y and x that the answer is smaller by on each side.
        sides: whether planes are shown with their neighbours, and so in both directions; otherwise xz only.
    """

    def __init__(
        self, network: ResliceUNet, facts: tuple[float, float, float], margin: int, *, sides: bool = True
    ) -> None:
        super().__init__()
        self.network, self.facts, self.margin, self.sides = network, facts, margin, sides

    def forward(self, x: Tensor) -> Tensor:
        """[b, 2, n, y, x] (start, place of the row) -> [b, 2, n, y - 2 margin, x - 2 margin] mean, log scale."""
        return torch.stack([self._block(block[0], block[1, :, 0, 0]) for block in x])

    def _block(self, stretched: Tensor, places: Tensor) -> Tensor:
        m = self.margin
        size = stretched.shape[1:]
        inner = [slice(m, n - m) for n in size]
        # Planes of xz are cut along x only after they were sharpened, and along y before.
        mean, log_scale = self._direction(stretched, places)[..., inner[1]]
        if self.sides:
            turned = self._direction(stretched.transpose(1, 2), places)[..., inner[0]].transpose(2, 3)
            weight = torch.sigmoid(2 * (turned[1] - log_scale))  # (1) of two
            mean = weight * mean + (1 - weight) * turned[0]
            log_scale = weight * log_scale + (1 - weight) * turned[1]
        return torch.stack((mean, log_scale))

    def _direction(self, volume: Tensor, places: Tensor) -> Tensor:
        """[n, v, w] -> [2, n, v - 2 margin, w]: sharpen the planes of every v that is wanted."""
        n, v, w = volume.shape
        s, m = self.network.config.sides, self.margin
        planes = volume.transpose(0, 1)  # [v, n, w]
        if not self.sides:
            windows = F.pad(planes[:, None], (0, 0, 0, 0, s, s))
        else:
            if s > m:
                around = min(s - m, v - 1)
                planes = F.pad(planes[None, None], (0, 0, 0, 0, around, around), mode="reflect")[0, 0]
            first = m - s if s <= m else 0
            windows = planes[first : first + v - 2 * m + 2 * s].unfold(0, 2 * s + 1, 1).movedim(-1, 1)
        count = max(1, PASS_PX // (n * w))
        facts = torch.tensor(self.facts, device=volume.device, dtype=volume.dtype)
        answers = []
        for part in torch.split(windows, count):
            b = len(part)
            mean, log_scale = self.network(
                part.contiguous(memory_format=torch.channels_last), places.expand(b, -1), facts.expand(b, -1)
            )
            answers.append(torch.cat((mean, log_scale), dim=1))  # [b, 2, n, w]
        return torch.cat(answers).permute(1, 2, 0, 3)


def reslice(
    network: ResliceUNet, block: Float, ask: Ask, runtime: Runtime, *, sides: bool = True
) -> tuple[Float, Float]:
    """Draw fine sections of a block.

    Args:
        network: of the planes, in eval mode.
        block: [z, y, x] acquired, normalised.
        ask: which sections.
        runtime: how to compute.
        sides: False for a block whose y axis is coarser than its x axis: planes are then seen alone.

    Returns:
        mean and Laplace scale [n, y, x].
    """
    sections, factor, sampling = ask.sections, ask.factor, ask.sampling
    around, step = reach(factor), network.config.multiple
    rows = range((sections.start - around) // step * step, -(-(sections.stop + around) // step) * step)
    start, _ = started(block, ask, rows, "plane" if sides else "row")
    places = places_of(factor, sampling, rows)
    source = np.stack((start, np.broadcast_to(places[:, None, None], start.shape)))
    answer = run(
        Reslices(network, facts_of(factor, sampling == "slab", sides), PX if sides else 0, sides=sides),
        source,
        halo=(0, PX, PX) if sides else 0,
        runtime=runtime,
        tile=(len(rows), TILE, TILE),
        multiple=step,
        out_channels=2,
    )
    inner = slice(sections.start - rows.start, sections.stop - rows.start)
    return answer[0, inner], np.exp(answer[1, inner])
