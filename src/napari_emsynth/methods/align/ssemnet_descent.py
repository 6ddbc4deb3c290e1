"""ssEMnet's descent: the energy of one section at one scale, and the steps that lower it.

The map ``v`` [2, y', x'] is in px of the full-size section at every scale; a section binned by b is pulled by
``u / b``. Large sections are gone through tile by tile; with a halo as wide as the encoder sees, features, energy and
gradient are those of the whole. The halo goes on beyond the section's faces, where the edge is repeated: the encoder's
own zeros would look like a frame that stays where it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.methods.align import ssemnet_energy as energy
from napari_emsynth.methods.align.params import FieldParams
from napari_emsynth.methods.align.ssemnet_grid import INTERPOLATIONS, Grid
from napari_emsynth.models.ssemnet import Autoencoder
from napari_emsynth.params import param
from napari_emsynth.spec import Runtime

Window = tuple[slice, slice]
# Adam makes steps of slopes however small; a node whose share of E changes by less than this a px nearly rests.
LEAST_SLOPE = 1e-2


@dataclass(frozen=True, kw_only=True)
class SsemnetParams(FieldParams):
    """Parameters of the energy and of its descent."""

    step_px: int = param(
        32, "Distance of the vector map's nodes.", unit="px", low=8, high=128, step=4, advanced=True
    )
    interpolation: str = param(
        "bilinear", "How the map is interpolated between its nodes.", choices=INTERPOLATIONS
    )
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
class Target:
    """What a section is compared with: a neighbour's features [c, y', x'], its known part [y', x'], its weight."""

    features: Tensor
    known: Tensor
    weight: float


