"""How our alignment network is trained: on known distortions, against an adversary of reslices, on real pairs.

*Known distortions* (objective "warps"): the network answers a pair with a field ``u`` and the length ``b`` of its
expected error, and is told the distortions ``u*`` (:mod:`napari_emsynth.training.samples.registration`)::

    N = |u - u*| / b + 2 log b                       likelihood of an error of length |u - u*|        (1)
    C = sum_l w_l (|u_l - u*| + e)^q                 the same error on the way, coarse to fine        (2)

*Hybrid* (objective "hybrid") goes on from there. Small stacks are jittered, all neighbouring pairs measured, the
fields added up along z, what is slow along z taken out, and the stack is warped::

    T_z = sum_{j <= z} u_{j, j-1},   D = T - G_z * T,   W_z(p) = S_z(p + D_z(p))                      (3)
    A = -log critic(xz or yz reslice of W)           real = xy sections of the stack                  (4)
    F = mean_p 1 - cos(f(moving)(p + u), f(fixed))   features of the pair, encoder held still         (5)
    R = mean_p |grad D + grad D^T|^2                 springs: shear and stretch cost, rotation not    (6)
    loss = N / 10 + C + lambda_F F + lambda_R R + lambda_A A                                          (7)

by Algorithm 1 of Jain 2017, whose alignment section the adversary comes from: but what it moves here are fields, so
that no voxel is ever made up.

*Equivariant* (objective "equivariant") goes on with real neighbours, between which nothing is known. But whatever
that is, an answer has to follow a known ``g`` that the fixed section is pulled by, both answers the network's own::

    E = sum_l w_l (|u_g,l - (g + u_0 o (id + g))| + e)^q,   loss = N / 10 + C + lambda_E E            (8)

Sections that may lie beside each other in their stack, as thick ones do, are known to lie right on themselves alone:
of those N and C are shown the same section twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.random import Generator
from torch import Tensor, nn

from napari_emsynth.fields.distortion import Distortion
from napari_emsynth.models.alignment_net import STRIDE, AlignmentNet, Answer, Config
from napari_emsynth.models.jain2017 import CriticConfig, Discriminator
from napari_emsynth.nn.warp import followed, inside, warp
from napari_emsynth.training import recipe
from napari_emsynth.training.adversarial import AdversarialRecipe, Scheme
from napari_emsynth.training.data import TrainingData
from napari_emsynth.training.samples.registration import Pairs, SectionPairs, Simulation, Triples
from napari_emsynth.training.samples.reslices import random_reslices, random_sections
from napari_emsynth.training.samples.stacks import StackSamples
from napari_emsynth.volume import Array

# Pixel sizes the training samples stand for: 10 nm, magnified 0.8 to 2.5 times.
VOXEL_NM = (4.0, 20.0)
# Weights of (2), coarse to fine, and its exponent: below 1, small errors of many count as much as large ones of few.
LEVEL_WEIGHTS, EXPONENT = (0.1, 0.15, 0.2, 0.25, 0.3), 0.7
# Expected errors are at least this long, px: what interpolation alone leaves.
LEAST_SCALE_PX = 0.02
# Sections that an untrained network's features are calibrated on.
CALIBRATION = 16
# Validation: so many pairs of each kind, of sections this large, this many sections apart.
TEST_PAIRS, TEST_SIZE, TEST_GAP = 16, 256, 2
TEST = Simulation(
    max_gap=TEST_GAP, magnify=(1.0, 1.6), shift_px=(1.0, 2.0), rotation_deg=0.5, warp_px=(2.0, 3.0),
    wavelength_px=(32.0, 64.0), strangers=0.0, spoiled=0.0, noise_max=0.5,
)  # fmt: skip
# Hybrid: sections of a small stack and edge of what is warped, px; the reslices are as high as the stack.
STACK, EDGE, IMAGES = 24, 64, 6
JITTER = Distortion(shift_px=1.5, rotation_deg=0.4, warp_px=0.8, wavelength_px=32.0)
# (3): sections over which drift is slow.
SLOW_SECTIONS = 3.0
# (7), beside the adversary's weight.
FEATURE_WEIGHT, SPRING_WEIGHT = 0.05, 1.0
# Equivariant: what real neighbours look like, and how much larger thick sections' pixels are shown; weight of (8).
REAL = Simulation(
    max_gap=4, magnify=(0.8, 2.0), shift_px=(0.5, 4.0), warp_px=(1.0, 5.0), wavelength_px=(24.0, 96.0),
    same=0.0, strangers=0.0, spoiled=0.05, noise_max=0.5,
)  # fmt: skip
THICK_MAGNIFY = (0.5, 1.5)
EQUIVARIANCE_WEIGHT = 1.0


class Warps(recipe.Recipe):
    """Learns from known distortions: (1) and (2).

    Args:
        data: blocks to learn from and to be scored on.
        start: weights to start from, or None.
        config: sizes of the network as JSON, None for the defaults.
        simulation: what pairs look like; None for the defaults.
        batch: pairs a step; None for the recipe's own.
        size: edge of the sections, px.
    """

    method = "align/emsynth"
    objective = "warps"
    voxel_nm = VOXEL_NM
    usual_batch = 4
    architecture, sizes = AlignmentNet, Config

    def __init__(
        self,
        data: TrainingData,
        start: dict[str, Tensor] | None = None,
        config: dict[str, Any] | None = None,
        *,
        simulation: Simulation | None = None,
        batch: int | None = None,
        size: int = 192,
    ) -> None:
        self.data, self.start, self.count = data, start, batch or self.usual_batch
        self.config = Config.from_json(config or {})
        edge = min(size, *(n // self.config.multiple * self.config.multiple for n in _smallest(data)))
        self.samples = SectionPairs(data.blocks, axes=data.axes, size=edge, simulation=simulation or Simulation())
        self.prepare()

    def prepare(self) -> None:
        """Set up what else is learned from."""

    def network(self) -> nn.Module:
        """Build the network to train; without starting weights its features are calibrated on a batch."""
        network = super().network()
        if self.start is None:
            assert isinstance(network, AlignmentNet)
            network.encoder.calibrate(self.samples.batch(np.random.default_rng(0), CALIBRATION).fixed)
        return network

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Draw a batch and return N / 10 + C with their terms."""
        pairs = self.samples.batch(rng, self.count).to(device)
        return pair_loss(pairs, network(pairs.moving, pairs.fixed))

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """End-point errors in px on held-out sections: of a section against itself, and against a neighbour.

        ``score`` falls with the logarithm of both: a tenth off either counts the same.
        """
        errors = {name: self._error(network, device, same) for name, same in (("same", 1.0), ("gap", 0.0))}
        score = -float(np.mean([np.log(e) for e in errors.values()]))
        return {**{f"epe_{name}": e for name, e in errors.items()}, "score": score}

    def _error(self, network: nn.Module, device: torch.device, same: float) -> float:
        found = []
        for samples in self._judges(self.data.held_out, replace(TEST, same=same)):
            rng = np.random.default_rng(0)
            for _ in range(TEST_PAIRS // 4):
                pairs = samples.batch(rng, 4).to(device)
                answer = network(pairs.moving, pairs.fixed).displacement
                found.append(float(length(at_level(pairs.displacement, answer) - answer).mean()))
        return float(np.mean(found))

    def _judges(self, blocks: Sequence[Array], simulation: Simulation) -> Iterator[SectionPairs]:
        """Yield what draws the samples that judge, block by block."""
        for block in blocks:
            edge = min(TEST_SIZE, *(n // self.config.multiple * self.config.multiple for n in block.shape[1:]))
            yield SectionPairs([block], size=edge, simulation=simulation)


@dataclass(frozen=True)
class Minibatch:
    """What a step of the hybrid sees: known pairs, and a small jittered stack [1, z, y, x] normalised."""

    pairs: Pairs
    stack: Tensor


@dataclass(frozen=True)
class Output:
    """What the network makes of it.

    Args:
        known: answer to the known pairs.
        fields: [z - 1, 2, y, x] px, every section of the stack onto the one before it.
        features: (5) of those pairs, a scalar.
        pulled: [z, 2, y, x] the distortions D of (3).
        warped: [1, z, y, x] W of (3).
    """

    known: Answer
    features: Tensor
    pulled: Tensor
    warped: Tensor


class Hybrid(AdversarialRecipe, Warps):
    """Goes on against an adversary of reslices: (7); the arguments are those of :class:`Warps`."""

    objective = "hybrid"
    scheme = Scheme(adversarial=0.02)
    usual_batch = 2

    def prepare(self) -> None:
        """Set up the small stacks."""
        data = self.data
        self.depth = STACK
        # Stacks are read with as much around them as jitter may pull in.
        self.margin = 8
        self.edge = min(EDGE, *(n // self.config.multiple * self.config.multiple for n in _smallest(data)))
        wide = min(self.edge + 2 * self.margin, *_smallest(data))
        self.stacks = StackSamples(data.blocks, axes=data.axes, size=(STACK, wide, wide))

    def discriminator(self) -> nn.Module:
        """The single-image discriminator of Jain 2017, section 4.1, on images as high as the stack."""
        return Discriminator(CriticConfig(images=1, size=self.depth))

    def minibatch(self, rng: Generator, device: torch.device) -> Minibatch:
        """Draw known pairs, and a stack whose sections are distorted one by one."""
        pairs = self.samples.batch(rng, self.count).to(device)
        stack = torch.from_numpy(self.stacks.draw(rng))[:, None]  # [z, 1, Y, X]
        shape = (stack.shape[-2], stack.shape[-1])
        jitter = torch.from_numpy(np.stack([JITTER.draw(rng, shape) for _ in range(self.depth)]))
        cut = (shape[0] - self.edge) // 2
        seen = warp(stack, jitter)[:, 0, cut : cut + self.edge, cut : cut + self.edge]
        return Minibatch(pairs, seen[None].to(device))

    def generate(self, network: nn.Module, batch: Minibatch) -> Output:
        """Measure the pairs, and pull the stack straight: (3)."""
        assert isinstance(network, AlignmentNet)
        known = network(batch.pairs.moving, batch.pairs.fixed)
        sections = batch.stack[0][:, None]  # [z, 1, y, x]
        features = network.encoder(sections)
        answer = network.match([f[1:] for f in features], [f[:-1] for f in features])
        unlike = features_apart(features[0][1:], features[0][:-1], answer.displacement)
        nodes = torch.cat((torch.zeros_like(answer.displacement[:1]), answer.displacement))
        pulled = F.interpolate(straightened(nodes), size=sections.shape[-2:], mode="bilinear", align_corners=False)
        return Output(known, unlike, pulled, warp(sections, pulled)[:, 0][None])

    def fakes(self, batch: Minibatch, output: Output, rng: Generator) -> Tensor:  # noqa: ARG002 - the common signature
        """Reslices of the warped stack, [n, 1, z, z]."""
        cut = (self.edge - self.depth) // 2
        middle = slice(cut, cut + self.depth)
        return random_reslices(output.warped[:, :, middle, middle], IMAGES, rng)

    def reals(self, batch: Minibatch, rng: Generator) -> Tensor:
        """Sections of the stack, cut to the same size."""
        return random_sections(batch.stack, IMAGES, (self.depth, self.depth), rng)

    def pixel_term(self, batch: Minibatch, output: Output) -> Tensor:
        """Return all of (7) but the adversary."""
        known, _ = pair_loss(batch.pairs, output.known)
        return known + FEATURE_WEIGHT * output.features + SPRING_WEIGHT * springs(output.pulled)


class Equivariant(Warps):
    """Goes on with real neighbours: (8); the arguments are those of :class:`Warps`.

    It learns from thick sections too, where the data hold any.
    """

    objective = "equivariant"
    usual_batch = 2

    def prepare(self) -> None:
        """Set up real neighbours."""
        data = self.data
        edge = self.samples.size
        self.known = [self.samples]
        self.real = [SectionPairs(data.blocks, axes=data.axes, size=edge, simulation=REAL)]
        if data.thick:
            alike = replace(self.samples.simulation, same=1.0, magnify=THICK_MAGNIFY)
            beside = replace(REAL, max_gap=1, magnify=THICK_MAGNIFY)
            self.known.append(SectionPairs(data.thick, size=edge, simulation=alike))
            self.real.append(SectionPairs(data.thick, size=edge, simulation=beside))

    def loss(self, network: nn.Module, rng: Generator, device: torch.device) -> tuple[Tensor, recipe.Figures]:
        """Draw known pairs and real neighbours; return (8) with its terms."""
        assert isinstance(network, AlignmentNet)
        pairs = self.known[rng.integers(len(self.known))].batch(rng, self.count).to(device)
        known, terms = pair_loss(pairs, network(pairs.moving, pairs.fixed))
        triples = self.real[rng.integers(len(self.real))].triples(rng, self.count).to(device)
        apart, eqe = equivariance(triples.warp, *answers(network, triples))
        return known + EQUIVARIANCE_WEIGHT * apart, {**terms, "eqe": eqe}

    def validate(self, network: nn.Module, device: torch.device) -> dict[str, float]:
        """The same errors, and the equivariance error in px on held-out neighbours, fine ones and thick ones."""
        found = super().validate(network, device)
        kinds = {"eqe_gap": (self.data.held_out, TEST_GAP), "eqe_thick": (self.data.thick_held_out, 1)}
        errors = {name: self._unequal(network, device, *kind) for name, kind in kinds.items() if kind[0]}
        logs = [np.log(e) for e in (found["epe_same"], found["epe_gap"], *errors.values())]
        return {**found, **errors, "score": -float(np.mean(logs))}

    def _unequal(self, network: nn.Module, device: torch.device, blocks: Sequence[Array], gap: int) -> float:
        """Return the mean equivariance error on the neighbours of some blocks, px."""
        assert isinstance(network, AlignmentNet)
        found = []
        for samples in self._judges(blocks, replace(TEST, same=0.0, max_gap=gap)):
            rng = np.random.default_rng(0)
            for _ in range(TEST_PAIRS // 4):
                triples = samples.triples(rng, 4).to(device)
                found.append(float(equivariance(triples.warp, *answers(network, triples))[1]))
        return float(np.mean(found))


def _smallest(data: TrainingData) -> list[int]:
    """Return the smallest size along the section's axes that any reslice direction has."""
    return [min(b.shape[i] for b in data.blocks for i in range(3) if len(data.axes) == 3 or i > 0)]


# ---------------------------------------------------------------------------------- terms


def length(vectors: Tensor) -> Tensor:
    """Length of vectors [b, 2, y, x] -> [b, 1, y, x]; differentiable at 0."""
    return (vectors.square().sum(1, keepdim=True) + 1e-8).sqrt()


def at_level(displacement: Tensor, like: Tensor) -> Tensor:
    """Average a dense displacement [b, 2, y, x] over the nodes of ``like`` [b, 2, y / s, x / s]; px stay px."""
    return F.interpolate(displacement, size=like.shape[-2:], mode="area")


def pair_loss(pairs: Pairs, answer: Answer) -> tuple[Tensor, dict[str, Tensor]]:
    """Return N / 10 + C and their terms. Sections that do not overlap only teach that their answer is worth nothing."""
    related = pairs.related.view(-1, 1, 1, 1)
    error = length(at_level(pairs.displacement, answer.displacement) - answer.displacement)
    scale = answer.log_scale.clamp(min=float(np.log(LEAST_SCALE_PX)), max=5.0)
    kept = torch.where(related > 0, error, error.detach())
    likelihood = (kept * torch.exp(-scale) + 2 * scale).mean()  # (1)
    epe = counted(error, related)
    loss = 0.1 * likelihood + on_the_way(answer, pairs.displacement, related)
    return loss, {"epe": epe.detach(), "likelihood": likelihood.detach()}


def on_the_way(answer: Answer, truth: Tensor, counts: Tensor) -> Tensor:
    """Return (2) against a dense truth [b, 2, y, x]; ``counts`` [b, 1, y, x] or [b, 1, 1, 1] 1 where it is known."""
    total = truth.new_zeros(())
    for weight, level in zip(LEVEL_WEIGHTS[-len(answer.levels) :], answer.levels, strict=True):
        off = length(at_level(truth, level) - level)
        total = total + weight * counted((off + 0.01) ** EXPONENT, at_level(counts, level))  # (2)
    return total


def counted(values: Tensor, counts: Tensor) -> Tensor:
    """Return the mean of what counts; a batch of which less than a quarter counts has less say."""
    return (values * counts).mean() / counts.mean().clamp_min(0.25)


def answers(network: AlignmentNet, triples: Triples) -> tuple[Answer, Answer]:
    """Return the answers u_0 and u_g of (8), each section's features computed once."""
    features = network.encoder(torch.cat((triples.moving, triples.fixed, triples.warped)))
    thirds = [f.chunk(3) for f in features]
    both = network.match([torch.cat((m, m)) for m, _, _ in thirds], [torch.cat(t[1:]) for t in thirds])
    (u_0, u_g), (b_0, b_g) = both.displacement.chunk(2), both.log_scale.chunk(2)
    levels = [level.chunk(2) for level in both.levels]
    return Answer(u_0, b_0, [a for a, _ in levels]), Answer(u_g, b_g, [b for _, b in levels])


def equivariance(g: Tensor, plain: Answer, warped: Answer) -> tuple[Tensor, Tensor]:
    """Return E of (8), and the error at the end in px; places pulled from beyond the section do not count.

    Args:
        g: [b, 2, y, x] px, by which the fixed section was pulled.
        plain: answer to the pair as it is.
        warped: answer to the pair with the fixed section pulled.
    """
    dense = F.interpolate(plain.displacement, size=g.shape[-2:], mode="bilinear", align_corners=False)
    due, counts = followed(g, dense), inside(g)
    off = length(at_level(due, warped.displacement) - warped.displacement)
    return on_the_way(warped, due, counts), counted(off, at_level(counts, off)).detach()  # (8)


def straightened(steps: Tensor) -> Tensor:
    """Return D of (3), [z, 2, y, x], from fields of every section onto the one before it; the first row is 0."""
    total = torch.cumsum(steps, dim=0)
    z = torch.arange(len(total), device=total.device, dtype=total.dtype)
    weights = torch.exp(-0.5 * ((z[:, None] - z[None, :]) / SLOW_SECTIONS) ** 2)
    slow = torch.einsum("az,zcyx->acyx", weights / weights.sum(1, keepdim=True), total)
    return total - slow  # (3)


def features_apart(moving: Tensor, fixed: Tensor, displacement: Tensor) -> Tensor:
    """Return (5), 0 to 2, of features of unit length [b, c, y, x] and a displacement [b, 2, y, x] in full-size px."""
    pulled = warp(moving.detach(), displacement / STRIDE)
    return 1 - F.cosine_similarity(pulled, fixed.detach(), dim=1).mean()  # (5)


def springs(displacement: Tensor) -> Tensor:
    """Return (6) of displacements [z, 2, y, x] px: 0 for shifts and small rotations."""
    dy = displacement[..., 1:, :-1] - displacement[..., :-1, :-1]  # [z, 2, y, x] d / dy
    dx = displacement[..., :-1, 1:] - displacement[..., :-1, :-1]
    stretch = 4 * (dy[:, 0] ** 2 + dx[:, 1] ** 2)
    shear = 2 * (dx[:, 0] + dy[:, 1]) ** 2
    return (stretch + shear).mean()  # (6)
