"""Stage II of GPEMSR (Shou et al. 2024): which codes a low-resolution section stands for.

::

    section --stem--> [down, where a code stands for several px] --> residual block x n --1x1--> logits over the codes

    e(p) = argmax_k logits_k(p)                                                                (1)

From the paper: codes are classified, not regressed, and the most probable one is taken. From the authors' released
configuration: at a factor of 16 a code stands for one low-resolution pixel and the grid is kept, at 8 for 2 x 2 and
there is one convolution of stride 2. Width, blocks and the lack of normalisation are ours.

Sections come in normalised units. Law: codes lie on a grid whose edges are the section's.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.rectified import SLOPE, Residual, conv, halving, rectified


class Indexer(nn.Module):
    """Low-resolution section to logits over the codes (see the module's figure).

    Args:
        codes: in the codebook.
        halvings: a code stands for ``2^halvings`` low-resolution px along each axis.
        width: feature maps.
        blocks: residual blocks of two convolutions.
    """

    def __init__(self, *, codes: int, halvings: int, width: int, blocks: int) -> None:
        super().__init__()
        self.stem = conv(1, width)
        self.down = nn.ModuleList(halving(width, width) for _ in range(halvings))
        self.blocks = nn.ModuleList(Residual(width, 2) for _ in range(blocks))
        self.out = nn.Conv2d(width, codes, 1)

    def forward(self, section: Tensor) -> Tensor:
        """[b, 1, y, x] -> logits [b, codes, y / 2^halvings, x / 2^halvings]."""
        x = self.stem(section)
        for layer in self.down:
            x = layer(rectified(x))
        for block in self.blocks:
            x = block(x)
        return torch.as_tensor(self.out(F.leaky_relu(x, SLOPE)))

    def indices(self, section: Tensor) -> Tensor:
        """Return (1): [b, 1, y, x] -> [b, y', x'] int64."""
        return torch.as_tensor(self(section).argmax(dim=1))


def accuracy(logits: Tensor, indices: Tensor, most: int = 1) -> float:
    """Return the share of places whose code is among the ``most`` most probable ones.

    Args:
        logits: [b, codes, y, x].
        indices: [b, y, x] the codes that the encoder chose.
        most: how many guesses count.
    """
    guesses = logits.topk(min(most, logits.shape[1]), dim=1).indices  # [b, most, y, x]
    return float((guesses == indices[:, None]).any(dim=1).float().mean())
