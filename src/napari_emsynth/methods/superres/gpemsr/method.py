"""GPEMSR (Shou et al. 2024): five sections and a learned codebook of fine ones make one fine section.

The network's answer ``y'`` to sections ``x``, and the half width ``h`` of the 90 % interval::

    e  = argmax indexer(x_0),   g = features of decoder(codes_e)                               (1)
    y' = bicubic(x_0) + r(x_-2 .. x_2, mask g),   h = k exp(s(x_-2 .. x_2, mask g))            (2)

with ``k`` measured on held-out sections, and the ``mask`` in [0, 1] that tells where the codebook rather than the data
speaks. Stage I learns the codes (:mod:`.gpemsr_codebook`), stage II the indexer (:mod:`.gpemsr_indexer`), stage III
everything else (:mod:`.gpemsr_reconstruction`); the figure and the sizes are in
:mod:`napari_emsynth.models.gpemsr.gpemsr`.

The codebook draws what fine sections of its training data look like. At a factor of 16 a code stands for one acquired
pixel: what is finer than that is invented. The task makes block means equal to what was acquired, and no more than that
is certain.
"""

from __future__ import annotations

from napari_emsynth.methods.building import learned
from napari_emsynth.methods.superres.confidence import Confidence
from napari_emsynth.methods.superres.finer import FromNetwork
from napari_emsynth.methods.superres.gpemsr.recipe import X8, X16
from napari_emsynth.models.gpemsr.gpemsr import GPEMSR
from napari_emsynth.spec import MethodSpec


def method(network: GPEMSR, confidence: Confidence) -> FromNetwork:
    """Return the network as a method."""
    c = network.config
    return FromNetwork(network, confidence, factor=c.factor, sections=c.sections, halo=c.halo, multiple=c.multiple)


SPEC = MethodSpec(
    task="superres",
    id="gpemsr",
    title="Generative priors (GPEMSR)",
    summary="Draws each section finer from itself, its neighbours and a learned codebook of fine sections, with an "
    "error estimate and a mask of where the codebook speaks. It invents detail that looks right.",
    paper="Shou et al. 2024, Learning large-factor EM image super-resolution with generative priors",
    build=learned(X8, lambda network, card, _params: method(network, Confidence.of(card))),
    weights=("x8", "x16"),
    keeps_acquired=False,
    has_uncertainty=True,
    has_prior=True,
    recipes={"x8": X8, "x16": X16},
    factors=(8, 16),
)
