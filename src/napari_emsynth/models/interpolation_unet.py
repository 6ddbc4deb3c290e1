"""The interpolation U-Net: what a fitted filter leaves over, from up to four sections, symmetric under their exchange.

::

    below, far below, base --unshuffle--> E0 -> E1 -> E2 -> E3     one encoder, both sides (stacked along the batch)
    above, far above, base --unshuffle--> E0 -> E1 -> E2 -> E3
                                           |     |     |     |
                       mean <- head <---- D0 <- D1 <- D2 <- D3     decoder of each side: own features warped by the
                                                                   side's displacement, the partner's warped by its own,
                                                                   and what is known of the gap (:class:`Clues`)
    damaged section * keep, keep --> C0 -> C1 -> C2                context, added to D0..D2 of both sides

    mean = base + g (w_a a(p + u_a) + w_b b(p + u_b) - base) + (r_a + r_b) / 2

``base`` is the answer of :mod:`napari_emsynth.models.fitted_filter`. Law (symmetry): exchanging both sides gives the
same answer; they run through the same weights and meet in symmetric sums only. Law (start): with the zero-initialised
heads the mean is the base. Sections come in normalised units (zero mean, unit deviation); displacements are (dy, dx)
px, pull convention, bounded by ``Config.max_displacement``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from napari_emsynth.metrics.neighbours import correlation_of, noise_of
from napari_emsynth.models.fitted_filter import sides
from napari_emsynth.nn.rectified import SLOPE, Residual, conv, rectified
from napari_emsynth.nn.warp import upsample_flow, warp
from napari_emsynth.volume import Float

# Levels run at 1/2, 1/4, ... of full resolution; the first factor of two is a pixel unshuffle.
UNSHUFFLE = 2
# Sections between the neighbours are divided by this before they enter the network.
SPAN_SCALE = 8.0


@dataclass(frozen=True, kw_only=True)
class Config:
    """Sizes of the network.

    Args:
        widths: feature maps at 1/2, 1/4, 1/8 and 1/16 resolution.
        context: feature maps of the damaged section's pyramid at 1/2, 1/4 and 1/8, as a divisor of ``widths``.
        max_displacement: bound of the flow hint in px at full resolution.
    """

    widths: tuple[int, ...] = (32, 48, 80, 96)
    context: int = 2
    max_displacement: float = 32.0

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Config:
        """Build from a JSON object (lists become tuples); absent names take their default."""
        typed: dict[str, Any] = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
        return cls(**typed)

    @property
    def multiple(self) -> int:
        """Input sizes must be multiples of this many px."""
        return int(UNSHUFFLE * 2 ** (len(self.widths) - 1))


class Clues(NamedTuple):
    """What is known of a gap beside its pixels; every tensor is [b] float.

    Args:
        t: position of the wanted section in (0, 1), 0 = below, 1 = above.
        span: sections from below to above.
        far_below: distance to the section below over that to the far one, in (0, 1); 0 without a far one.
        far_above: the same above.
        noise: deviation of the sections' noise, normalised units.
        correlation: of the two sections, -1 to 1.
        error: root mean square error of the base where it was fitted, normalised units.
    """

    t: Tensor
    span: Tensor
    far_below: Tensor
    far_above: Tensor
    noise: Tensor
    correlation: Tensor
    error: Tensor

    @classmethod
    def filled(cls, told: Sequence[float], like: Tensor) -> Clues:
        """Return the same clues for every image of a batch [b, ...], on its device."""
        return cls(*(like.new_full((len(like),), clue) for clue in told))

    def sides(self) -> Tensor:
        """Return what each side is told, its own distances first: [2b, 7]."""
        span = self.span / SPAN_SCALE
        shared = (self.noise, self.correlation, self.error)
        below = torch.stack((self.t, span, self.far_below, self.far_above, *shared), dim=1)
        above = torch.stack((1 - self.t, span, self.far_above, self.far_below, *shared), dim=1)
        return torch.cat((below, above))


def clues_of(offsets: Sequence[float], below: Float, above: Float, error: float) -> tuple[float, ...]:
    """Return t, span, far_below, far_above, noise, correlation and error, as the networks are told.

    Args:
        offsets: sections that are known, by distance from the wanted one; negative below.
        below: [y, x] the nearest section below (above, when none is below).
        above: [y, x] the same above.
        error: root mean square error of the fitted filter.
    """
    return *distances_of(offsets), noise_of(below, above), correlation_of(below, above), error


def distances_of(offsets: Sequence[float]) -> tuple[float, float, float, float]:
    """Return t, span, far_below and far_above of :class:`Clues`.

    Args:
        offsets: sections that are known, by distance from the wanted one; negative below.
    """
    down, up = ([abs(o) for o in side] for side in sides(offsets))
    t, span = 0.5, 2.0 * (down or up)[0]
    if down and up:
        span = float(down[0] + up[0])
        t = down[0] / span
    far_below, far_above = (side[0] / side[1] if len(side) > 1 else 0.0 for side in (down, up))
    return t, span, far_below, far_above


class Encoder(nn.Module):
    """Features of one side at every level."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.stem = conv(UNSHUFFLE**2, widths[0])
        # The far section and the base lie in the same place as the near section: 1x1 is enough, and nine times cheaper.
        self.beside = nn.Conv2d(2 * UNSHUFFLE**2, widths[0], 1, bias=False)
        self.down = nn.ModuleList(conv(a, b, 2) for a, b in pairwise(widths))
        self.refine = nn.ModuleList(conv(w, w) for w in widths)

    def forward(self, section: Tensor, beside: Tensor) -> list[Tensor]:
        """Encode one side.

        Args:
            section: [b, 1, y, x] the near section.
            beside: [b, 2, y, x] the far section (0 without one) and the base.

        Returns:
            Features at 1/2, 1/4, ... : [b, widths[i], y / 2^(i+1), x / 2^(i+1)].
        """
        x = self.stem(F.pixel_unshuffle(section, UNSHUFFLE))  # [b, w0, y/2, x/2]
        x = rectified(x + self.beside(F.pixel_unshuffle(beside, UNSHUFFLE)))
        features = []
        for level, refine in enumerate(self.refine):
            if level:
                x = rectified(self.down[level - 1](x))  # half the size
            x = rectified(refine(x))
            features.append(x)
        return features