class Scale:
    """E at one scale: of a section and its neighbours, binned.

    Args:
        network: whose encoder is f, frozen.
        binning: how many px of the full-size section a pixel is, along each axis.
        moving: [y, x] the section, multiples of the network's px.
        known: [y, x] 1 where it is tissue.
        targets: its neighbours, the nearest first.
        grid: from nodes to the section's pixels, :func:`halo_of` px beyond its faces too.
        tile: edge of a tile's core in px.
    """

    def __init__(
        self,
        network: Autoencoder,
        binning: int,
        moving: Tensor,
        known: Tensor,
        targets: Sequence[Target],
        grid: Grid,
        tile: int,
    ) -> None:
        self.encoder, self.multiple, self.binning = network.encoder, network.config.multiple, binning
        self.moving, self.known, self.targets, self.grid = moving, known, targets, grid
        self.halo = halo_of(network)
        self.tiles = tiles(moving.shape, tile, self.multiple)
        varied = targets[0].features.flatten(1).var(dim=1, correction=0).mean()
        self.unit = float(varied) or 1.0
        self.total = sum(t.weight for t in targets) * targets[0].known.numel()

    @property
    def step(self) -> tuple[float, float]:
        """Px of the full-size section between nodes along y and x."""
        y, x = (s / n for s, n in zip(self.grid.shape, self.grid.nodes, strict=True))
        return y, x

    def moved(self, v: Tensor, tile: Window) -> tuple[Tensor, Tensor]:
        """Return f(T_v(I_0)) [c, y', x'] and M [y', x'] of one tile's core."""
        y, x = (slice(s.start - self.halo, s.stop + self.halo) for s in tile)
        u = self.grid(v, *(slice(s.start + self.halo, s.stop + self.halo) for s in (y, x)))
        at = energy.pixels(y, x, v) + u / self.binning
        rim = self.halo // self.multiple
        features = self.encoder(energy.pulled(self.moving, at)[None, None])[0]
        return features[:, rim:-rim, rim:-rim], self.mask(at, tile)

    def mask(self, at: Tensor, tile: Window) -> Tensor:
        """Return M [y', x'] of one tile's core, from positions [2, h, w] px of it and its halo."""
        inside = [
            slice(max(0, self.halo - s.start), self.halo - s.start + min(n, s.stop + self.halo))
            for s, n in zip(tile, self.moving.shape, strict=True)
        ]
        mask = energy.not_empty(self.known, at[:, inside[0], inside[1]])
        mask = energy.of_features(mask, [n // self.multiple for n in mask.shape])
        y, x = (coarse(s, self.multiple, max(0, s.start - self.halo)) for s in tile)
        return mask[y, x]

    def errors(self, v: Tensor, tile: Window) -> tuple[list[Tensor], list[Tensor]]:
        """Return the features' difference to each neighbour, in units of their variance, and M, in one tile."""
        moved, mask = self.moved(v, tile)
        y, x = (coarse(s, self.multiple) for s in tile)
        differences = [energy.difference(t.features[:, y, x], moved) / self.unit for t in self.targets]
        return differences, [mask * t.known[y, x] for t in self.targets]

    def highest(self, v: Tensor, share: float) -> list[float]:
        """Return the largest error kept of each neighbour when a share of all is dropped."""
        if share * self.targets[0].known.numel() < 1:
            return [math.inf] * len(self.targets)
        with torch.no_grad():
            found = [self.errors(v, tile) for tile in self.tiles]
        return [
            energy.highest_kept(
                torch.cat([errors[i].flatten() for errors, _ in found]),
                torch.cat([masks[i].flatten() for _, masks in found]),
                share,
            )
            for i in range(len(self.targets))
        ]

    def descend(self, v: Tensor, params: SsemnetParams, runtime: Runtime) -> Tensor:
        """Return the map after (2), [2, y', x'].

        Raises:
            Cancelled: between iterations.
        """
        v = v.clone().requires_grad_()
        adam = torch.optim.Adam([v], eps=LEAST_SLOPE / v[0].numel())
        for k in range(params.iterations):
            runtime.cancel.check()
            falling = 0.5 * (1 + math.cos(math.pi * k / params.iterations))
            adam.param_groups[0]["lr"] = params.rate * self.binning * falling
            adam.zero_grad()
            highest = self.highest(v, energy.dropped_share(k, params.drop))
            for tile in self.tiles:
                self.data_term(v, tile, highest).backward()  # type: ignore[no-untyped-call]
            energy.regulariser(v, self.step, params.alpha, params.beta, params.gamma).backward()  # type: ignore[no-untyped-call]
            adam.step()  # (2)
        return v.detach()

    def data_term(self, v: Tensor, tile: Window, highest: Sequence[float]) -> Tensor:
        """Return one tile's share of the features' term of E."""
        errors, masks = self.errors(v, tile)
        masks = [m * energy.kept(e, h) for e, m, h in zip(errors, masks, highest, strict=True)]
        return energy.data_sum(errors, masks, [t.weight for t in self.targets]) / self.total

    def seen(self, v: Tensor) -> tuple[Tensor, Tensor]:
        """Return f(T_v(I_0)) [c, y', x'] and M [y', x'] of the whole section."""
        features, mask = torch.empty_like(self.targets[0].features), torch.empty_like(self.targets[0].known)
        for tile in self.tiles:
            y, x = (coarse(s, self.multiple) for s in tile)
            with torch.no_grad():
                features[:, y, x], mask[y, x] = self.moved(v, tile)
        return features, mask


def features_of(network: Autoencoder, section: Tensor, tile: int) -> Tensor:
    """Return f of a whole section [y, x], tile by tile: [c, y', x']."""
    multiple, halo = network.config.multiple, halo_of(network)
    rim = halo // multiple
    out = section.new_empty((network.config.widths[-1], *(n // multiple for n in section.shape)))
    wide = F.pad(section[None, None], (halo,) * 4, mode="replicate")
    for y, x in tiles(section.shape, tile, multiple):
        part = wide[..., y.start : y.stop + 2 * halo, x.start : x.stop + 2 * halo]
        with torch.no_grad():
            features = network.encoder(part)[0, :, rim:-rim, rim:-rim]
        out[:, coarse(y, multiple), coarse(x, multiple)] = features
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
