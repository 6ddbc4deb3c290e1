"""GPEMSR (Shou et al. 2024), put together: five low-resolution sections and a learned prior make one fine section.

::

    sections --features (residual blocks)------------------> MPF ----> POD ----> 3DA ----> reconstruction --> residual
       |  |                                                   ^         ^                        middle --bicubic--> (+)
       |  +--pyramid flow onto the middle section--------------)---------+      ^
       |  +--3x3 convolution, where it is direct---------------)----------------+
       +--indexer--> codes --decoder--> reference, features ---+
                                            |
       bicubic ------ features -- cosine ---+--> mask

The parts: :mod:`~napari_emsynth.models.gpemsr.vqgan` (stage I), :mod:`~napari_emsynth.models.gpemsr.indexer` (stage
II), and for stage III :mod:`~napari_emsynth.models.gpemsr.prior_fusion` (MPF),
:mod:`~napari_emsynth.models.pyramid_flow` and :mod:`~napari_emsynth.models.gpemsr.deformable_alignment` (POD),
:mod:`~napari_emsynth.models.gpemsr.attention_fusion` (3DA), :mod:`~napari_emsynth.models.gpemsr.reconstruction`. Each
of MPF, POD and 3DA can be left out, to see what it is worth.

From the paper: five sections, the three stages and the order of the parts. From the authors' released configuration: 64
maps, five residual blocks without normalisation before, ten after, eight groups. Ours: sizes of what they do not
give, the error estimate, heads that start at zero, and :meth:`Config.slim`, in which only the middle section gets a
reference, the fused section has more feature maps than a single one, and the reconstruction also sees the sections as
they are, as :mod:`~napari_emsynth.models.single_stage` does: at first it sees nothing else, and what is added to them
is of even strength.

Conventions: sections come in the normalised units of the low-resolution volume, and everything is in them. Laws:
training starts at bicubic enlargement; edges are kept: low-resolution pixel ``i`` stands for fine pixels ``f i`` to
``f i + f - 1``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.models.gpemsr import vqgan
from napari_emsynth.models.gpemsr.attention_fusion import AttentionFusion, PlainFusion
from napari_emsynth.models.gpemsr.deformable_alignment import LEVELS, DeformableAlignment
from napari_emsynth.models.gpemsr.indexer import Indexer
from napari_emsynth.models.gpemsr.prior_fusion import Mask, PriorFusion, distance, resized
from napari_emsynth.models.gpemsr.reconstruction import Reconstruction, doublings
from napari_emsynth.models.pyramid_flow import PyramidFlow
from napari_emsynth.nn.lateral import enlarged
from napari_emsynth.nn.rectified import SLOPE, Residual, conv, levelled


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network; the defaults are the paper's. All values are plain, as a card holds them.

    Args:
        factor: by which pixels become smaller, 8 or 16.
        sections: seen at once, odd; the middle one is made finer.
        references: how many of them, around the middle one, get a reference of their own; odd.
        width: feature maps at low resolution.
        blocks: residual blocks of the feature extraction.
        rebuild: residual blocks of the reconstruction.
        deep: their feature maps.
        direct: the reconstruction also sees the sections as they are, and at the start nothing else.
        fine: feature maps after each doubling; the last number serves all further ones.
        groups: of the deformable convolutions.
        code_widths: maps of the autoencoder at 1/1, 1/2, 1/4, 1/8 and 1/16 of the fine section.
        code_blocks: its residual blocks at 1/16, on either side.
        codes: in the codebook.
        dimension: numbers of a code.
        code_groups: of maps normalised together in the autoencoder; 0 = no normalisation.
        reach: codes on each side that attention looks at; 0 = all of them.
        unit: latent vectors and codes have unit length.
        critic: maps of the autoencoder's discriminator.
        index_width: maps of the indexer.
        index_blocks: its residual blocks.
        flow_levels: of the pyramid flow.
        flow_widths: maps of each level.
        flow_kernel: edge of its kernels.
        compare: halvings of the fine section after which the encoder's features are compared for the mask.
        mask_width: maps of the net that makes the mask.
        mpf: fuse the prior.
        pod: align the neighbours.
        attention: weigh sections and places.

    Raises:
        InputError: impossible sizes.
    """

    factor: int = 8
    sections: int = 5
    references: int = 5
    width: int = 64
    blocks: int = 5
    rebuild: int = 10
    deep: int = 64
    direct: bool = False
    fine: tuple[int, ...] = (64,)
    groups: int = 8
    code_widths: tuple[int, ...] = (64, 64, 128, 256, 512)
    code_blocks: int = 3
    codes: int = 1024
    dimension: int = 512
    code_groups: int = 32
    reach: int = 0
    unit: bool = False
    critic: tuple[int, ...] = (64, 128, 256, 512)
    index_width: int = 256
    index_blocks: int = 8
    flow_levels: int = 4
    flow_widths: tuple[int, ...] = (32, 64, 32, 16)
    flow_kernel: int = 7
    compare: int = 2
    mask_width: int = 32
    mpf: bool = True
    pod: bool = True
    attention: bool = True

    def __post_init__(self) -> None:
        patch = self.vqgan.patch
        if self.factor < 2 or self.factor & (self.factor - 1) or self.factor > patch:
            raise InputError(f"the factor of a network must be a power of two from 2 to {patch}, got {self.factor}")
        if min(self.sections, self.references) < 1 or self.sections % 2 == 0 or self.references % 2 == 0:
            raise InputError(
                f"a network sees an odd number of sections and references, got {self.sections} and {self.references}"
            )
        if self.references > self.sections:
            raise InputError(f"{self.references} references are more than the {self.sections} sections seen")
        if self.width % self.groups:
            raise InputError(f"{self.width} maps do not fall into {self.groups} groups of equal size")
        if not 1 <= self.compare < len(self.code_widths):
            raise InputError(
                f"features are compared after 1 to {len(self.code_widths) - 1} halvings, got {self.compare}"
            )

    @classmethod
    def paper(cls, factor: int = 8) -> Config:
        """The sizes of the paper and the authors' released configuration."""
        return cls(factor=factor)

    @classmethod
    def slim(cls, factor: int = 8) -> Config:
        """The sizes of the bundled weights: all parts, in half precision at most 12 MB a factor."""
        sizes = vqgan.Config.slim()
        return cls(
            factor=factor,
            references=1,
            width=32,
            blocks=4,
            rebuild=8,
            deep=64,
            direct=True,
            fine=(48, 32, 16),
            groups=4,
            code_widths=sizes.widths,
            code_blocks=sizes.blocks,
            codes=sizes.codes,
            dimension=sizes.dimension,
            code_groups=sizes.groups,
            reach=sizes.reach,
            unit=sizes.unit,
            critic=sizes.critic,
            index_width=96,
            index_blocks=6,
            flow_levels=3,
            flow_widths=(16, 24, 16),
            flow_kernel=5,
            mask_width=16,
        )

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def vqgan(self) -> vqgan.Config:
        """Of stage I."""
        return vqgan.Config(
            widths=self.code_widths,
            blocks=self.code_blocks,
            codes=self.codes,
            dimension=self.dimension,
            groups=self.code_groups,
            reach=self.reach,
            unit=self.unit,
            critic=self.critic,
        )

    @property
    def halvings(self) -> int:
        """From the low-resolution grid to that of the codes."""
        return (self.vqgan.patch // self.factor).bit_length() - 1

    @property
    def multiple(self) -> int:
        """Sizes of low-resolution sections must be multiples of this, px."""
        return int(2 ** max(self.halvings, LEVELS - 1, self.flow_levels - 1))

    @property
    def halo(self) -> int:
        """Low-resolution px on each side that codes and their trust depend on, a multiple of :attr:`multiple`.

        Which code is the most probable one must not depend on the tile. What lies further away still counts a little,
        by the flow and long chains of convolutions, where attention is bounded; with groups or without a ``reach`` of
        attention the whole section counts.
        """
        # In codes: blocks of two convolutions, attention, one on either side for even kernels, the mask's net.
        codes = 2 * self.index_blocks + 2 * self.code_blocks + self.reach + 2 + 2
        return int(-(-codes * 2**self.halvings // self.multiple) * self.multiple)


class Prior(NamedTuple):
    """What the codebook makes of low-resolution sections.

    Args:
        reference: [b, 1, f y, f x] normalised.
        features: of the decoder from the low-resolution grid to half the fine one, [b, c_i, 2^i y, 2^i x].
        mask: [b, 1, f y / 16, f x / 16] in [0, 1], how far it is trusted.
    """

    reference: Tensor
    features: list[Tensor]
    mask: Tensor


class Answer(NamedTuple):
    """What the network says.

    Args:
        mean: [b, 1, f y, f x] normalised.
        log_scale: [b, 1, f y, f x] log of the Laplace scale of its error, normalised.
        mask: [b, 1, f y, f x] in [0, 1], how far the prior was trusted; 0 without MPF.
    """

    mean: Tensor
    log_scale: Tensor
    mask: Tensor


class GPEMSR(nn.Module):
    """Make the middle one of some sections finer with a learned prior (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        c = config
        self.stem = conv(1, c.width)
        self.blocks = nn.ModuleList(Residual(c.width, 2) for _ in range(c.blocks))
        if c.mpf:
            self.vqgan = vqgan.VQGAN(c.vqgan)
            self.indexer = Indexer(codes=c.codes, halvings=c.halvings, width=c.index_width, blocks=c.index_blocks)
            self.mask = Mask(c.mask_width)
            # The decoder's features, coarse first: from the low-resolution grid to half the fine one.
            self.mpf = PriorFusion(c.width, tuple(reversed(c.code_widths))[c.halvings : -1])
        if c.pod:
            self.flow = PyramidFlow(levels=c.flow_levels, widths=c.flow_widths, kernel=c.flow_kernel)
            self.pod = DeformableAlignment(c.width, c.groups)
        self.fusion = (AttentionFusion if c.attention else PlainFusion)(c.width, c.sections)
        # Features of single sections may be fewer than those of the one they are made into.
        self.widen = nn.Identity() if c.deep == c.width and not c.direct else conv(c.width, c.deep)
        if c.direct:
            self.direct = conv(c.sections, c.deep)
            assert isinstance(self.widen, nn.Conv2d)
            nn.init.zeros_(self.widen.weight)
        self.reconstruction = Reconstruction(c.deep, c.rebuild, doublings(c.factor, c.fine), outputs=2)

    def prior(self, low: Tensor) -> Prior:
        """What the codebook makes of low-resolution sections [b, 1, y, x]; of networks with MPF only."""
        halvings = self.config.halvings
        codes = self.vqgan.codebook.lookup(self.indexer.indices(low))
        found = self.vqgan.decoder.features(codes)
        reference = self.vqgan.decoder.drawn(found[-1])
        return Prior(reference, found[halvings:-1], self._mask(low, reference))

    def _mask(self, low: Tensor, reference: Tensor) -> Tensor:
        """[b, 1, y, x] and [b, 1, f y, f x] -> [b, 1, f y / 16, f x / 16]."""
        compare = self.config.compare
        both = torch.cat((enlarged(low, self.config.factor), reference))
        a, r = self.vqgan.encoder.features(both, compare)[-1].chunk(2)
        return torch.as_tensor(self.mask(distance(a, r, self.config.vqgan.patch // 2**compare)))

    def forward(self, sections: Tensor) -> Answer:
        """Make the middle section finer.

        Args:
            sections: [b, n, y, x] neighbouring sections, low resolution, normalised, multiples of
                ``config.multiple``.
        """
        b, n, h, w = sections.shape
        middle = sections[:, n // 2 : n // 2 + 1]
        base = enlarged(middle, self.config.factor)
        x = self._features(sections.reshape(b * n, 1, h, w)).reshape(b, n, -1, h, w)
        mask = torch.zeros_like(base)
        if self.config.mpf:
            x, trusted = self._with_prior(sections, x)
            x = self._level(x)
            mask = resized(trusted, base)
        if self.config.pod:
            x = self._level(self._aligned(sections, x))
        fused = self.fusion(x.transpose(1, 2))  # [b, c, y, x]
        deep = self.widen(self._level(fused))
        if self.config.direct:
            deep = deep + self.direct(sections)
        residual, log_scale = self.reconstruction(deep).chunk(2, dim=1)
        return Answer(base + residual, log_scale - 1.0, mask)

    def _level(self, x: Tensor) -> Tensor:
        """Features of a direct network have even strength after every part."""
        return levelled(x, maps=-3) if self.config.direct else x

    def _features(self, sections: Tensor) -> Tensor:
        """[b, 1, y, x] -> [b, c, y, x]."""
        x = self.stem(sections)
        for block in self.blocks:
            x = block(x)
        return F.leaky_relu(x, SLOPE)

    def _with_prior(self, sections: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse the prior into the features [b, n, c, y, x]; also the middle section's mask [b, 1, y', x']."""
        b, n, c, h, w = x.shape
        count = self.config.references
        first = (n - count) // 2
        known = slice(first, first + count)
        prior = self.prior(sections[:, known].reshape(b * count, 1, h, w))
        fused = self.mpf(x[:, known].reshape(b * count, c, h, w), prior.features, prior.mask)
        x = torch.cat((x[:, :first], fused.reshape(b, count, c, h, w), x[:, first + count :]), dim=1)
        masks = prior.mask.reshape(b, count, *prior.mask.shape[1:])
        return x, masks[:, count // 2]

    def _aligned(self, sections: Tensor, x: Tensor) -> Tensor:
        """Move the features [b, n, c, y, x] of every section onto the middle one."""
        b, n, c, h, w = x.shape
        middle = n // 2
        fixed = sections[:, middle : middle + 1].expand(-1, n, -1, -1)
        flow = self.flow(sections.reshape(b * n, 1, h, w), fixed.reshape(b * n, 1, h, w))
        pyramid = self.pod.pyramid(x.reshape(b * n, c, h, w))
        still = [self._repeated(level, b, n) for level in pyramid]
        return torch.as_tensor(self.pod(still, pyramid, flow).reshape(b, n, c, h, w))

    @staticmethod
    def _repeated(level: Tensor, b: int, n: int) -> Tensor:
        """The middle section's features in place of every section's: [b n, c, y, x] -> the same."""
        shape = level.shape
        stack = level.reshape(b, n, *shape[1:])
        return stack[:, n // 2 : n // 2 + 1].expand_as(stack).reshape(shape)


def founded(network: GPEMSR, plain: dict[str, Tensor]) -> bool:
    """Let a direct network start where a single-stage network ended; False, and nothing is done, where it does not fit.

    Args:
        network: untrained, or trained but for its reconstruction.
        plain: tensors of a :class:`~napari_emsynth.models.single_stage.SingleStage`.
    """
    if not network.config.direct:
        return False
    stem = {k.removeprefix("stem."): v for k, v in plain.items() if k.startswith("stem.")}
    rest = {k: v for k, v in plain.items() if not k.startswith("stem.")}
    parts = ((network.direct, stem), (network.reconstruction, rest))
    for part, tensors in parts:
        if {k: v.shape for k, v in part.state_dict().items()} != {k: v.shape for k, v in tensors.items()}:
            return False
    for part, tensors in parts:
        part.load_state_dict(tensors)
    return True


def direct_path(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the single-stage network that a direct network is when its other parts are silent: the way back.

    Args:
        tensors: of a direct network.

    Returns:
        those of a :class:`~napari_emsynth.models.single_stage.SingleStage`.
    """
    stem = {"weight": tensors["direct.weight"], "bias": tensors["direct.bias"] + tensors["widen.bias"]}
    rest = {k.removeprefix("reconstruction."): v for k, v in tensors.items() if k.startswith("reconstruction.")}
    return {f"stem.{k}": v for k, v in stem.items()} | rest
