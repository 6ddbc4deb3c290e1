"""From features of a low-resolution section to the fine section: residual blocks and pixel shuffles.

::

    features --> residual block x n --trunk--> (+ features) --doubling--> 2x --doubling--> ... f x --head--> f x

``doubling`` is a 3x3 convolution to four times the maps and a pixel shuffle; the blocks have no normalisation. Ten
blocks of 64 maps are the paper's (Shou et al. 2024, reconstruction layers); how many maps each doubling leaves is ours,
and so is the head that starts at zero: what is added to the reconstruction decides where training starts.

Law: edges are kept, so that low-resolution pixel ``i`` stands for fine pixels ``f i`` to ``f i + f - 1``.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.rectified import SLOPE, Residual, conv, rectified


def doublings(factor: int, fine: Sequence[int]) -> tuple[int, ...]:
    """Return the feature maps after each doubling; the last of ``fine`` serves all further ones."""
    return tuple(fine[min(i, len(fine) - 1)] for i in range(factor.bit_length() - 1))


class Reconstruction(nn.Module):
    """Residual blocks, doublings and a head (see the module's figure).

    Args:
        width: feature maps at low resolution.
        blocks: residual blocks of two convolutions.
        fine: feature maps after each doubling.
        outputs: channels of the fine answer.
    """

    def __init__(self, width: int, blocks: int, fine: Sequence[int], outputs: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(Residual(width, 2) for _ in range(blocks))
        self.trunk = conv(width, width)
        self.doublings = nn.ModuleList(conv(a, 4 * b) for a, b in pairwise((width, *fine)))
        self.head = conv(fine[-1], outputs)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def drawn(self, features: Tensor) -> Tensor:
        """[b, width, y, x] -> [b, outputs, f y, f x]."""
        x = features
        for block in self.blocks:
            x = block(x)
        x = F.leaky_relu(features + self.trunk(F.leaky_relu(x, SLOPE)), SLOPE)
        for layer in self.doublings:
            x = rectified(F.pixel_shuffle(layer(x), 2))  # [b, w', 2 y, 2 x]
        return torch.as_tensor(self.head(x))

    def forward(self, features: Tensor) -> Tensor:
        """See :meth:`drawn`."""
        return self.drawn(features)
