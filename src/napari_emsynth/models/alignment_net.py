"""A pyramid network that says how one section is distorted against another.

Figure::

    moving --+-- encoder (shared) -- features at 1/4, 1/8, 1/16, 1/32 --+
    fixed  --+                                                          |
                                                                        v
    level 1/32:  correlate -> merge -> state, field, log scale
    level 1/16:  warp moving by the field, correlate -> merge -> state, field += step
    level 1/8:   the same
    level 1/4:   the same, ``config.rounds`` times with the same weights

    correlate: products of the fixed features with the moving ones shifted by up to ``reach`` nodes, [(2 reach + 1)^2]
    merge:     convolutions of (correlations, fixed features, coarser state)

Unlike optical flow it does not answer how every structure moves, but how the section was distorted: trained on
neighbouring sections under known smooth distortions, it learns to look past neurites that run on their own way. The
log scale says how far off it expects to be.

Conventions: sections are [b, 1, y, x] normalised, y and x multiples of :attr:`Config.multiple`; fields are
[b, 2, y / 4, x / 4] (dy, dx) px of the full-size section, pull convention: ``moving(p + u(p)) ~ fixed(p)``. Law: of
a section
and itself an untrained network makes no more than a fraction of a node.

Source: the coarse-to-fine correlation of Sun, Yang, Liu and Kautz 2018, "PWC-Net"; what it is taught is ours.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.nn.kept import kept
from napari_emsynth.nn.warp import upsample_flow, warp

SLOPE = 0.1
# Correlations are sharpened by this before their centre is taken, at first; then it is learned.
SHARPNESS = 10.0
# Nodes of a row that are correlated together, and nodes of all rows and sections.
SOME, AT_ONCE = 16, 1 << 14
# Nodes of the finest field are this many px apart.
STRIDE = 4


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network.

    Args:
        stem: feature maps at half resolution.
        widths: feature maps at 1/4, 1/8, ... of the section's size.
        state: feature maps handed from level to level.
        hidden: feature maps inside a merge.
        reach: farthest shift that is correlated, in nodes of a level.
        rounds: how often the finest level refines its answer.
    """

    stem: int = 16
    widths: tuple[int, ...] = (32, 48, 64, 64)
    state: int = 32
    hidden: int = 48
    reach: int = 3
    rounds: int = 2

    def __post_init__(self) -> None:
        sizes = (self.stem, *self.widths, self.state, self.hidden, self.reach, self.rounds)
        if not self.widths or min(sizes) < 1:
            raise InputError(f"sizes of the alignment network must be at least 1, got {self}")

    @property
    def multiple(self) -> int:
        """Section sizes must be multiples of this, px."""
        return int(STRIDE * 2 ** (len(self.widths) - 1))

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Build from a JSON object.

        Raises:
            InputError: unknown or impossible sizes.
        """
        known = {f.name for f in fields(cls)}
        if set(values) - known:
            raise InputError(f"unknown sizes {sorted(set(values) - known)}; known: {sorted(known)}")
        typed: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        return cls(**typed)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back to an equal value."""
        return asdict(self)


class Answer(NamedTuple):
    """What the network says.

    Args:
        displacement: [b, 2, y / 4, x / 4] (dy, dx) px.
        log_scale: [b, 1, y / 4, x / 4] log of the expected length of its error, px.
        levels: the displacements on the way, coarse to fine, each [b, 2, y / s, x / s] in full-size px; the last one
            is ``displacement``.
    """

    displacement: Tensor
    log_scale: Tensor
    levels: list[Tensor]


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    """A 3 x 3 convolution that keeps the size, border repeated."""
    return nn.Conv2d(c_in, c_out, 3, stride=stride, padding=1, padding_mode="replicate")


class Contrast(nn.Module):
    """Takes away what all places have in common, so that what tells them apart is not drowned by it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))
        self.offset = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """[b, c, y, x] -> the same, of unit length at every node."""
        return F.normalize(x * self.gain.view(1, -1, 1, 1) + self.offset.view(1, -1, 1, 1), dim=1)


class Encoder(nn.Module):
    """Features of one section, from 1/4 of its size on."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.stem = conv(1, config.stem, stride=2)
        self.levels = nn.ModuleList(
            nn.Sequential(conv(a, b, stride=2), nn.LeakyReLU(SLOPE), conv(b, b), nn.LeakyReLU(SLOPE))
            for a, b in pairwise((config.stem, *config.widths))
        )
        self.contrasts = nn.ModuleList(Contrast(width) for width in config.widths)

    def forward(self, section: Tensor) -> list[Tensor]:
        """[b, 1, y, x] -> [b, w_k, y / 2^(k + 2), x / 2^(k + 2)] of unit length at every node, finest first."""
        x = F.leaky_relu(self.stem(section), SLOPE)  # [b, stem, y/2, x/2]
        found = []
        for level, contrast in zip(self.levels, self.contrasts, strict=True):
            x = level(x)
            found.append(contrast(x))
        return found

    @torch.no_grad()
    def calibrate(self, sections: Tensor) -> None:
        """Set the contrasts so that the features of these sections [b, 1, y, x] are standardised; before training."""
        x = F.leaky_relu(self.stem(sections), SLOPE)
        for level, contrast in zip(self.levels, self.contrasts, strict=True):
            x = level(x)
            deviation, mean = torch.std_mean(x, dim=(0, 2, 3))
            assert isinstance(contrast, Contrast)
            contrast.gain.copy_(1 / deviation.clamp_min(1e-3))
            contrast.offset.copy_(-mean * contrast.gain)


