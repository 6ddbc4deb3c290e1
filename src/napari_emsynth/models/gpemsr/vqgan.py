"""Stage I of GPEMSR (Shou et al. 2024): a section redrawn from a codebook of what fine sections look like.

::

    section --conv--> [residual block, down] x 4 --attention--> residual block x 3 --1x1--> z           encoder, 1/16
    z --nearest code--> z_q                                                                           codebook
    section <--conv-- [residual block, up] x 4 <--attention--- residual block x 3 <--1x1-- z_q          decoder
                      1/1   1/2   1/4   1/8                        1/16                               its features

    e(p) = argmin_k |z(p) - c_k|^2,   z_q(p) = c_e(p)                                          (1)
    L_code = |sg z - z_q|^2 + beta |z - sg z_q|^2,   d z_q / d z = 1                           (2)

``sg`` stops gradients. A residual block is twice (convolution, group normalisation, rectifier), added to its input;
``down`` a 4x4 convolution of stride 2, ``up`` the transposed one. From the paper: the parts, 16x16 px a code, attention
on both sides. From the authors' released configuration: 1024 codes of 512 numbers, 64-64-128-256-512 maps, three
residual blocks, ``beta`` 1, and the discriminator's 64-128-256-512 maps with instance normalisation. Ours: the edges of
kernels, groups of 32 maps, codes that nobody uses set anew, and what :meth:`Config.slim` does otherwise: it leaves out
normalisation, and attention beyond a few codes, so that tiles know as much as the whole; and its latent vectors and
codes have unit length (Yu et al. 2022, "Vector-quantized image modeling with improved VQGAN"), for without
normalisation they would shrink until nothing tells them apart.

Sections come in normalised units. Law: codes and features lie on grids whose edges are the section's.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError

# Edge of the kernels that change the size.
KERNEL = 4
# Share of the running usage of codes that one batch replaces.
MEMORY = 0.01
# Maps of a group that are normalised together at least.
LEAST_IN_GROUP = 2


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the autoencoder and its codebook.

    Args:
        widths: feature maps at 1/1, 1/2, 1/4, 1/8 and 1/16; a code stands for 16 x 16 px.
        blocks: residual blocks at the coarsest level, on either side.
        codes: in the codebook.
        dimension: numbers of a code.
        groups: of maps that are normalised together; 0 = no normalisation.
        reach: codes on each side that attention looks at; 0 = all of them.
        unit: latent vectors and codes have unit length.
        critic: feature maps of the patch discriminator.

    Raises:
        InputError: impossible sizes.
    """

    widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    blocks: int = 3
    codes: int = 1024
    dimension: int = 512
    groups: int = 32
    reach: int = 0
    unit: bool = False
    critic: tuple[int, ...] = (64, 128, 256, 512)

    def __post_init__(self) -> None:
        sizes = (*self.widths, self.blocks, self.codes, self.dimension, *self.critic)
        if len(self.widths) < 2 or not self.critic or min(sizes) < 1:
            raise InputError(f"sizes of the autoencoder must be at least 1, got {self}")

    @classmethod
    def paper(cls) -> Config:
        """The sizes of the authors' released configuration."""
        return cls()

    @classmethod
    def slim(cls) -> Config:
        """The sizes of the bundled weights."""
        return cls(
            widths=(8, 16, 48, 96, 128),
            blocks=2,
            codes=512,
            dimension=64,
            groups=0,
            reach=3,
            unit=True,
            critic=(32, 64, 128),
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def patch(self) -> int:
        """Edge of what one code stands for, px; sizes of sections must be multiples of it."""
        return int(2 ** (len(self.widths) - 1))


def normalisation(width: int, groups: int) -> nn.Module:
    """Group normalisation in at most ``groups`` groups, or nothing for 0."""
    if groups == 0:
        return nn.Identity()
    most = max(1, min(groups, width // LEAST_IN_GROUP))
    return nn.GroupNorm(next(g for g in range(most, 0, -1) if width % g == 0), width)


class ResidualBlock(nn.Module):
    """Twice (convolution, normalisation, rectifier), added to the input."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(2):
            layer = nn.Conv2d(width, width, 3, padding=1)
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
            parts += [layer, normalisation(width, groups), nn.ReLU()]
        self.parts = nn.Sequential(*parts)
        with torch.no_grad():
            parts[3].weight.mul_(0.2)  # type: ignore[operator]  # start near the identity

    def forward(self, x: Tensor) -> Tensor:
        """[b, w, y, x] -> [b, w, y, x]."""
        return torch.as_tensor(x + self.parts(x))


class Attention(nn.Module):
    """Self-attention with one head, added to its input; starts at the identity.

    ``reach`` codes on each side are looked at, those there are; 0 looks at all.
    """

    def __init__(self, width: int, groups: int, reach: int) -> None:
        super().__init__()
        self.reach = reach
        self.norm = normalisation(width, groups)
        self.query, self.key, self.value, self.out = (nn.Conv2d(width, width, 1) for _ in range(4))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)  # type: ignore[arg-type]

    def weights(self, x: Tensor) -> Tensor:
        """[b, w, y, x] -> [b, y x, places]: how much each place looks at each other; rows sum to 1."""
        x = self.norm(x)
        query = self.query(x).flatten(2) / x.shape[1] ** 0.5  # [b, w, yx]
        if self.reach == 0:
            return torch.einsum("bcq,bck->bqk", query, self.key(x).flatten(2)).softmax(dim=-1)
        logits = torch.einsum("bcq,bckq->bqk", query, self._around(self.key(x)))
        there = self._around(torch.ones_like(x[:1, :1]))[:, 0].transpose(1, 2) > 0  # [1, yx, k]
        return logits.masked_fill(~there, -torch.inf).softmax(dim=-1)

    def forward(self, x: Tensor) -> Tensor:
        """[b, w, y, x] -> [b, w, y, x]."""
        weights, value = self.weights(x), self.value(self.norm(x))
        if self.reach == 0:
            seen = torch.einsum("bqk,bck->bcq", weights, value.flatten(2))
        else:
            seen = torch.einsum("bqk,bckq->bcq", weights, self._around(value))
        return torch.as_tensor(x + self.out(seen.reshape(x.shape)))

    def _around(self, x: Tensor) -> Tensor:
        """[b, c, y, x] -> [b, c, k, yx]: what lies within reach of each place, 0 beyond the border."""
        edge = 2 * self.reach + 1
        b, c = x.shape[:2]
        return F.unfold(x, edge, padding=self.reach).reshape(b, c, edge * edge, -1)


class Encoder(nn.Module):
    """Section to latent vectors."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.unit = config.unit
        w, g = config.widths, config.groups
        self.stem = nn.Conv2d(1, w[0], 3, padding=1)
        self.blocks = nn.ModuleList(ResidualBlock(width, g) for width in w[:-1])
        self.down = nn.ModuleList(nn.Conv2d(a, b, KERNEL, stride=2, padding=1) for a, b in pairwise(w))
        self.attention = Attention(w[-1], g, config.reach)
        self.deep = nn.ModuleList(ResidualBlock(w[-1], g) for _ in range(config.blocks))
        self.out = nn.Conv2d(w[-1], config.dimension, 1)

    def features(self, section: Tensor, levels: int | None = None) -> list[Tensor]:
        """[b, 1, y, x] -> ``levels`` features at 1/2, 1/4, ... : [b, widths[i + 1], y / 2^(i+1), x / 2^(i+1)]."""
        x, found = self.stem(section), []
        for block, down in zip(self.blocks[:levels], self.down[:levels], strict=True):
            x = down(block(x))
            found.append(x)
        return found

    def forward(self, section: Tensor) -> Tensor:
        """[b, 1, y, x] -> z [b, dimension, y / 16, x / 16]."""
        x = self.attention(self.features(section)[-1])
        for block in self.deep:
            x = block(x)
        z = self.out(x)
        return F.normalize(z, dim=1) if self.unit else torch.as_tensor(z)


class Decoder(nn.Module):
    """Codes to section, the encoder's mirror image."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        # Numbers of unit deviation, whatever the length of the codes.
        self.gain = config.dimension**0.5 if config.unit else 1.0
        w, g = config.widths, config.groups
        self.stem = nn.Conv2d(config.dimension, w[-1], 1)
        self.deep = nn.ModuleList(ResidualBlock(w[-1], g) for _ in range(config.blocks))
        self.attention = Attention(w[-1], g, config.reach)
        coarse_first = tuple(reversed(w))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(a, b, KERNEL, stride=2, padding=1) for a, b in pairwise(coarse_first)
        )
        self.blocks = nn.ModuleList(ResidualBlock(width, g) for width in coarse_first[1:])
        self.out = nn.Conv2d(w[0], 1, 3, padding=1)

    def features(self, codes: Tensor) -> list[Tensor]:
        """[b, dimension, y, x] -> features coarse to fine, [b, widths[-1 - i], 2^i y, 2^i x]; the last at full size."""
        x = self.stem(self.gain * codes)
        for block in self.deep:
            x = block(x)
        x = self.attention(x)
        found = [x]
        for up, block in zip(self.up, self.blocks, strict=True):
            x = block(up(x))
            found.append(x)
        return found

    def drawn(self, finest: Tensor) -> Tensor:
        """Features at full size [b, widths[0], y, x] -> section [b, 1, y, x]."""
        return torch.as_tensor(self.out(F.relu(finest)))

    def forward(self, codes: Tensor) -> Tensor:
        """[b, dimension, y, x] -> [b, 1, 16 y, 16 x]."""
        return self.drawn(self.features(codes)[-1])


class Quantised(NamedTuple):
    """What the codebook makes of latent vectors.

    Args:
        codes: [b, dimension, y, x] z_q of (1); its gradient goes to z as it is.
        indices: [b, y, x] which code, int64.
        loss: (2), a scalar; mean over places and numbers.
    """

    codes: Tensor
    indices: Tensor
    loss: Tensor


class Codebook(nn.Module):
    """The codes, which of them is nearest, and how often each is used."""

    usage: Tensor

    def __init__(self, codes: int, dimension: int, beta: float = 1.0, *, unit: bool = False) -> None:
        super().__init__()
        self.beta, self.unit = beta, unit
        self.codes = nn.Parameter(torch.randn(codes, dimension))
        self.register_buffer("usage", torch.full((codes,), 1.0 / codes))  # running share of places, sums to 1

    @property
    def vectors(self) -> Tensor:
        """The codes as they are used: [codes, dimension]."""
        return F.normalize(self.codes, dim=1) if self.unit else self.codes

    def nearest(self, z: Tensor) -> Tensor:
        """Return (1): z [b, d, y, x] -> index of the nearest code [b, y, x] int64."""
        b, d, h, w = z.shape
        places = z.permute(0, 2, 3, 1).reshape(-1, d).float()
        codes = self.vectors.float()
        # |z|^2 is the same for every code.
        distance = codes.square().sum(dim=1) - 2 * places @ codes.T
        return distance.argmin(dim=1).reshape(b, h, w)

    def lookup(self, indices: Tensor) -> Tensor:
        """Indices [b, y, x] -> codes [b, d, y, x]."""
        return F.embedding(indices, self.vectors).permute(0, 3, 1, 2)

    def forward(self, z: Tensor) -> Quantised:
        """[b, d, y, x] -> its codes, straight through, with (2); while training, usage is kept."""
        indices = self.nearest(z)
        codes = self.lookup(indices)
        loss = F.mse_loss(codes, z.detach()) + self.beta * F.mse_loss(z, codes.detach())  # (2)
        if self.training:
            self.usage.lerp_(self.shares(indices), MEMORY)
        return Quantised(z + (codes - z).detach(), indices, loss)

    def shares(self, indices: Tensor) -> Tensor:
        """Return which share of places uses each code: [codes], sums to 1."""
        counts = torch.bincount(indices.flatten(), minlength=len(self.codes))
        return counts.to(self.usage.dtype) / max(1, indices.numel())

    def perplexity(self, shares: Tensor | None = None) -> float:
        """Return how many codes are in use, exp of the entropy of their shares (the running ones when None)."""
        p = self.usage if shares is None else shares
        return float(torch.exp(-(p * torch.log(p.clamp_min(1e-12))).sum()))

    @torch.no_grad()
    def revive(self, z: Tensor, least: float, generator: torch.Generator | None = None) -> int:
        """Set codes that hardly anyone uses to latent vectors of this batch, and return how many.

        Args:
            z: [b, d, y, x] latent vectors, of which some are drawn.
            least: running share, times the number of codes, below which a code counts as dead.
            generator: of the draw, on the CPU.
        """
        dead = torch.nonzero(self.usage * len(self.codes) < least)[:, 0]
        places = z.permute(0, 2, 3, 1).reshape(-1, z.shape[1]).to(self.codes.dtype)
        drawn = torch.randint(len(places), (len(dead),), generator=generator).to(z.device)
        self.codes[dead] = places[drawn]
        # They get the time that a code of average use has, to prove themselves.
        self.usage[dead] = 1.0 / len(self.codes)
        self.usage /= self.usage.sum()
        return len(dead)


class Redrawn(NamedTuple):
    """A section from its codes.

    Args:
        section: [b, 1, y, x] normalised.
        indices: [b, y / 16, x / 16].
        loss: (2).
        z: [b, dimension, y / 16, x / 16] before quantisation.
    """

    section: Tensor
    indices: Tensor
    loss: Tensor
    z: Tensor


class VQGAN(nn.Module):
    """Encoder, codebook and decoder (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.codebook = Codebook(config.codes, config.dimension, unit=config.unit)
        self.decoder = Decoder(config)

    def forward(self, section: Tensor) -> Redrawn:
        """Redraw sections [b, 1, y, x], normalised, y and x multiples of ``config.patch``."""
        z = self.encoder(section)
        codes, indices, loss = self.codebook(z)
        return Redrawn(self.decoder(codes), indices, loss, z)


class PatchCritic(nn.Module):
    """Says of every patch whether it was acquired: convolutions of stride 2, instance norm but in the first.

    Source: the patch discriminator of Isola, Zhu, Zhou and Efros 2017, with the widths of the released configuration.
    """

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for i, (a, b) in enumerate(pairwise((1, *widths))):
            stride = 2 if i < len(widths) - 1 or len(widths) == 1 else 1
            parts.append(nn.Conv2d(a, b, KERNEL, stride=stride, padding=1))
            if i:
                parts.append(nn.InstanceNorm2d(b, affine=True))
            parts.append(nn.LeakyReLU(0.2))
        self.parts = nn.Sequential(*parts, nn.Conv2d(widths[-1], 1, KERNEL, padding=1))

    def forward(self, section: Tensor) -> Tensor:
        """[b, 1, y, x] normalised -> [b, 1, y', x'] logits, one a patch."""
        return torch.as_tensor(self.parts(section))
