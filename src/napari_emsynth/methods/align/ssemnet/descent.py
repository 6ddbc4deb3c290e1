"""ssEMnet's descent: the energies of several sections at one scale, and the steps that lower them.

Sections of one size descend together, each its own energy: a step takes the same operations for one as for many, and
nothing is read back before the last. The map ``v`` [b, 2, y', x'] is in px of the full-size section at every scale; a
section binned by k is pulled by ``u / k``. Large sections are gone through tile by tile; with a halo as wide as the
encoder sees, features, energy and gradient are those of the whole. The halo goes on beyond the section's faces, where
the edge is repeated: the encoder's own zeros would look like a frame that stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.methods.align.params import FieldParams
from napari_emsynth.methods.align.ssemnet import energy
from napari_emsynth.methods.align.ssemnet.grid import INTERPOLATIONS, Grid
from napari_emsynth.models.ssemnet import Autoencoder
from napari_emsynth.params import param
from napari_emsynth.spec import Runtime

Window = tuple[slice, slice]
# Adam's memory of slopes and of their squares.
BETAS = (0.9, 0.999)
# It makes steps of slopes however small; a node whose share of E changes by less than this a px nearly rests.
LEAST_SLOPE = 1e-2


@dataclass(frozen=True, kw_only=True)
class SsemnetParams(FieldParams):
    """Parameters of the energy and of its descent."""

    step_px: int = param(32, "Distance of the vector map's nodes.", unit="px", low=8, high=128, step=4, advanced=True)
    interpolation: str = param("bilinear", "How the map is interpolated between its nodes.", choices=INTERPOLATIONS)
    iterations: int = param(40, "Steps of the descent at each scale.", low=1, high=1000)
    scales: int = param(3, "Scales, each half the size of the next.", low=1, high=5)
    rate: float = param(
        0.4, "First steps of the descent are about this long.", unit="px", low=0.001, high=10.0, advanced=True
    )
    alpha: float = param(
        1e-4, "Weight of the vectors' squared length.", unit="1/px^2", low=0.0, high=100.0, advanced=True
    )
    beta: float = param(10.0, "Weight of the squared slope of dx.", low=0.0, high=1e5, advanced=True)
    gamma: float = param(10.0, "Weight of the squared slope of dy.", low=0.0, high=1e5, advanced=True)
    drop: float = param(
        0.5, "Share of the worst features left out at first; halved in every iteration.", low=0.0, high=0.95,
        advanced=True,
    )  # fmt: skip


@dataclass(frozen=True, eq=False)
class Targets:
    """What sections are compared with: their neighbours, the nearest first; absent ones have no weight.

    Args:
        features: [b, n, c, y', x'].
        known: [b, n, y', x'] 0 to 1.
        weights: [b, n].
    """

    features: Tensor
    known: Tensor
    weights: Tensor

    @property
    def places(self) -> int:
        """Places of the feature map."""
        return self.known.shape[-2] * self.known.shape[-1]

    @property
    def unit(self) -> Tensor:
        """The variance of the nearest neighbours' features, [b]; 1 where they do not vary."""
        varied = self.features[:, 0].flatten(2).var(dim=2, correction=0).mean(dim=1)
        return torch.where(varied > 0, varied, 1.0)

    @property
    def share(self) -> Tensor:
        """What a place of the feature map has to say in (1), [b, n, y', x']: units and the mean are in it."""
        total = self.weights.sum(dim=1) * self.places * self.unit
        return self.known * (self.weights / total[:, None])[..., None, None]