def correlate(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """Products of features with shifted ones, all of unit length.

    Args:
        fixed: [b, c, y, x].
        moving: [b, c, y, x].
        reach: farthest shift in nodes.

    Returns:
        [b, (2 reach + 1)^2, y, x], -1 to 1, shifts in row order; what lies outside counts as 0.
    """
    b, _, h, w = fixed.shape
    wide = F.pad(moving, (0, 0, reach, reach))
    rows = max(1, AT_ONCE // (b * w))
    return torch.cat(
        [
            _correlated(fixed[:, :, y : y + rows], wide[:, :, y : y + rows + 2 * reach], reach)
            for y in range(0, h, rows)
        ],
        dim=2,
    )


def _correlated(fixed: Tensor, moving: Tensor, reach: int) -> Tensor:
    """Return the correlations of some rows, [b, (2 reach + 1)^2, y, x]; ``moving`` has ``reach`` rows more either side.

    A few nodes of a row are multiplied with all that lie within reach of any of them, and of the products those of
    allowed shifts are taken: more is multiplied than is asked for, but in a few operations.
    """
    b, c, h, w = fixed.shape
    k, some = 2 * reach + 1, min(SOME, w)
    more, span = -w % some, some + 2 * reach
    left = F.pad(fixed, (0, more)).unfold(3, some, some).permute(0, 2, 3, 4, 1)
    right = F.pad(moving, (reach, reach + more)).unfold(3, span, some).unfold(2, k, 1).permute(0, 2, 3, 1, 5, 4)
    products: Tensor = left.reshape(-1, some, c) @ right.reshape(-1, c, k * span)  # [b h blocks, some, k span]
    # Node i may meet columns i to i + 2 reach of each of the k rows.
    band = products.flatten(1).unfold(1, span * (k - 1) + k, k * span + 1).unfold(2, k, span)
    return band.reshape(b, h, -1, k * k)[:, :, :w].permute(0, 3, 1, 2)


def centre(correlations: Tensor, sharpness: Tensor, reach: int) -> Tensor:
    """Return where the correlations peak: the softmax-weighted mean shift [b, 2, y, x] (dy, dx) in nodes."""
    weights = F.softmax(correlations * sharpness, dim=1)
    b, _, h, w = weights.shape
    return (_shifts(reach, weights.dtype, weights.device) @ weights.flatten(2)).view(b, 2, h, w)


@kept
def _shifts(reach: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """Return the shifts (dy, dx) in the order of correlations, [2, (2 reach + 1)^2] nodes."""
    steps = torch.arange(-reach, reach + 1, dtype=dtype)
    dy, dx = torch.meshgrid(steps, steps, indexing="ij")
    return torch.stack((dy.flatten(), dx.flatten())).to(device)


class Merge(nn.Module):
    """One level: what the correlations, the fixed features and the coarser state say together."""

    def __init__(self, config: Config, width: int) -> None:
        super().__init__()
        self.reach = config.reach
        self.sharpness = nn.Parameter(torch.tensor(SHARPNESS))
        c_in = (2 * config.reach + 1) ** 2 + width + config.state + 2
        self.body = nn.Sequential(
            conv(c_in, config.hidden), nn.LeakyReLU(SLOPE),
            conv(config.hidden, config.hidden), nn.LeakyReLU(SLOPE),
            conv(config.hidden, config.state), nn.LeakyReLU(SLOPE),
        )  # fmt: skip
        self.head = conv(config.state, 3)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(self, correlations: Tensor, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the state [b, s, y, x] and (dy, dx in nodes, log scale) [b, 3, y, x]."""
        hint = centre(correlations, self.sharpness, self.reach)
        state = self.body(torch.cat((correlations, hint, features, state), dim=1))
        step = self.head(state)
        return state, torch.cat((step[:, :2] + hint, step[:, 2:]), dim=1)


class AlignmentNet(nn.Module):
    """Predict the distortion of one section against another (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.merges = nn.ModuleList(Merge(config, width) for width in config.widths)

    def forward(self, moving: Tensor, fixed: Tensor) -> Answer:
        """Register ``moving`` onto ``fixed``, both [b, 1, y, x] normalised."""
        b = moving.shape[0]
        features = self.encoder(torch.cat((moving, fixed)))
        return self.match([f[:b] for f in features], [f[b:] for f in features])

    def match(self, moving: list[Tensor], fixed: list[Tensor]) -> Answer:
        """Register by features of :class:`Encoder`: a section's features serve all its pairs."""
        coarsest = fixed[-1]
        b, _, h, w = coarsest.shape
        state = coarsest.new_zeros(b, self.config.state, h, w)
        field = coarsest.new_zeros(b, 2, h, w)  # in nodes of the level
        log_scale = coarsest.new_zeros(b, 1, h, w)
        levels = []
        for level in range(len(fixed) - 1, -1, -1):
            size = (fixed[level].shape[-2], fixed[level].shape[-1])
            if level < len(fixed) - 1:
                field = upsample_flow(field, size)
                state = F.interpolate(state, size=size, mode="bilinear", align_corners=False)
            for _ in range(self.config.rounds if level == 0 else 1):
                seen = correlate(fixed[level], warp(moving[level], field), self.config.reach)
                state, step = self.merges[level](seen, fixed[level], state)
                field = field + step[:, :2]
                log_scale = step[:, 2:]
                levels.append(field * (STRIDE * 2**level))
        return Answer(levels[-1], log_scale, levels)
