"""How wide the 90 % interval has to be, which depends on how rough the sections are.

A network tells the scale of its errors in deviations of the acquired volume. The rougher that is, the more of the fine
section lies below its pixels, and errors outgrow the scale: what suffices for fly medulla at 10 nm, reduced 8 times,
has to be half as wide again for the same sections at 20 nm. So the factor from scale to half width is measured on
held-out sections at several magnifications, and that of a volume is looked up::

    k = interp(c; (c_1, k_1), (c_2, k_2), ...),   c: correlation of adjacent pixels              (1)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F

from napari_emsynth.methods.superres.scoring.held_out import HeldOut, covered, held_out_cases
from napari_emsynth.nn.lateral import reduced
from napari_emsynth.trust.oversampled import smoothness
from napari_emsynth.trust.selfcheck import LAPLACE
from napari_emsynth.volume import Array, Float, Volume
from napari_emsynth.weights.card import Card

# By how much held-out sections are made smaller for (1): rougher ones than these are taken for like the last.
SMALLER = (1.0, 1.5, 2.0, 3.0)


@dataclass(frozen=True)
class Confidence:
    """The law (1).

    Args:
        factors: pairs of c and k, rising in c; at least one.
    """

    factors: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, card: Card) -> Confidence:
        """Take what the card knows; cards without a law have one factor for all."""
        return cls(card.factors or ((0.0, card.factor),))

    def on(self, volume: Volume) -> float:
        """Return k for a volume; the smoothest sections' where it cannot be told how smooth they are."""
        known = smoothness(volume)
        c, k = zip(*self.factors, strict=True)
        return float(np.interp(math.inf if math.isnan(known) else known, c, k))


def measured(
    blocks: Sequence[Array], factor: int, sections: int, answer: Callable[[HeldOut], Sequence[Float]]
) -> dict[str, object]:
    """Measure (1) on held-out sections.

    Args:
        blocks: [z, y, x] at the pixel size of the fine sections.
        factor: of super-resolution.
        sections: seen at once.
        answer: returns the fine section and the log of its error's scale, both [f y, f x].

    Returns:
        what cards tell: ``factor``, of the sections as they are, and ``factors``, the pairs.
    """
    pairs = []
    for smaller in SMALLER:
        made = [block_made_smaller(block, smaller) for block in blocks]
        if cases := held_out_cases(made, factor, sections):
            c = smoothness(_reduced(max(made, key=lambda block: block[0].size), factor))
            pairs.append((round(c, 4), covered(cases, answer)))
    if not pairs:
        return {"factor": LAPLACE}
    known = sorted(pair for pair in pairs if math.isfinite(pair[0]))
    return {"factor": pairs[0][1], "factors": tuple(known)}


def block_made_smaller(block: Array, by: float) -> Array:
    """Return a block [z, y, x] whose pixels are ``by`` times larger, as float32; itself where ``by`` is 1."""
    if by == 1:
        return block
    size = [max(1, round(n / by)) for n in block.shape[1:]]
    fine = torch.from_numpy(np.ascontiguousarray(block, np.float32))[None]
    return np.asarray(F.interpolate(fine, size=size, mode="area")[0].numpy())


def _reduced(block: Array, factor: int) -> Volume:
    """Return a block's reduction [z, y, x]; odd rows and columns are left out."""
    y, x = (n // factor * factor for n in block.shape[1:])
    fine = torch.from_numpy(np.ascontiguousarray(block[:, :y, :x], np.float32))
    return Volume.of(reduced(fine[None], factor)[0].numpy())
