"""ssEMnet (Yoo, Hildebrand, Tobin, Lee and Jeong 2017): sections registered by the features of an autoencoder.

Nothing is learned of registration: the autoencoder is trained to redraw sections and then frozen, and each section is
registered by descending its own energy, whose only unknowns are the vectors of a coarse map::

    v = argmin E(v),   E = features' difference to several neighbours + regularisers                  (1)
    v <- v - Adam(dE/dv)                                                                              (2)

:mod:`.ssemnet_energy` has E term by term, :mod:`.ssemnet_descent` its sum over a section, :mod:`.ssemnet_grid` the
ways from the map to pixels, and :mod:`.ssemnet_recipe` the training. Ours: descent on binned copies first, with nodes
as far apart in their pixels; a rate that falls to zero along half a cosine; tiles, whose gradients add up to that of
the whole; and the confidence ::

    c = 1 - <|f_i - f_0|^2> / (var f_i + var f_0),  cut to 0 .. 1                                     (3)

in a window around a place: 1 where the features agree, 0 where they have nothing to do with each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.methods.align.protocol import Mask, Neighbour, PairField, Question
from napari_emsynth.methods.align.ssemnet import energy
from napari_emsynth.methods.align.ssemnet.descent import Scale, SsemnetParams, Targets, features_of, halo_of
from napari_emsynth.methods.align.ssemnet.grid import Grid, Interpolation, resampled
from napari_emsynth.methods.align.ssemnet.recipe import Recipe
from napari_emsynth.methods.building import learned
from napari_emsynth.models.ssemnet import Autoencoder
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.tiling.transfer import channels_last
from napari_emsynth.volume import Float

# Cores of this edge in px; a descent over one takes 200 MB.
TILE = 1024
# Sections are not binned below this edge in px: a few features are no landmark.
SMALLEST_EDGE = 32
# (3) is taken over squares of so many features, and is 0 where features vary less than this share of what they do in
# the whole section.
WINDOW, STRUCTURE = 7, 0.02


class Ssemnet:
    """The built method: a frozen autoencoder and the parameters."""

    how: Literal["chain"] = "chain"

    def __init__(self, network: Autoencoder, params: SsemnetParams) -> None:
        self.network, self.params = network.eval().requires_grad_(False), params
        channels_last(network)

    def __call__(self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime) -> PairField:
        """Register a section [y, x] onto its neighbours."""
        (found,) = self.together([Question(moving, fixed, known)], runtime)
        return found

    def together(self, questions: Sequence[Question], runtime: Runtime) -> list[PairField]:
        """Register sections [y, x] of one size, each onto its neighbours; as many at a time as a tile has room for."""
        device, tile = resolve(runtime.device), runtime.tile or TILE
        self.network.to(device)
        step = max(1, TILE**2 // questions[0].moving.size)
        found = []
        for first in range(0, len(questions), step):
            some = questions[first : first + step]
            found += self._registered(some, stacked(some, device), tile, runtime)
        return found

    def _registered(self, questions: Sequence[Question], stack: Tensor, tile: int, runtime: Runtime) -> list[PairField]:
        """Descend scale by scale; ``stack`` as :func:`stacked` returns it."""
        shape, count = (stack.shape[-2], stack.shape[-1]), len(questions)
        v = stack.new_zeros((count, 2, *self._nodes(shape, 1)))
        for binning in self._binnings(shape):
            scale = self._scale(questions, stack, binning, tile)
            v = resampled(v, scale.grid.nodes)
            v = scale.descend(v, self.params, runtime)
        trust, left = assessed(scale, v, shape)
        # One copy back for everything.
        parts = torch.cat((v.flatten(1), trust.flatten(1), left[:, None]), dim=1).cpu().numpy()
        y, x = v.shape[-2:]
        return [
            PairField(
                row[: 2 * y * x].reshape(2, y, x), row[2 * y * x : -1].reshape(y, x), {"difference": float(row[-1])}
            )
            for row in parts
        ]

    def _binnings(self, shape: tuple[int, int]) -> list[int]:
        """Return by how much sections are binned, scale by scale; the last is 1."""
        binnings = [2**k for k in range(self.params.scales)]
        return [b for b in reversed(binnings) if b == 1 or min(shape) / b >= SMALLEST_EDGE]

    def _nodes(self, shape: tuple[int, int], binning: int) -> tuple[int, int]:
        step = self.params.step_px * binning
        return -(-shape[0] // step), -(-shape[1] // step)

    def _scale(self, questions: Sequence[Question], stack: Tensor, binning: int, tile: int) -> Scale:
        """Bin what there is, and look at the neighbours' features once for all."""
        shape, count = (stack.shape[-2], stack.shape[-1]), len(questions)
        images, tissue = binned(stack, binning, self.network.config.multiple)
        features = features_of(self.network, images[count:], tile)
        known = energy.of_features(tissue[count:], features.shape[-2:])
        weights = [[n.weight for n in q.fixed] for q in questions]
        most = max(len(w) for w in weights)
        padded = [w + [0.0] * (most - len(w)) for w in weights]
        targets = Targets(
            features.view(count, most, *features.shape[1:]),
            known.view(count, most, *known.shape[2:]),
            torch.tensor(padded).to(stack.device),
        )
        halo = halo_of(self.network)
        rows, columns = (
            np.arange(-halo, n + halo, dtype=np.float64) * binning + (binning - 1) / 2 for n in images.shape[-2:]
        )
        kind = cast("Interpolation", self.params.interpolation)
        grid = Grid.of(kind, self._nodes(shape, binning), shape, (rows, columns), stack.device)
        return Scale(self.network, binning, images[:count], tissue[:count], targets, grid, tile)


