"""The fusion (3DA) of GPEMSR (Shou et al. 2024): aligned sections become one, each counting where it helps.

::

    aligned [c, n, y, x] --3-D conv--> e;   w_i = softmax_i sqrt(c) cos(e_i, e_middle)         (1)
    v_i = n w_i aligned_i                                                                      (2)
    v --3-D conv over all sections--> f
    v --3-D conv over all sections--> a --pool, conv, double, (+ a)--> gain, addend
    answer = 2 sigmoid(gain) f + addend                                                        (3)

From the paper: spatial attention and 3-D convolutions. The scheme is that of Wang, Chan, Yu, Dong and Loy 2019,
"EDVR"; ours are the softmax of (1), so that sections share what there is, its cosines, because products soon pick one
section alone, and heads of (3) that start at zero.

Law: weights are not negative and sum to 1 over the sections at every pixel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.models.gpemsr.deformable_alignment import doubled
from napari_emsynth.nn.rectified import SLOPE, conv, levelled, rectified


def across(width: int, sections: int, edge: int) -> nn.Conv3d:
    """A 3-D convolution that makes one section of all, [b, c, n, y, x] -> [b, c, 1, y, x]."""
    layer = nn.Conv3d(width, width, (sections, edge, edge), padding=(0, edge // 2, edge // 2))
    nn.init.kaiming_normal_(layer.weight, a=SLOPE, nonlinearity="leaky_relu")
    assert layer.bias is not None
    nn.init.zeros_(layer.bias)
    return layer


class PlainFusion(nn.Module):
    """One 3-D convolution over all sections and no attention: what 3DA is measured against."""

    def __init__(self, width: int, sections: int) -> None:
        super().__init__()
        self.fuse = across(width, sections, 1)

    def forward(self, aligned: Tensor) -> Tensor:
        """[b, c, n, y, x] -> [b, c, y, x]."""
        return rectified(self.fuse(aligned)[:, :, 0])


class AttentionFusion(nn.Module):
    """Attention over sections, then over places (see the module's figure)."""

    def __init__(self, width: int, sections: int) -> None:
        super().__init__()
        self.sections = sections
        self.embed = nn.Conv3d(width, width, 3, padding=1)
        self.fuse = across(width, sections, 1)
        self.places = across(width, sections, 3)
        self.wide = conv(2 * width, width)
        self.head = conv(width, 2 * width)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def weights(self, aligned: Tensor) -> Tensor:
        """Return (1): [b, c, n, y, x] -> [b, n, y, x]."""
        e = levelled(self.embed(aligned), maps=1)
        middle = e[:, :, self.sections // 2 : self.sections // 2 + 1]
        return torch.softmax((e * middle).sum(dim=1) / aligned.shape[1] ** 0.5, dim=1)

    def forward(self, aligned: Tensor) -> Tensor:
        """[b, c, n, y, x], y and x even -> [b, c, y, x]."""
        v = self.sections * self.weights(aligned)[:, None] * aligned  # (2)
        fused = rectified(self.fuse(v)[:, :, 0])
        a = rectified(self.places(v)[:, :, 0])
        pooled = torch.cat((F.max_pool2d(a, 2), F.avg_pool2d(a, 2)), dim=1)
        a = a + doubled(rectified(self.wide(pooled)))
        gain, addend = self.head(a).chunk(2, dim=1)
        return torch.as_tensor(2 * torch.sigmoid(gain) * fused + addend)  # (3)
