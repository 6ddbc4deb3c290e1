"""A plain residual network that sees five sections, and says how far off it expects to be.

The network's answer ``y'`` to sections ``x``, and the half width ``h`` of the 90 % interval::

    y' = bicubic(x_0) + r(x_-2 .. x_2),   h = k exp(s(x_-2 .. x_2))                            (1)

with ``k`` measured on held-out sections. It has no prior: what it draws it has from the sections themselves. Its
figure and sizes are in :mod:`napari_emsynth.models.single_stage`, how it is trained in
:mod:`napari_emsynth.methods.superres.single_stage.recipe`.
"""

from __future__ import annotations

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.finer import FromNetwork
from napari_emsynth.methods.superres.single_stage.recipe import X8, X16
from napari_emsynth.models.single_stage import SingleStage
from napari_emsynth.spec import MethodSpec


def method(network: SingleStage, confidence: Confidence) -> FromNetwork:
    """Return the network as a method."""
    c = network.config
    return FromNetwork(network, confidence, factor=c.factor, sections=c.sections, halo=c.halo)


SPEC = MethodSpec(
    task="superres",
    id="single-stage",
    title="Single stage",
    summary="A residual network that sees five sections and draws the middle one finer, with an error estimate. "
    "It has no generative prior.",
    paper="the plain network that Shou et al. 2024 must be measured against; Lim et al. 2017",
    build=learned(X8, lambda network, card, _params: method(network, Confidence.of(card))),
    weights=("x8", "x16"),
    keeps_acquired=False,
    has_uncertainty=True,
    recipes={"x8": X8, "x16": X16},
    factors=(8, 16),
)
