"""What ssEMnet minimises over the vector map ``v`` of one section, and how each term of it falls.

With ``f`` the frozen encoder, ``T_v(I_0)(p) = I_0(p + u(p))`` the section pulled along the interpolated map ``u``, its
neighbours ``I_i`` and their weights ``w_i``::

    E(v) = sum_i w_i K M |f(I_i) - f(T_v(I_0))|^2                                                       (1)
         + alpha |v|^2 + beta |grad v_x|^2 + gamma |grad v_y|^2                                         (2)
    M(T_v)(p) = 1 where p + u(p) lies in the section and is known, else 0; resized to the features      (3)
    K_k = 0 for the share d_k of features with the largest error, else 1;   d_k = d_0 / 2^k,  d_0 = 1/2  (4)

    dE / df(T_v(I_0)) = 2 sum_i w_i K M (f(T_v(I_0)) - f(I_i))                                          (5)
    dE / dv_c = 2 (alpha + lambda_c D'D) v_c,   lambda = (gamma, beta) of v_y and v_x, D = grad         (6)

Sections are [b, 1, y, x], features [b, c, y', x'], those of n neighbours [b, n, c, y', x'], maps [b, 2, y', x']
(dy, dx) px; every section has its own E. Places are where pixels come from, [b, h, w, 2] (x, y), -1 to 1 between the
centres of the corner pixels. Ours: (1) is a mean over features in units of their variance, (2) are means over nodes in
px^2 and in (px/px)^2, so that neither depends on the section's size; a 'feature' of (4) is a place of the feature map;
and no gradient goes through M and K: nothing is gained by pulling a section's empty surroundings in.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

Float64 = NDArray[np.float64]


def pulled(section: Tensor, places: Tensor) -> Tensor:
    """Return T_v, [b, 1, h, w]: a section's values at places between its pixels; its edge is repeated beyond it."""
    return F.grid_sample(section, places, "bilinear", "border", align_corners=True)


def not_empty(known: Tensor, places: Tensor) -> Tensor:
    """Return M of (3) at every pixel, [b, 1, h, w] of 0 and 1.

    Args:
        known: [b, 1, y, x] 1 where the section is tissue, else 0.
        places: [b, h, w, 2]; one belongs to the nearest pixel.
    """
    return F.grid_sample(known, places.detach(), "nearest", "zeros", align_corners=True)


def of_features(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize M bilinearly to the features: [b, 1, y, x] -> [b, 1, y', x'], 0 to 1; every pixel has its share."""
    resized = F.interpolate(mask, size=tuple(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.clamp(0, 1)


def difference(fixed: Tensor, moved: Tensor) -> Tensor:
    """Return |f(I_i) - f(T_v(I_0))|^2 of (1) at every place, the mean over maps.

    Args:
        fixed: [b, n, c, y', x'] of the neighbours.
        moved: [b, c, y', x'] of the section.

    Returns:
        [b, n, y', x'].
    """
    return (fixed - moved[:, None]).square().mean(dim=2)


def dropped_share(iteration: int, first: float = 0.5) -> float:
    """Return d_k of (4): ``first`` in iteration 0, half as much in each further one."""
    return first * 0.5**iteration


def highest_kept(errors: Tensor, mask: Tensor, share: float) -> Tensor:
    """Return the largest error that (4) keeps of every neighbour, [b, n]: a share of what is not empty lies above it.

    Args:
        errors: [b, n, y', x'].
        mask: [b, n, y', x'] 0 to 1; empty places have no error to be counted.
        share: d_k, 0 to 1.
    """
    counted = mask.flatten(2) > 0
    ordered = torch.where(counted, errors.flatten(2), torch.inf).sort(dim=2).values
    count = counted.sum(dim=2, keepdim=True)
    dropped = (count * share).long()
    highest = ordered.gather(2, (count - dropped - 1).clamp_min(0))
    return torch.where(dropped > 0, highest, torch.inf).squeeze(2)


def kept(errors: Tensor, highest: Tensor) -> Tensor:
    """Return K of (4), [b, n, y', x']: 1 where the error does not exceed the highest that is kept, [b, n]; else 0."""
    return (errors <= highest[..., None, None]).to(errors.dtype)


def bending(nodes: int, step: float, others: int) -> Float64:
    """Return D'D of (6) along one axis, [nodes, nodes] 1/px^2, for a mean over nodes.

    Args:
        nodes: on the axis.
        step: px between them.
        others: nodes on the other axis.
    """
    d = np.diff(np.eye(nodes), axis=0) / step
    return np.asarray(d.T @ d / max((nodes - 1) * others, 1))