class Context(nn.Module):
    """Features of the intact part of a damaged section; exactly zero when nothing is kept."""

    def __init__(self, widths: tuple[int, ...], divisor: int) -> None:
        super().__init__()
        inner = [max(8, w // divisor) for w in widths]
        sizes = [2 * UNSHUFFLE**2, *inner]
        # Without biases, no input gives no output: an absent damaged section needs no computation at all.
        self.convs = nn.ModuleList(
            conv(a, b, 1 if i == 0 else 2, bias=False) for i, (a, b) in enumerate(zip(sizes, inner, strict=False))
        )
        self.to_state = nn.ModuleList(nn.Conv2d(b, w, 1, bias=False) for b, w in zip(inner, widths, strict=True))

    def forward(self, partial: Tensor, keep: Tensor) -> list[Tensor]:
        """partial, keep [b, 1, y, x] -> one addend a level [b, widths[i], ...]."""
        x = torch.cat((F.pixel_unshuffle(partial * keep, UNSHUFFLE), F.pixel_unshuffle(keep, UNSHUFFLE)), dim=1)
        out = []
        for layer, project in zip(self.convs, self.to_state, strict=True):
            x = rectified(layer(x))
            out.append(project(x))
        return out


class DecoderLevel(nn.Module):
    """One side's state at one level, and its increment of the flow hint.

    The parts are projected and added rather than concatenated: on a CPU the copies of a concatenation took as long as
    the convolutions themselves (profiled at 1024 x 1024 on two cores: 1.3 s of 3.0 s).
    """

    def __init__(self, width: int, coarser: int, depth: int) -> None:
        super().__init__()
        self.own = conv(width, width)
        self.partner = conv(width, width, bias=False)
        self.coarser = nn.Conv2d(coarser, width, 1, bias=False) if coarser else None
        self.when = nn.Linear(len(Clues._fields), width, bias=False)
        self.refine = Residual(width, depth)
        self.flow = conv(width, 2)
        nn.init.zeros_(self.flow.weight)
        nn.init.zeros_(self.flow.bias)  # type: ignore[arg-type]

    def forward(
        self, own: Tensor, coarser: Tensor | None, when: Tensor, context: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Merge the parts.

        Args:
            own: [2b, w, y, x] warped features of each side; its partner is the other half of the batch.
            coarser: [2b, w', y/2, x/2] state of the level below, None at the coarsest.
            when: [2b, 7] what each side is told, see :meth:`Clues.sides`.
            context: [b, w, y, x] addend from the damaged section, or None.

        Returns:
            state [2b, w, y, x] and flow increment [2b, 2, y, x] in px of this level.
        """
        x = self.own(own)
        add_partner(x, self.partner(own))
        x += self.when(when)[:, :, None, None]
        if coarser is not None and self.coarser is not None:
            x += F.interpolate(self.coarser(coarser), size=own.shape[-2:], mode="bilinear", align_corners=False)
        if context is not None:
            x += context.repeat(2, 1, 1, 1)
        x = self.refine(x)
        return x, self.flow(F.leaky_relu(x, SLOPE))


def partner_of(x: Tensor) -> Tensor:
    """Exchange the two sides stacked along the batch: [2b, ...] -> [2b, ...]."""
    return torch.roll(x, x.shape[0] // 2, dims=0)


def add_partner(x: Tensor, y: Tensor) -> None:
    """Add to each side's half of ``x`` the other side's half of ``y``, both [2b, ...], in place."""
    b = x.shape[0] // 2
    x[:b] += y[b:]
    x[b:] += y[:b]


def mean_of_sides(x: Tensor) -> Tensor:
    """Average the two sides stacked along the batch: [2b, ...] -> [b, ...]."""
    b = x.shape[0] // 2
    return 0.5 * (x[:b] + x[b:])


class Sides(NamedTuple):
    """The sections around the wanted one, and the fitted filter's answer; each [b, 1, y, x] normalised.

    Args:
        below: nearest section below.
        above: nearest section above; equal to ``below`` when only one side is known.
        far_below: the next one below, 0 without one.
        far_above: the next one above, 0 without one.
        base: answer of the fitted filter.
    """

    below: Tensor
    above: Tensor
    far_below: Tensor
    far_above: Tensor
    base: Tensor


class Answer(NamedTuple):
    """What the network says.

    Args:
        mean: [b, 1, y, x] normalised.
        log_scale: [b, 1, y, x] log of the Laplace scale of the error, normalised.
        flows: displacement of each side, coarse to fine, [2b, 2, y / 2^k, x / 2^k] in px of that level.
    """

    mean: Tensor
    log_scale: Tensor
    flows: list[Tensor]


class InterpolationUNet(nn.Module):
    """Synthesise the section at ``t`` between two others, with its error estimate (see the module's figure)."""

    def __init__(self, config: Config = Config()) -> None:
        super().__init__()
        self.config = config
        w = config.widths
        self.encoder = Encoder(w)
        self.context = Context(w[:-1], config.context)
        self.decoder = nn.ModuleList(
            DecoderLevel(w[i], w[i + 1] if i + 1 < len(w) else 0, depth=2 if i else 1) for i in range(len(w))
        )
        k = UNSHUFFLE**2
        # Blend logit, residual, log scale and gate, at full resolution by pixel shuffle.
        self.head = conv(w[0], 4 * k)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]

    def forward(
        self, sides: Sides, clues: Clues, partial: Tensor | None = None, keep: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Synthesise a section.

        Args:
            sides: the sections, and the base.
            clues: what is known beside them.
            partial: [b, 1, y, x] the damaged section, normalised; None when nothing of it is known.
            keep: [b, 1, y, x] 1 where ``partial`` is intact, 0 elsewhere.

        Returns:
            mean [b, 1, y, x] and log of the Laplace scale [b, 1, y, x], normalised units.
        """
        answer = self.explain(sides, clues, partial, keep)
        return answer.mean, answer.log_scale

    def explain(self, sides: Sides, clues: Clues, partial: Tensor | None = None, keep: Tensor | None = None) -> Answer:
        """Like :meth:`forward`, with the flow hints of all levels: training looks at them."""
        near = torch.cat((sides.below, sides.above))  # [2b, 1, y, x]
        far = torch.cat((sides.far_below, sides.far_above))
        beside = torch.cat((far, sides.base.repeat(2, 1, 1, 1)), dim=1)  # [2b, 2, y, x]
        features = self.encoder(near, beside)
        context: list[Tensor] | None = None
        if partial is not None and keep is not None:
            context = self.context(partial, keep)
        state, flows = self._decode(features, clues.sides().to(near.dtype), context)
        t_side = torch.cat((clues.t, 1 - clues.t)).to(near.dtype)
        return Answer(*self._render(near, sides.base, state, flows[-1], t_side), flows)

    def _decode(
        self, features: list[Tensor], when: Tensor, context: list[Tensor] | None
    ) -> tuple[Tensor, list[Tensor]]:
        """Coarse to fine; returns the finest state [2b, w0, y/2, x/2] and every level's displacement."""
        state: Tensor | None = None
        flow: Tensor | None = None
        flows = []
        for level in range(len(features) - 1, -1, -1):
            own = features[level]
            if flow is not None:
                flow = upsample_flow(flow, (own.shape[-2], own.shape[-1]))
                own = warp(own, flow)
            extra = context[level] if context is not None and level < len(context) else None
            state, step = self.decoder[level](own, state, when, extra)
            flow = self._bounded(step if flow is None else flow + step, level)
            flows.append(flow)
        assert state is not None
        return state, flows

    def _bounded(self, flow: Tensor, level: int) -> Tensor:
        limit = self.config.max_displacement / (UNSHUFFLE * 2**level)
        bounded: Tensor = limit * torch.tanh(flow / limit)
        return bounded

    def _render(self, near: Tensor, base: Tensor, state: Tensor, flow: Tensor, t_side: Tensor) -> tuple[Tensor, Tensor]:
        full = F.pixel_shuffle(self.head(F.leaky_relu(state, SLOPE)), UNSHUFFLE)  # [2b, 4, y, x]
        logit, residual, log_scale, gate = full.chunk(4, dim=1)
        warped = warp(near, upsample_flow(flow, (near.shape[-2], near.shape[-1])))
        # With logits of 0 this prior makes the weights those of linear interpolation.
        prior = torch.log((1 - t_side).clamp(1e-3, 1.0)).view(-1, 1, 1, 1)
        weight: Tensor = torch.sigmoid(logit + prior - partner_of(logit + prior))
        moved, rest, scale, g = (mean_of_sides(x) for x in (2 * weight * warped, residual, log_scale, gate))
        return base + g * (moved - base) + rest, scale - 1.0
