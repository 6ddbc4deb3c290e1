"""The contextual loss: do two images hold the same features, wherever they are?

With features ``a_i`` and ``b_j`` of two images, both less the mean of ``b``::

    d_ij = 1 - cos(a_i, b_j),   e_ij = d_ij / (min_k d_ik + eps)                                (1)
    w_ij = exp((1 - e_ij) / h),   s_ij = w_ij / sum_k w_ik                                      (2)
    loss = -log mean_j max_i s_ij                                                              (3)

Laws: it does not change when the places of one image change places; it is smallest for an image and itself.

Source: Mechrez, Talmi and Zelnik-Manor 2018, "The contextual loss for image transformation with non-aligned data".
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# Bandwidth h of (2), and eps of (1).
BANDWIDTH, LEAST = 0.5, 1e-5


def contextual_loss(a: Tensor, b: Tensor, places: Tensor | None = None) -> Tensor:
    """Return (3), a scalar, the mean over images.

    Args:
        a: [n, c, y, x] features of the images to be judged.
        b: [n, c, y, x] features of those they should resemble.
        places: indices of the places (y x, row by row) that are compared; None for all. Memory grows with their square.
    """
    first, second = (x.float().flatten(2) for x in (a, b))  # [n, c, places]
    if places is not None:
        first, second = first[..., places], second[..., places]
    mean = second.mean(dim=(0, 2), keepdim=True)
    first, second = (F.normalize(x - mean, dim=1) for x in (first, second))
    d = (1 - torch.einsum("nci,ncj->nij", first, second)).clamp_min(0)
    e = d / (d.amin(dim=2, keepdim=True) + LEAST)  # (1)
    s = torch.softmax((1 - e) / BANDWIDTH, dim=2)  # (2)
    return -torch.log(s.amax(dim=1).mean(dim=1).clamp_min(LEAST)).mean()  # (3)
