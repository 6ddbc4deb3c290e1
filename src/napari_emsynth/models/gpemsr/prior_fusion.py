"""The multi-scale prior fusion (MPF) of GPEMSR (Shou et al. 2024): how far the prior may speak, and where.

::

    bicubic low resolution --features--+
                                       +--cosine of patches--> d = 1 - cos --conv net--> mask (16 x 16 px patches)
    reference ---------------features--+                                                   |
    decoder's features at 1/2, 1/4, ... low resolution  ----------------------------- x ---+
       finest --conv--> (down, + next coarser --conv) ... --> low resolution --conv--> (+) features

    cos = <a, r> / |a| |r|   over the features of a patch,   d = 1 - cos                       (1)
    mask = 2 sigmoid(-softplus(g(d)) d)                                                        (2)

From the paper: similarity of patches without overlap in a feature space, a mask learnt from it, and the decoder's
features at several scales, 4 at a factor of 16 and 3 at 8. The features that patches are compared by come from our own
encoder, for the paper's come from a network trained on photographs. Ours: the form of (2), in which identical patches
are trusted wholly whatever was learnt; and convolutions without biases behind the mask.

Laws: the mask lies in [0, 1]; it is 1 for identical patches; where it is 0 the features pass as they are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.nn.rectified import conv, halving, rectified

# Patches whose features are all but zero count as identical.
TINY = 1e-8
# softplus of this is 2: unlike patches (d = 1/2) are trusted by half at the start.
START = 1.85


def distance(a: Tensor, b: Tensor, patch: int) -> Tensor:
    """Return ``d`` of (1), in [0, 2].

    Args:
        a: [b, c, y, x] features.
        b: [b, c, y, x].
        patch: edge of a patch in nodes of the features.

    Returns:
        [b, 1, y / patch, x / patch].
    """

    def over_patches(product: Tensor) -> Tensor:
        return F.avg_pool2d(product.sum(dim=1, keepdim=True), patch)

    a, b = a.float(), b.float()
    both = over_patches(a * b)
    norms = torch.sqrt(over_patches(a * a) * over_patches(b * b))
    return (1 - (both + TINY) / (norms + TINY)).clamp(0, 2)  # (1)


class Mask(nn.Module):
    """(2): a small convolutional net on the distances of patches."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.hidden = conv(1, width)
        self.out = conv(width, 1)
        nn.init.zeros_(self.out.weight)
        nn.init.constant_(self.out.bias, START)  # type: ignore[arg-type]

    def forward(self, d: Tensor) -> Tensor:
        """[b, 1, y, x] in [0, 2] -> [b, 1, y, x] in [0, 1]."""
        strictness = F.softplus(self.out(rectified(self.hidden(d))))
        return torch.as_tensor(2 * torch.sigmoid(-strictness * d))  # (2)


def resized(mask: Tensor, like: Tensor) -> Tensor:
    """Return a mask [b, 1, y, x] at the size of ``like``, edges kept."""
    size = (like.shape[-2], like.shape[-1])
    return F.interpolate(mask, size=size, mode="bilinear", align_corners=False)


class PriorFusion(nn.Module):
    """Add what the decoder knows to the features of a section, as far as the mask says.

    Args:
        width: maps of the features.
        priors: maps of the decoder's features, from the low-resolution grid to the finest.
    """

    def __init__(self, width: int, priors: Sequence[int]) -> None:
        super().__init__()
        self.project = nn.ModuleList(conv(c, width, bias=False) for c in priors)
        self.down = nn.ModuleList(halving(width, width, bias=False) for _ in priors[1:])
        self.merge = conv(width, width, bias=False)
        with torch.no_grad():
            self.merge.weight.mul_(0.2)  # start near the features as they are

    def forward(self, features: Tensor, priors: Sequence[Tensor], mask: Tensor) -> Tensor:
        """Fuse.

        Args:
            features: [b, width, y, x] of the low-resolution section.
            priors: [b, c_i, 2^i y, 2^i x] of the decoder, coarse to fine.
            mask: [b, 1, y', x'] in [0, 1] on any grid.

        Returns:
            [b, width, y, x].
        """
        x: Tensor | None = None
        for i in range(len(priors) - 1, -1, -1):
            known = self.project[i](priors[i] * resized(mask, priors[i]))
            x = known if x is None else known + self.down[i](x)
            x = rectified(x)
        assert x is not None
        return torch.as_tensor(features + self.merge(x))
