"""Our own default: what a fitted filter leaves over, by a siamese U-Net with a flow hint, swap-symmetric.

With up to four sections, of which ``a`` (below) and ``b`` (above) are the nearest, ``B`` the answer of the filter that
is fitted on the open volume itself (:mod:`napari_emsynth.methods.interpolate.fit`), ``t`` in (0, 1) and side
displacements ``u_a``, ``u_b``::

    w_a = sigmoid(l_a - l_b),  l_s = logit_s + log(1 - t_s),  t_a = t, t_b = 1 - t             (1)
    mean = B + g (w_a a(p + u_a) + w_b b(p + u_b) - B) + (r_a + r_b) / 2                       (2)
    half width of the 90 % interval = k exp(s),  k from held-out sections (ln 10 for a Laplace law)   (3)

The loss (4) is with its recipe, :mod:`napari_emsynth.methods.interpolate.emsynth.recipe`. Five other guesses of the
mean are offered to the self-check, which mixes them in as far as the user's own sections ask for it (on noisy, badly
aligned sections they ask for the first, on smooth ones of another microscope for the last)::

    G_2 * mean,   B,   (1 - t) a + t b,   G_1 * ((1 - t) a + t b),   a and b moved half way along a classical flow   (5)

The heads start at zero, so that training starts at the filter.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor, nn

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.interpolate.emsynth.recipe import Natural, Recipe
from napari_emsynth.methods.interpolate.optical_flow import quick_half_way
from napari_emsynth.methods.interpolate.protocol import Gap, Synthesis
from napari_emsynth.models.interpolation_unet import Clues, InterpolationUNet, Sides, clues_of
from napari_emsynth.params import Params
from napari_emsynth.spec import MethodSpec, Runtime
from napari_emsynth.tiling.run import run
from napari_emsynth.weights.card import Card

# Cores of this edge keep the halo's share of the work small; memory stays under 1 GB.
TILE = 1024
# Widths of the rivals' blur in px: of the network's own mean, and of linear interpolation.
RIVAL_BLUR_PX, FLOOR_BLUR_PX = 2.0, 1.0


class AtPosition(nn.Module):
    """The network at one position of one gap, as the engine wants it: channels in, channels out."""

    def __init__(self, network: InterpolationUNet, clues: tuple[float, ...]) -> None:
        super().__init__()
        self.network, self.clues = network, clues

    def forward(self, x: Tensor) -> Tensor:
        """[b, 5 or 7, y, x] (the five of Sides, and partial, keep) -> [b, 2, y, x] mean and log scale."""
        channels = x.chunk(x.shape[1], dim=1)
        return torch.cat(self.network(Sides(*channels[:5]), Clues.filled(self.clues, x), *channels[5:]), dim=1)


class Emsynth:
    """The built method: the network and what its card says."""

    halo = 64
    fitted = True

    def __init__(self, network: InterpolationUNet, factor: float, *, cautious: bool = True) -> None:
        self.network, self.factor, self.cautious = network.eval(), factor, cautious

    def __call__(self, gap: Gap, runtime: Runtime) -> Synthesis:
        """Synthesise one section, tile by tile."""
        if not (gap.below.any() or gap.above.any()):
            # Both sections are constant: nothing moves, and nothing may be invented.
            return Synthesis(np.zeros_like(gap.below))
        empty = np.zeros_like(gap.below)
        far = [empty if section is None else section for section in (gap.far_below, gap.far_above)]
        base = gap.fit.mean(gap)
        channels = [gap.below, gap.above, *far, base]
        if gap.partial is not None and gap.keep is not None:
            channels += [gap.partial * gap.keep, gap.keep]
        mean, log_scale = run(
            AtPosition(self.network, clues_of(gap.offsets, gap.below, gap.above, gap.fit.error)),
            np.stack(channels),
            halo=self.halo,
            runtime=runtime,
            tile=TILE,
            multiple=self.network.config.multiple,
            faces="inside",
            out_channels=2,
        )
        if not self.cautious:
            return Synthesis(mean, np.exp(log_scale))
        linear = gap.linear
        candidates = (  # (5)
            lambda: gaussian_filter(mean, RIVAL_BLUR_PX),
            lambda: base,
            lambda: linear,
            lambda: gaussian_filter(linear, FLOOR_BLUR_PX),
            lambda: quick_half_way(gap.below, gap.above, gap.t),
        )
        return Synthesis(mean, np.exp(log_scale), candidates)


def made(network: InterpolationUNet, card: Card, _params: Params) -> Emsynth:
    """Return the method. Mixing would take back the sharpness that the natural weights are for."""
    return Emsynth(network, card.factor, cautious=card.objective != Natural.objective)


SPEC = MethodSpec(
    task="interpolate",
    id="emsynth",
    title="EMSynth",
    summary="A network that follows what moves between the sections and synthesises the missing one, "
    "with an error estimate. Repairs whole sections, runs of them, and damaged parts.",
    paper="this package; the U-Net and hybrid asked for in Jain 2017, section 6",
    build=learned(Recipe, made),
    weights=("accurate", "natural"),
    has_uncertainty=True,
    recipes={"accurate": Recipe, "natural": Natural},
)