class Scale:
    """E at one scale: of sections and their neighbours, binned.

    Args:
        network: whose encoder is f, frozen.
        binning: how many px of the full-size section a pixel is, along each axis.
        moving: [b, 1, y, x] the sections, multiples of the network's px.
        known: [b, 1, y, x] 1 where they are tissue.
        targets: their neighbours.
        grid: from nodes to the section's pixels, :func:`halo_of` px beyond its faces too.
        tile: edge of a tile's core in px.
    """

    def __init__(
        self, network: Autoencoder, binning: int, moving: Tensor, known: Tensor, targets: Targets, grid: Grid, tile: int
    ) -> None:
        self.encoder, self.multiple, self.binning = network.encoder, network.config.multiple, binning
        self.moving, self.known, self.targets, self.grid = moving, known, targets, grid
        self.halo, self.unit, self.share = halo_of(network), targets.unit, targets.share
        self.tiles = [Tile(self, window) for window in tiles((moving.shape[-2], moving.shape[-1]), tile, self.multiple)]

    @property
    def step(self) -> tuple[float, float]:
        """Px of the full-size section between nodes along y and x."""
        y, x = (s / n for s, n in zip(self.grid.shape, self.grid.nodes, strict=True))
        return y, x

    def descend(self, v: Tensor, params: SsemnetParams, runtime: Runtime) -> Tensor:
        """Return the maps [b, 2, y', x'] after the descent.

        Raises:
            Cancelled: between iterations.
        """
        springs, maps = Springs(self, params), flat(v)
        adam = Adam(maps, LEAST_SLOPE / (maps.shape[1] * maps.shape[2]))
        for k in range(params.iterations):
            runtime.cancel.check()
            falling = 0.5 * (1 + math.cos(math.pi * k / params.iterations))
            slope = self.slope(maps, energy.dropped_share(k, params.drop))
            adam.step(springs(slope, maps), params.rate * self.binning * falling)
        return maps.view(v.shape).flip(1)

    def slope(self, maps: Tensor, share: float) -> Tensor:
        """Return the slope of (1) over :func:`flat` maps, a share of the features dropped."""
        highest = None
        drops = share * self.targets.places >= 1
        if drops and len(self.tiles) > 1:
            highest = self._highest(maps, share)
        slopes: list[Tensor] = []
        for tile in self.tiles:
            found, highest = tile.slope(maps, share if drops else 0.0, highest)
            slopes.append(found)
        return slopes[0] if len(slopes) == 1 else torch.stack(slopes).sum(dim=0)

    def _highest(self, maps: Tensor, share: float) -> Tensor:
        """Return the largest error kept of each neighbour, [b, n], when a share of all is dropped."""
        errors, masks = torch.empty_like(self.targets.known), torch.empty_like(self.targets.known)
        for tile in self.tiles:
            errors[tile.core], masks[tile.core] = tile.errors(*tile.seen(maps))
        return energy.highest_kept(errors, masks, share)

    def seen(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(T_v(I_0)) [b, c, y', x'] and M [b, 1, y', x'] of whole sections, at maps [b, 2, y', x']."""
        features = torch.empty_like(self.targets.features[:, 0])
        mask = torch.empty_like(self.targets.known[:, :1])
        for tile in self.tiles:
            features[tile.core], mask[tile.core] = tile.seen(flat(v))
        return features, mask


def flat(v: Tensor) -> Tensor:
    """Return maps [b, 2, y', x'] as a descent keeps them: [2 b, y', x'], dx and dy of every section in turn."""
    return v.flip(1).flatten(0, 1)


class Tile:
    """One tile: from the maps to its features, and how those should change.

    Args:
        scale: whose it is.
        window: its core in px.

    Attributes:
        core: of anything [..., y', x'].
    """

    def __init__(self, scale: Scale, window: Window) -> None:
        self.scale, halo, multiple = scale, scale.halo, scale.multiple
        self._rim = halo // multiple
        size = scale.moving.shape[-2:]
        y, x = (coarse(s, multiple) for s in window)
        self.core = (..., y, x)
        self.features, self.known = scale.targets.features[self.core], scale.targets.known[self.core]
        self.unit = scale.unit[:, None, None, None]
        # (5): what all neighbours say as long as none of it is dropped.
        self.share = 2 / self.features.shape[2] * scale.share[self.core]
        self.all, self.towards = self._sums(self.share)
        # The section's part of the core and its halo, and the core's place among its features.
        self._inside = [
            slice(max(0, halo - s.start), halo - s.start + min(n, s.stop + halo))
            for s, n in zip(window, size, strict=True)
        ]
        first = [max(0, s.start - halo) for s in window]
        self._within = [coarse(s, multiple, a) for s, a in zip(window, first, strict=True)]
        self._ways(window)

    def _ways(self, window: Window) -> None:
        """Prepare what makes places of maps; everything is [2 b, ...], x and y of every section in turn."""
        scale, halo = self.scale, self.scale.halo
        size, (b, device) = scale.moving.shape[-2:], (len(scale.moving), scale.moving.device)
        (y, x), (sy, sx) = window, (2.0 / max(n - 1, 1) for n in size)
        at = [
            torch.arange(s.start - halo, s.stop + halo, device=device, dtype=torch.float32) * f - 1.0
            for s, f in zip(window, (sy, sx), strict=True)
        ]
        base = torch.stack((at[1].expand(len(at[0]), -1), at[0][:, None].expand(-1, len(at[1]))))
        rows = scale.grid.rows[:, y.start : y.stop + 2 * halo].T / scale.binning
        columns = scale.grid.columns[:, x.start : x.stop + 2 * halo]
        self.base = base.repeat(b, 1, 1)  # [2 b, h, w]
        self.rows = torch.stack((sx * rows, sy * rows)).repeat(b, 1, 1)  # [2 b, h, y'']
        self.columns = columns.expand(2 * b, -1, -1)  # [2 b, x'', w]

    def places(self, maps: Tensor) -> Tensor:
        """Return where the pixels of the core and its halo come from, [b, h, w, 2]."""
        nodes = self.scale.grid.dense(maps)
        at = torch.baddbmm(self.base, self.rows, torch.bmm(nodes, self.columns))
        return at.view(-1, 2, *at.shape[1:]).permute(0, 2, 3, 1)

    def seen(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(T_v(I_0)) [b, c, y', x'] and M [b, 1, y', x'] of the core, at :func:`flat` maps."""
        places = self.places(maps)
        features = self.scale.encoder(energy.pulled(self.scale.moving, places))
        return F.pad(features, (-self._rim,) * 4), self.mask(places)

    def slope(self, maps: Tensor, share: float, highest: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Return the slope of the core's part of (1), and the largest error kept of each neighbour, [b, n].

        Args:
            maps: :func:`flat` ones.
            share: of the features that is dropped.
            highest: largest error kept, where it is known; else it is told from this tile.
        """
        along, encoder = maps.detach().requires_grad_(), self.scale.encoder
        places = self.places(along)
        image = energy.pulled(self.scale.moving, places)
        states = encoder.states(image.detach())
        moved, mask, weights = F.pad(states[-1], (-self._rim,) * 4), self.mask(places), None
        if share:
            errors, masks = self.errors(moved, mask)
            highest = energy.highest_kept(errors, masks, share) if highest is None else highest
            weights = energy.kept(errors, highest)
        onto = encoder.back(states, F.pad(self.pull(moved, mask, weights), (self._rim,) * 4))
        return torch.autograd.grad(image, along, onto)[0], highest

    def mask(self, places: Tensor) -> Tensor:
        """Return M of the core, [b, 1, y', x']."""
        scale, (y, x) = self.scale, self._inside
        mask = energy.not_empty(scale.known, places[:, y, x])
        mask = energy.of_features(mask, [n // scale.multiple for n in mask.shape[-2:]])
        y, x = self._within
        return mask if mask.shape[-2:] == self.known.shape[-2:] else mask[..., y, x]

    def errors(self, moved: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Return the features' difference to each neighbour, in units of their variance, and M; [b, n, y', x'] both."""
        return energy.difference(self.features, moved) / self.unit, mask * self.known

    def pull(self, moved: Tensor, mask: Tensor, kept: Tensor | None) -> Tensor:
        """Return (5), [b, c, y', x'], of the core's features.

        Args:
            moved: [b, c, y', x'] f(T_v(I_0)).
            mask: [b, 1, y', x'] M.
            kept: [b, n, y', x'] K; None where nothing is dropped.
        """
        everything, towards = (self.all, self.towards) if kept is None else self._sums(self.share * kept)
        return (moved * everything - towards) * mask  # (5)

    def _sums(self, share: Tensor) -> tuple[Tensor, Tensor]:
        """Return the neighbours' say together, [b, 1, y', x'], and what they say, [b, c, y', x']."""
        return share.sum(dim=1, keepdim=True), (share[:, :, None] * self.features).sum(dim=1)


class Springs:
    """The slope (6) over :func:`flat` maps.

    Args:
        scale: whose maps.
        params: alpha, beta and gamma.
    """

    def __init__(self, scale: Scale, params: SsemnetParams) -> None:
        (y, x), b, device = scale.grid.nodes, len(scale.moving), scale.moving.device
        length = 2 * params.alpha / (y * x) * np.eye(y)
        along = [2 * energy.bending(n, px, o) for n, px, o in zip((y, x), scale.step, (x, y), strict=True)]
        weights = (params.beta, params.gamma)
        self.rows, self.columns = (
            torch.from_numpy(np.stack(each)).to(device, torch.float32).repeat(b, 1, 1)
            for each in ([w * along[0] + length for w in weights], [w * along[1] for w in weights])
        )

    def __call__(self, slope: Tensor, maps: Tensor) -> Tensor:
        """Return another slope and this one, [2 b, y', x']."""
        return torch.baddbmm(torch.baddbmm(slope, self.rows, maps), maps, self.columns)  # (6)


class Adam:
    """Adam of Kingma & Ba 2015 on one tensor, all steps on its device.

    Args:
        moved: in place.
        least: slopes much below this hardly move it.
    """

    def __init__(self, moved: Tensor, least: float) -> None:
        self.moved, self.least, self.taken = moved, least, 0
        self.mean, self.square = torch.zeros_like(moved), torch.zeros_like(moved)

    def step(self, slope: Tensor, rate: float) -> None:
        """Take a step downhill of about ``rate``."""
        self.taken += 1
        first, second = (1 - beta**self.taken for beta in BETAS)
        self.mean.lerp_(slope, 1 - BETAS[0])
        self.square.mul_(BETAS[1]).addcmul_(slope, slope, value=1 - BETAS[1])
        root = second**0.5
        size = self.square.sqrt().add_(self.least * root)
        self.moved.addcdiv_(self.mean, size, value=-rate * root / first)


def features_of(network: Autoencoder, sections: Tensor, tile: int) -> Tensor:
    """Return f of whole sections [b, 1, y, x], tile by tile: [b, c, y', x']."""
    multiple, halo = network.config.multiple, halo_of(network)
    rim, size = halo // multiple, (sections.shape[-2], sections.shape[-1])
    out = sections.new_empty((len(sections), network.config.widths[-1], *(n // multiple for n in size)))
    wide = F.pad(sections, (halo,) * 4, mode="replicate")
    with torch.no_grad():
        for y, x in tiles(size, tile, multiple):
            part = wide[..., y.start : y.stop + 2 * halo, x.start : x.stop + 2 * halo]
            out[..., coarse(y, multiple), coarse(x, multiple)] = F.pad(network.encoder(part), (-rim,) * 4)
    return out


def halo_of(network: Autoencoder) -> int:
    """Return how many px around a tile its features depend on, rounded up to whole features."""
    multiple = network.config.multiple
    return math.ceil((network.config.receptive_field - multiple) / 2 / multiple) * multiple


def coarse(window: slice, multiple: int, start: int = 0) -> slice:
    """Return the features of a window of pixels, counted from the feature at pixel ``start``."""
    return slice((window.start - start) // multiple, (window.stop - start) // multiple)


def tiles(shape: Sequence[int], edge: int, multiple: int) -> list[Window]:
    """Return windows that cover a section once, ``edge`` px wide (rounded down to a multiple) where they can be."""
    step = max(edge // multiple, 1) * multiple
    rows, columns = ([slice(a, min(a + step, n)) for a in range(0, n, step)] for n in shape)
    return [(y, x) for y in rows for x in columns]
