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
from typing import Any, Literal, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from napari_emsynth.methods.align import ssemnet_energy as energy
from napari_emsynth.methods.align.aligner import Mask, Neighbour, PairField
from napari_emsynth.methods.align.ssemnet_descent import Scale, SsemnetParams, Target, features_of, halo_of
from napari_emsynth.methods.align.ssemnet_grid import Grid, Interpolation, resampled
from napari_emsynth.methods.align.ssemnet_recipe import Recipe
from napari_emsynth.models.ssemnet import Autoencoder, Config
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.device import resolve
from napari_emsynth.volume import Float
from napari_emsynth.weights import store

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

    def __call__(
        self, moving: Float, fixed: Sequence[Neighbour], known: Mask | None, runtime: Runtime
    ) -> PairField:
        """Register a section [y, x] onto its neighbours."""
        device = resolve(runtime.device)
        self.network.to(device)
        shape = (moving.shape[0], moving.shape[1])
        v = torch.zeros(2, *self._nodes(shape, 1), device=device)
        for binning in self._binnings(shape):
            scale = self._scale(moving, fixed, known, binning, runtime.tile or TILE, device)
            v = resampled(v, scale.grid.nodes)
            v = scale.descend(v, self.params, runtime)
        trust, notes = assessed(scale, v, shape)
        return PairField(v.cpu().numpy(), trust.cpu().numpy(), notes)

    def _binnings(self, shape: tuple[int, int]) -> list[int]:
        """Return by how much the section is binned, scale by scale; the last is 1."""
        binnings = [2**k for k in range(self.params.scales)]
        return [b for b in reversed(binnings) if b == 1 or min(shape) / b >= SMALLEST_EDGE]

    def _nodes(self, shape: tuple[int, int], binning: int) -> tuple[int, int]:
        step = self.params.step_px * binning
        return -(-shape[0] // step), -(-shape[1] // step)

    def _scale(
        self,
        moving: Float,
        fixed: Sequence[Neighbour],
        known: Mask | None,
        binning: int,
        tile: int,
        device: torch.device,
    ) -> Scale:
        """Bin what there is, and look at the neighbours' features once for all."""
        multiple = self.network.config.multiple
        section, tissue = binned(moving, known, binning, multiple, device)
        targets = []
        for neighbour in fixed:
            image, there = binned(neighbour.image, neighbour.known, binning, multiple, device)
            features = features_of(self.network, image, tile)
            mask = energy.of_features(there, features.shape[1:])
            targets.append(Target(features, mask, neighbour.weight))
        shape = (moving.shape[0], moving.shape[1])
        halo = halo_of(self.network)
        rows, columns = (
            (np.arange(-halo, n + halo, dtype=np.float64) * binning + (binning - 1) / 2)
            for n in section.shape
        )
        kind = cast("Interpolation", self.params.interpolation)
        grid = Grid.of(kind, self._nodes(shape, binning), shape, (rows, columns), device)
        return Scale(self.network, binning, section, tissue, targets, grid, tile)


def binned(
    section: Float, known: Mask | None, by: int, multiple: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Return a section and what is known of it, [y', x'], binned, and filled up to a multiple of so many px.

    Args:
        section: [y, x] normalised.
        known: [y, x] or None; a binned pixel is known where all of it is.
        by: px that become one, along each axis.
        multiple: of px of the binned section; what fills it up repeats its edge and is not known.
        device: of the answer.
    """
    tissue = np.ones(section.shape, np.float32) if known is None else known.astype(np.float32)
    fill = [(0, -n % (by * multiple)) for n in section.shape]
    pair = np.stack((np.pad(np.where(tissue > 0, section, 0), fill, mode="edge"), np.pad(tissue, fill)))
    image, tissue_there = torch.from_numpy(pair.astype(np.float32)).to(device).unbind(0)
    return F.avg_pool2d(image[None], by)[0], -F.max_pool2d(-tissue_there[None], by)[0]


def confidence(fixed: Tensor, moved: Tensor, known: Tensor) -> Tensor:
    """Return (3) around every feature, [y', x'] 0 to 1; 0 where one of the two shows nothing.

    Args:
        fixed: [c, y', x'] features of a neighbour.
        moved: [c, y', x'] features of the pulled section.
        known: [y', x'] 0 to 1, of both.
    """

    def around(values: Tensor) -> Tensor:
        return F.avg_pool2d(values, WINDOW, 1, WINDOW // 2, count_include_pad=False)

    count = around(known[None]).clamp_min(1e-6)
    left = around((known * (fixed - moved).square()).mean(dim=0, keepdim=True)) / count
    varied = [
        (around(known * f.square()) / count - (around(known * f) / count).square()).mean(dim=0, keepdim=True)
        for f in (fixed, moved)
    ]
    agreed = (1 - left / (varied[0] + varied[1]).clamp_min(1e-12)).clamp(0, 1)  # (3)
    least = STRUCTURE * float(fixed.flatten(1).var(dim=1, correction=0).mean())
    return torch.where(torch.minimum(*varied) > least, agreed, 0.0)[0]


def assessed(scale: Scale, v: Tensor, shape: tuple[int, int]) -> tuple[Tensor, dict[str, float]]:
    """Return the confidence around every node, [y', x'], and what is left of the difference to the nearest section.

    Args:
        scale: the section in full size.
        v: [2, y', x'] px.
        shape: (y, x) px of the section; what fills it up does not count.
    """
    moved, mask = scale.seen(v)
    rows, columns = (-(-n // scale.multiple) for n in shape)
    total = sum(t.weight for t in scale.targets)
    trust = sum(
        t.weight / total * mask * t.known * confidence(t.features, moved, mask * t.known)
        for t in scale.targets
    )
    nearest = scale.targets[0]
    known = mask * nearest.known
    left = (known * energy.difference(nearest.features, moved)).sum() / known.sum().clamp_min(1e-6)
    at_nodes = F.adaptive_avg_pool2d(torch.as_tensor(trust)[None, :rows, :columns], scale.grid.nodes)[0]
    return at_nodes, {"difference": float(left) / scale.unit}


def build(params: Any, runtime: Runtime, weights: str | None) -> Ssemnet:  # noqa: ARG001 - the common signature
    """Load weights and return the method.

    Raises:
        InputError: weights that are missing, damaged or of another architecture.
    """
    network, _ = store.restored(
        SPEC.name, weights or SPEC.weights[0], lambda config: Autoencoder(Config.from_json(config))
    )
    return Ssemnet(network, params)


SPEC = MethodSpec(
    task="align",
    id="ssemnet",
    title="ssEMnet",
    summary="Descends, section by section, to the smooth displacement that makes its features those of several "
    "neighbours. Moves voxels and draws none.",
    paper="Yoo, Hildebrand, Tobin, Lee and Jeong 2017",
    params=SsemnetParams,
    build=build,
    weights=("autoencoder",),
    keeps_acquired=False,
    answers="displacement",
    recipes={"autoencoder": Recipe},
)
