"""What ssEMnet minimises over the vector map ``v`` of one section, each term alone.

With ``f`` the frozen encoder, ``T_v(I_0)(p) = I_0(p + u(p))`` the section pulled along the interpolated map ``u``, its
neighbours ``I_i`` and their weights ``w_i``::

    E(v) = sum_i w_i K M |f(I_i) - f(T_v(I_0))|^2                                                       (1)
         + alpha |v|^2 + beta |grad v_x|^2 + gamma |grad v_y|^2                                         (2)
    M(T_v)(p) = 1 where p + u(p) lies in the section and is known, else 0; resized to the features      (3)
    K_k = 0 for the share d_k of features with the largest error, else 1;   d_k = d_0 / 2^k,  d_0 = 1/2  (4)

Sections are [y, x], features [c, y', x'], maps [2, y, x] (dy, dx) px. Ours: (1) is a mean over features in units of
their variance, (2) are means over nodes in px^2 and in (px/px)^2, so that neither depends on the section's size; a
'feature' of (4) is a place of the feature map; and no gradient goes through M and K: nothing is gained by pulling a
section's empty surroundings in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def pixels(y: slice, x: slice, like: Tensor) -> Tensor:
    """Return the centres [2, h, w] (y, x) of a window of pixels, on the device of ``like``."""
    axes = [torch.arange(s.start, s.stop, device=like.device, dtype=torch.float32) for s in (y, x)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def _grid(at: Tensor, size: Sequence[int]) -> Tensor:
    """Return positions [2, h, w] px as grid_sample wants them: [1, h, w, 2] (x, y) in [-1, 1]."""
    scaled = [at[axis] * (2.0 / max(n - 1, 1)) - 1.0 for axis, n in enumerate(size)]
    return torch.stack(scaled[::-1], dim=-1)[None]


def pulled(section: Tensor, at: Tensor) -> Tensor:
    """Return T_v: a section's values at positions that need not be pixels; its edge is repeated beyond it.

    Args:
        section: [y, x].
        at: [2, h, w] (y, x) px.
    """
    grid = _grid(at, section.shape)
    return F.grid_sample(section[None, None], grid, "bilinear", "border", align_corners=True)[0, 0]


def not_empty(known: Tensor, at: Tensor) -> Tensor:
    """Return M of (3) at every pixel, [h, w] of 0 and 1.

    Args:
        known: [y, x] 1 where the section is tissue, else 0.
        at: [2, h, w] (y, x) px; a position belongs to the nearest pixel.
    """
    grid = _grid(at.detach(), known.shape)
    return F.grid_sample(known[None, None], grid, "nearest", "zeros", align_corners=True)[0, 0]


def of_features(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize M bilinearly to the features: [y, x] -> [y', x'], 0 to 1; every pixel has its share."""
    resized = F.interpolate(
        mask[None, None], size=tuple(size), mode="bilinear", align_corners=False, antialias=True
    )
    return resized[0, 0].clamp(0, 1)


def difference(fixed: Tensor, moved: Tensor) -> Tensor:
    """Return |f(I_i) - f(T_v(I_0))|^2 of (1) at every place, the mean over maps: [c, y', x'] twice -> [y', x']."""
    return (fixed - moved).square().mean(dim=0)


def dropped_share(iteration: int, first: float = 0.5) -> float:
    """Return d_k of (4): ``first`` in iteration 0, half as much in each further one."""
    return first * 0.5**iteration


def highest_kept(errors: Tensor, mask: Tensor, share: float) -> float:
    """Return the largest error that (4) keeps: a share of the places that are not empty lies above it.

    Args:
        errors: [y', x'].
        mask: [y', x'] 0 to 1; empty places have no error to be counted.
        share: d_k, 0 to 1.
    """
    known = errors.detach()[mask > 0]
    count = known.numel() - int(known.numel() * share)
    if count == known.numel():
        return float("inf")
    return float(known.kthvalue(count).values) if count else -float("inf")


def kept(errors: Tensor, highest: float) -> Tensor:
    """Return K of (4): 1 where the error does not exceed the highest that is kept, else 0; [y', x']."""
    return (errors.detach() <= highest).to(errors.dtype)


def data_sum(errors: Sequence[Tensor], masks: Sequence[Tensor], weights: Sequence[float]) -> Tensor:
    """Return the sum over neighbours and places of (1).

    Args:
        errors: of each neighbour, [y', x'].
        masks: K M of each neighbour, [y', x'] 0 to 1.
        weights: w_i of each neighbour.
    """
    terms = [w * (m * e).sum() for e, m, w in zip(errors, masks, weights, strict=True)]
    return torch.stack(terms).sum()  # (1)


def magnitude(v: Tensor) -> Tensor:
    """Return |v|^2 of (2), the mean over nodes of [2, y', x'], px^2."""
    return v.square().sum(dim=0).mean()


def roughness(component: Tensor, step: tuple[float, float]) -> Tensor:
    """Return |grad v_x|^2 or |grad v_y|^2 of (2): the mean over nodes of the squared slope.

    Args:
        component: [y', x'] px, v_x or v_y.
        step: (y, x) px between nodes.
    """
    slopes = component.new_zeros(())
    for axis, px in enumerate(step):
        if component.shape[axis] > 1:
            slopes = slopes + (component.diff(dim=axis) / px).square().mean()
    return slopes


def regulariser(v: Tensor, step: tuple[float, float], alpha: float, beta: float, gamma: float) -> Tensor:
    """Return (2) of a map [2, y', x'] (dy, dx) px with ``step`` (y, x) px between its nodes."""
    return alpha * magnitude(v) + beta * roughness(v[1], step) + gamma * roughness(v[0], step)  # (2)
