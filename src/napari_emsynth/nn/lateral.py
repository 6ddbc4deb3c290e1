"""Sections at two pixel sizes: area reduction and bicubic enlargement by a whole factor.

Conventions: images are [b, c, y, x]; edges are kept, so that pixel ``i`` of a reduced image covers pixels ``f i`` to
``f i + f - 1`` of the fine one and its centre lies at ``f (i + 1/2) - 1/2``. Laws: constants stay; reducing what was
repeated ``f`` times gives it back; the centre of mass of an enlarged pixel is its own centre.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor


def reduced(image: Tensor, factor: int) -> Tensor:
    """Return the mean of every ``factor`` x ``factor`` px: [b, c, f y, f x] -> [b, c, y, x]; what is left is cut."""
    return F.avg_pool2d(image, factor)


def enlarged(image: Tensor, factor: int) -> Tensor:
    """Return the bicubic enlargement [b, c, y, x] -> [b, c, f y, f x]; beyond the border its pixel is repeated."""
    size = (factor * image.shape[-2], factor * image.shape[-1])
    return F.interpolate(image, size=size, mode="bicubic", align_corners=False)
