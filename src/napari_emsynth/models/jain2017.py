"""The generators of Jain 2017, "Adversarial Image Alignment and Interpolation": sections 3.1, 4.1 and 5.1.

::

    interpolation (Figure 1)      z-1 -> stem -> 2 slice-wise modules -+
                                                                        3-D fusion 2x3x3 -> 3 modules -> section z
                                  z+1 -> stem -> 2 slice-wise modules -+
    alignment (4.1)               stack -> stem -> 2 modules -> 3-D convolution -> 3 modules -> stack
    super-resolution (Figure 4)   stack -> stem -> 3 modules -> transposed 4x3x3, stride 2x1x1 -> 2 modules -> stack

A module is a full pre-activation residual unit; every convolution is 'valid'; nothing pools; the output is linear.
The paper fixes the number of modules, the fifty maps, and what is slice-wise; kernels of 3 and two convolutions a
module are our choice, its numbers were lost. Sections come normalised (zero mean, unit deviation).

Initialisation (ours, not the paper's): one map carries the input and one its negative through every rectifier
(max(x, 0) - max(-x, 0) = x), so that the untrained networks are linear interpolation (1, 3) and the identity (2), up
to the small random part that training starts from.

Law: the border lost on each side, the receptive field, the number of parameters and the multiply-accumulates follow
from the :class:`Config` alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.errors import InputError
from napari_emsynth.nn.residual import Kernel, PreActivationUnit, convolution, start_near_identity, trim

Kind = Literal["interpolation", "alignment", "superresolution"]

# Modules before and after the middle layer, by network.
MODULES: dict[Kind, tuple[int, int]] = {"interpolation": (2, 3), "alignment": (2, 3), "superresolution": (3, 2)}
# Sections out for each section in, and the transposed kernel's length along z.
RATE, TRANSPOSED = 2, 4
# Sections of the transposed convolution's output: this one coincides with the first section of its input.
COINCIDENT = 1


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of a generator.

    Args:
        kind: which of the three.
        maps: feature maps of every layer but the output; the paper's number is 50.
        kernel: edge of every kernel in px, odd.
        depth: convolutions a module.
    """

    kind: Kind = "interpolation"
    maps: int = 50
    kernel: int = 3
    depth: int = 2

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object; absent names take their default."""
        return cls(**values)

    @property
    def modules(self) -> tuple[int, int]:
        """Modules before and after the middle layer."""
        return MODULES[self.kind]

    @property
    def border(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) that the network cuts off each side of its input, in input voxels.

        The interpolation network turns two sections into one and has no border along z; super-resolution answers
        :data:`RATE` sections for each input section that is left.
        """
        k = self.kernel // 2
        convolutions = 1 + self.depth * sum(self.modules) + 1 + 1  # stem, modules, middle, output
        plane = k * convolutions
        if self.kind == "interpolation":
            return 0, plane, plane
        if self.kind == "alignment":
            return plane, plane, plane
        before = k * (1 + self.depth * self.modules[0])
        return before + self.sections_cut(self.after), plane, plane

    @property
    def after(self) -> int:
        """Voxels that the modules behind the middle layer and the output layer cut off each side."""
        return self.kernel // 2 * (self.depth * self.modules[1] + 1)

    @staticmethod
    def sections_cut(after: int) -> int:
        """Input sections lost to the transposed convolution and the ``after`` output sections cut behind it.

        Output section ``COINCIDENT + RATE i`` of a transposed convolution stems from input sections i - 1 and i and
        lies on section i; the next one stems from i and i + 1 and lies between them. Whole pairs are kept.
        """
        first = TRANSPOSED - RATE + after  # first output section that nothing is missing from
        return -(-(first - COINCIDENT) // RATE)

    @property
    def receptive_field(self) -> tuple[int, int, int]:
        """Voxels (z, y, x) of the input that one output voxel depends on, at most."""
        z, y, x = (2 * b + 1 for b in self.border)
        return (2, y, x) if self.kind == "interpolation" else (z, y, x)

    @property
    def module_kernel(self) -> Kernel:
        """Kernel of stem, modules and output: (y, x), slice-wise, when sections are interpolated, else (z, y, x)."""
        return (self.kernel,) * (2 if self.kind == "interpolation" else 3)

    @property
    def multiply_accumulates(self) -> float:
        """Per output section and px, borders left out: what one voxel of the result costs."""
        m, plane, cube = self.maps, self.kernel**2, self.kernel**3
        before, after = (self.depth * n * m * m for n in self.modules)
        if self.kind == "interpolation":
            return 2 * plane * (m + before) + 2 * plane * m * m + plane * (after + m)
        middle = cube * m * m if self.kind == "alignment" else TRANSPOSED * plane * m * m / RATE
        rate = 1 if self.kind == "alignment" else RATE
        return cube * (m + before) / rate + middle + cube * (after + m)


class Generator(nn.Module):
    """Stem, modules, a middle layer, modules, linear output; the middle layer makes the difference.

    Args:
        config: sizes.
        middle: the middle layer.
        taps: its starting weights along z.
    """

    def __init__(self, config: Config, middle: nn.Conv3d | nn.ConvTranspose3d, taps: dict[int, float]) -> None:
        super().__init__()
        self.config = config
        before, after = config.modules
        kernel = config.module_kernel
        self.stem = convolution(1, config.maps, kernel)
        self.before = nn.Sequential(*(PreActivationUnit(config.maps, kernel, config.depth) for _ in range(before)))
        self.middle = middle
        self.after = nn.Sequential(*(PreActivationUnit(config.maps, kernel, config.depth) for _ in range(after)))
        self.output = convolution(config.maps, 1, kernel)
        self._initialise(taps)

    def forward(self, x: Tensor) -> Tensor:
        """[b, 1, (z,) y, x] normalised -> [b, 1, (z',) y - 2 border, x - 2 border] normalised."""
        x = self.before(self.stem(x))  # [b, maps, ...]
        x = self.after(self.fuse(F.relu(x)))  # [b, maps, ...]
        return torch.as_tensor(self.output(F.relu(x)))

    def fuse(self, x: Tensor) -> Tensor:
        """Apply the middle layer to rectified features."""
        return torch.as_tensor(self.middle(x))

    def _initialise(self, taps: dict[int, float]) -> None:
        for unit in (*self.before, *self.after):
            start_near_identity(unit)
        for layer in (self.stem, self.middle, self.output):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
        with torch.no_grad():
            self.output.weight.mul_(0.05)
            self._carry(taps)

    def _carry(self, taps: dict[int, float]) -> None:
        """Let maps 0 and 1 carry the input and its negative from the stem to the output."""
        c, sign = self.config.kernel // 2, (1.0, -1.0)
        middle = self.middle.weight
        if isinstance(self.middle, nn.ConvTranspose3d):
            middle = middle.transpose(0, 1)  # to [out, in, z, y, x], the same memory
        for i in (0, 1):
            middle[i] = 0
            for tap, weight in taps.items():
                middle[i, :2, tap, c, c] = torch.tensor(sign) * sign[i] * weight
            for kernel in (self.stem.weight[i, 0], self.output.weight[0, i]):
                kernel.zero_()
                kernel[(c,) * kernel.ndim] = sign[i]


class InterpolationGenerator(Generator):
    """Two sections in, the one between them out (Figure 1)."""

    def __init__(self, config: Config = Config()) -> None:
        k = config.kernel
        super().__init__(config, nn.Conv3d(config.maps, config.maps, (2, k, k)), {0: 0.5, 1: 0.5})

    def fuse(self, x: Tensor) -> Tensor:
        """Make one section of features of two: [2b, maps, y, x] -> [b, maps, y', x']."""
        pairs = torch.stack(x.chunk(2), dim=2)  # [b, maps, 2, y, x]
        return super().fuse(pairs)[:, :, 0]

    def forward(self, x: Tensor) -> Tensor:
        """[b, 2, y, x] sections z - 1 and z + 1, normalised -> [b, 1, y - 2 border, x - 2 border]."""
        return super().forward(torch.cat((x[:, :1], x[:, 1:])))  # [2b, 1, y, x]: the modules are slice-wise


class AlignmentGenerator(Generator):
    """A roughly aligned stack in, a redrawn ('post-aligned') one out (section 4.1)."""

    def __init__(self, config: Config = Config(kind="alignment")) -> None:
        middle = nn.Conv3d(config.maps, config.maps, config.kernel)
        super().__init__(config, middle, {config.kernel // 2: 1.0})


class SuperResolutionGenerator(Generator):
    """A stack in, the redrawn stack with twice the sections out (Figure 4).

    The output's channels are the phases: 0 lies on the input section, 1 half way to the next one.
    """

    def __init__(self, config: Config = Config(kind="superresolution")) -> None:
        k = config.kernel
        middle = nn.ConvTranspose3d(config.maps, config.maps, (TRANSPOSED, k, k), stride=(RATE, 1, 1))
        super().__init__(config, middle, {0: 0.5, 1: 1.0, 2: 0.5})

    def fuse(self, x: Tensor) -> Tensor:
        """Upsample z; what is left is what nothing is missing from: [b, maps, n, ...] -> [b, maps, 2n - 2, ...]."""
        k = self.config.kernel - 1
        return trim(self.middle(x), (TRANSPOSED - RATE, k, k))

    def forward(self, x: Tensor) -> Tensor:
        """[b, 1, z, y, x] normalised -> [b, 2, z - 2 border, y - 2 border, x - 2 border] normalised.

        Sections i - border of channel 0 redraw input section i, those of channel 1 lie at i + 1/2.
        """
        x = super().forward(x)[:, 0]  # [b, 2m - 2 - 2 after, y', x']
        after = self.config.after
        lost = self.config.sections_cut(after)
        skipped = RATE * lost + COINCIDENT - (TRANSPOSED - RATE + after)
        pairs = (x.shape[1] - skipped) // RATE
        x = x[:, skipped : skipped + RATE * pairs]
        b, _, h, w = x.shape
        return x.reshape(b, pairs, RATE, h, w).transpose(1, 2)  # [b, 2, pairs, y', x']


GENERATORS: dict[Kind, type[InterpolationGenerator | AlignmentGenerator | SuperResolutionGenerator]] = {
    "interpolation": InterpolationGenerator,
    "alignment": AlignmentGenerator,
    "superresolution": SuperResolutionGenerator,
}


def generator(config: Config) -> Generator:
    """Build the generator that a configuration names."""
    return GENERATORS[config.kind](config)


@dataclass(frozen=True, kw_only=True)
class CriticConfig:
    """Sizes of a discriminator.

    Args:
        images: sections it sees together: 2 (siamese, section 3.3) or 1 (section 4.1).
        size: edge of the images in px.
        maps: feature maps.
        kernel: edge of the convolutions in px.
        modules: convolution and max-pooling, times this.
        dropout: share of the features dropped while training.
    """

    images: int = 2
    size: int = 64
    maps: int = 50
    kernel: int = 3
    modules: int = 3
    dropout: float = 0.5

    @property
    def left(self) -> int:
        """Edge of the feature maps after the last module, px."""
        n = self.size
        for _ in range(self.modules):
            n = (n - self.kernel + 1) // 2
        return n

    @property
    def features(self) -> int:
        """Numbers that enter the fully connected layer."""
        return self.images * self.maps * self.left**2


class Discriminator(nn.Module):
    """Convolution and max-pooling on each image alone, flattened together, dropout, one fully connected layer.

    The sigmoid of section 3.3 is part of the loss: the answer is its logit. Images share their weights.
    """

    def __init__(self, config: CriticConfig = CriticConfig()) -> None:
        super().__init__()
        if config.left < 1:
            raise InputError(f"a discriminator of {config.modules} modules needs images of more than {config.size} px")
        self.config = config
        layers: list[nn.Module] = []
        for i in range(config.modules):
            conv = nn.Conv2d(config.maps if i else 1, config.maps, config.kernel)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            layers += [conv, nn.ReLU(), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.dropout = nn.Dropout(config.dropout)
        self.decide = nn.Linear(config.features, 1)

    def forward(self, images: Tensor) -> Tensor:
        """[b, images, y, x] normalised -> [b] logit that they are real."""
        b, n, h, w = images.shape
        x = self.features(images.reshape(b * n, 1, h, w))  # [b n, maps, left, left]
        x = self.dropout(x.reshape(b, -1))  # [b, features]
        return torch.as_tensor(self.decide(x)[:, 0])