def stacked(questions: Sequence[Question], device: torch.device) -> Tensor:
    """Return the sections and then all their neighbours on a device, and what is known of each: [m, 2, y, x].

    Every section has as many neighbours as the one with most; absent ones are empty.
    """
    most = max(len(q.fixed) for q in questions)
    nobody = Neighbour(np.zeros_like(questions[0].moving), 0.0, np.zeros(questions[0].moving.shape, bool))
    images = [Neighbour(q.moving, known=q.known) for q in questions]
    for q in questions:
        images += [*q.fixed, *[nobody] * (most - len(q.fixed))]
    out = np.empty((len(images), 2, *nobody.image.shape), np.float32)
    for pair, image in zip(out, images, strict=True):
        pair[1] = 1.0 if image.known is None else image.known
        pair[0] = np.where(pair[1] > 0, image.image, 0)
    return torch.from_numpy(out).to(device)


def binned(stack: Tensor, by: int, multiple: int) -> tuple[Tensor, Tensor]:
    """Return sections and what is known of them, each [m, 1, y', x'], binned, and filled up to a multiple of some px.

    Args:
        stack: [m, 2, y, x] sections, 0 where they are not known, and 1 where they are.
        by: px that become one, along each axis; a binned pixel is known where all of it is.
        multiple: of px of a binned section; what fills it up repeats its edge and is not known.
    """
    more = [-n % (by * multiple) for n in stack.shape[-2:]]
    sides = (0, more[1], 0, more[0])
    image, tissue = F.pad(stack[:, :1], sides, mode="replicate"), F.pad(stack[:, 1:], sides)
    return (image, tissue) if by == 1 else (F.avg_pool2d(image, by), -F.max_pool2d(-tissue, by))


def confidence(fixed: Tensor, moved: Tensor, known: Tensor) -> Tensor:
    """Return (3) around every feature, [b, n, y', x'] 0 to 1; 0 where one of the two shows nothing.

    Args:
        fixed: [b, n, c, y', x'] features of the neighbours.
        moved: [b, c, y', x'] features of the pulled section.
        known: [b, n, y', x'] 0 to 1, of both.
    """

    def around(values: Tensor) -> Tensor:
        flat = values.flatten(0, -3)[:, None]
        return F.avg_pool2d(flat, WINDOW, 1, WINDOW // 2, count_include_pad=False).view(values.shape)

    def varied(features: Tensor) -> Tensor:
        here = known[:, :, None]
        mean, square = around(here * features) / count, around(here * features.square()) / count
        return (square - mean.square()).mean(dim=2)

    count = around(known)[:, :, None].clamp_min(1e-6)
    left = around(known * energy.difference(fixed, moved)) / count[:, :, 0]
    theirs, ours = varied(fixed), varied(moved[:, None])
    agreed = (1 - left / (theirs + ours).clamp_min(1e-12)).clamp(0, 1)  # (3)
    least = STRUCTURE * fixed.flatten(3).var(dim=3, correction=0).mean(dim=2)[..., None, None]
    return torch.where(torch.minimum(theirs, ours) > least, agreed, 0.0)


def assessed(scale: Scale, v: Tensor, shape: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the confidence around every node, [b, y', x'], and what is left of the difference to the nearest, [b].

    Args:
        scale: the sections in full size.
        v: [b, 2, y', x'] px.
        shape: (y, x) px of the sections; what fills them up does not count.
    """
    targets, (moved, mask) = scale.targets, scale.seen(v)
    known = mask * targets.known
    say = targets.weights / targets.weights.sum(dim=1, keepdim=True)
    trust = (say[..., None, None] * known * confidence(targets.features, moved, known)).sum(dim=1)
    nearest = known[:, 0]
    left = (nearest * energy.difference(targets.features[:, :1], moved)[:, 0]).sum(dim=(1, 2))
    rows, columns = (-(-n // scale.multiple) for n in shape)
    at_nodes = F.adaptive_avg_pool2d(trust[:, None, :rows, :columns], scale.grid.nodes)[:, 0]
    return at_nodes, left / nearest.sum(dim=(1, 2)).clamp_min(1e-6) / scale.unit


SPEC = MethodSpec(
    task="align",
    id="ssemnet",
    title="ssEMnet",
    summary="Descends, section by section, to the smooth displacement that makes its features those of several "
    "neighbours. Moves voxels and draws none.",
    paper="Yoo, Hildebrand, Tobin, Lee and Jeong 2017",
    params=SsemnetParams,
    build=learned(Recipe, lambda network, _card, params: Ssemnet(network, params)),
    weights=("autoencoder",),
    keeps_acquired=False,
    answers="displacement",
    recipes={"autoencoder": Recipe},
)
