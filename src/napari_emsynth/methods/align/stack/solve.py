"""The stack solver: one displacement a section, from the displacements measured between pairs of sections.

A section's distortion is smooth in plane and knows nothing of its neighbours'; the motion of neurites is free in
plane and slow along z. The measured fields hold both, and the solver explains them by both::

    T_z = D_z + M_z                              what lies on what: distortion and motion             (1)
    r_zk(p) = T_z(p) - T_{z-k}(p) - f_zk(p + D_{z-k}(p))                                              (2)
    E = sum_zk w_zk rho(r_zk)                    the measured fields, each node as far as it is trusted
        + bend   |d_pp D|^2                      springs in plane, cut where a section may tear
        + stay   sum_z s_z |D_z|^2               distortions are short, but for a few sections
        + steady |d_zz M|^2                      tissue goes on as it went; of two sections, it stays (3)

with ``rho`` the Geman-McClure penalty, and ``s_z = 1 / (1 + mean |D_z|^2 / outlier^2)`` looked up anew every turn: one
section that jumped is moved back, and the others do not come to meet it. ``D`` is the answer. What is slow along z
costs ``M`` nothing: so the slow true drift of structures stays in the stack, and slanted neurites are not straightened.

Conventions: fields are [2, y', x'] (dy, dx) px of the full-size section on cell-centred nodes, pull. Laws: pairs that
agree with a slow drift give zero; the answer does not depend on how the sections are told apart from each other by
constant gain; a section nobody vouches for gets zero; a reference section keeps zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from napari_emsynth.volume import Float

Float64 = NDArray[np.float64]

# Conjugate gradients stop at this share of the first residual, or after so many steps.
TOLERANCE, STEPS = 1e-3, 150
# Nodes along an axis up to which curvature is taken by a matrix: 0.02 ms of 12 x 2 x 8 x 8 nodes, else 0.1.
SHORT = 64


@dataclass(frozen=True, kw_only=True)
class Prior:
    """What is known of distortions and of motion before anything is measured.

    Args:
        bend: weight of the springs, per node.
        stay: weight of short distortions, per node.
        steady: weight of steady motion, per node.
        outlier_px: residuals beyond this have little say.
        turns: how often outliers are told again, and (2) is looked up again.
    """

    bend: float = 7.0
    stay: float = 0.01
    steady: float = 3.0
    outlier_px: float = 3.0
    turns: int = 4


@dataclass(frozen=True, eq=False)
class Measured:
    """A field between two sections.

    Args:
        section: that is moved.
        onto: the section it is moved onto.
        displacement: [2, y', x'] (dy, dx) px.
        trust: [y', x'] 0 to 1.
    """

    section: int
    onto: int
    displacement: Float
    trust: Float


@dataclass(frozen=True, eq=False)
class Solution:
    """What the solver found.

    Args:
        distortion: [z, 2, y', x'] (dy, dx) px.
        confidence: [z, y', x'] 0 to 1: trust in what was measured there, outliers discounted.
        known: [z] True for sections that something was measured about.
    """

    distortion: Float
    confidence: Float
    known: NDArray[np.bool_]

    @classmethod
    def nothing(cls, sections: int, nodes: tuple[int, int]) -> Solution:
        """Return what is known before anything is measured: zero everywhere."""
        return cls(
            np.zeros((sections, 2, *nodes), np.float32),
            np.zeros((sections, *nodes), np.float32),
            np.zeros(sections, bool),
        )


def solve(
    sections: int,
    measured: Sequence[Measured],
    prior: Prior,
    *,
    node_px: tuple[float, float],
    fixed: Sequence[int] = (),
    stiffness: Float | None = None,
) -> Solution:
    """Return the distortions D of (3) and how far they can be trusted.

    Args:
        sections: how many there are.
        measured: fields between pairs of them; all on the same nodes.
        prior: weights.
        node_px: distance of the nodes along y and x, px.
        fixed: sections whose distortion is zero.
        stiffness: [z, y', x'] 0 to 1: springs are weakened by it where a section may tear; None for 1 everywhere.
    """
    system = _System(sections, measured, prior, node_px, fixed, stiffness)
    unknown = np.zeros((2, sections, 2, *measured[0].displacement.shape[1:]))  # D and M
    for turn in range(prior.turns):
        system.look_up(unknown, tell_outliers=turn > 0)
        unknown = system.minimum(unknown)
    return Solution(unknown[0].astype(np.float32), system.confidence(), system.vouched_for())


def left_alone(distortion: Float, leave_px: float) -> Float:
    """Return distortions [z, 2, y', x'] of a section as they are, or zero where the whole section's are small.

    What the solver finds in a stack that nothing is wrong with is the tissue's own wobble: half a pixel from one
    section to the next at 20 nm in FIB-SEM. It cannot be told from a small jitter, but from a large one it can.
    Between ``leave_px`` (root mean square over the section) and twice that, the share that is kept rises to 1.
    """
    rms = np.sqrt((distortion**2).sum(1).mean((1, 2)))[:, None, None, None]
    share = np.clip(rms / leave_px - 1, 0, 1) if leave_px > 0 else 1.0
    return np.asarray(distortion * share, np.float32)


class _System:
    """The quadratic problem of one turn: weights and right-hand side fixed."""

    def __init__(
        self,
        sections: int,
        measured: Sequence[Measured],
        prior: Prior,
        node_px: tuple[float, float],
        fixed: Sequence[int],
        stiffness: Float | None,
    ) -> None:
        self.prior, self.node_px = prior, node_px
        self.a = np.array([m.section for m in measured])
        self.b = np.array([m.onto for m in measured])
        self.between = np.zeros((len(measured), sections))  # [pair, z] 1 for the section, -1 for what it is moved onto
        self.between[range(len(measured)), self.a] = 1.0
        self.between[range(len(measured)), self.b] = -1.0
        self.fields = np.stack([m.displacement for m in measured]).astype(np.float64)  # [pair, 2, y', x']
        self.trust = np.stack([m.trust for m in measured]).astype(np.float64)[:, None]  # [pair, 1, y', x']
        self.free = np.ones((2, sections, 1, 1, 1))  # of D and M; a fixed section's M is free
        self.free[0, list(fixed)] = 0.0
        self.springs = None if stiffness is None else np.asarray(stiffness, np.float64)[:, None]
        self.bent = [_curvature(np.eye(n), 0, None) for n in self.fields.shape[2:] if n <= SHORT]
        self.unsteady = _curvature(np.eye(sections), 0, None) if sections > 2 else _slope(np.eye(sections))
        self.targets, self.weights = self.fields, self.trust
        self.stay = np.full((sections, 1, 1, 1), prior.stay)

    def look_up(self, unknown: Float64, *, tell_outliers: bool) -> None:
        """Read the fields where the aligned sections are, and tell outliers: (2) and the weights of rho."""
        distortion, total = unknown[0], unknown.sum(0)
        self.targets = np.stack(
            [_sampled(f, distortion[b], self.node_px) for f, b in zip(self.fields, self.b, strict=True)]
        )
        if tell_outliers:
            square = (distortion**2).sum(1).mean((1, 2))[:, None, None, None]
            self.stay = self.prior.stay / (1 + square / self.prior.outlier_px**2)
            off = ((_times(self.between, total) - self.targets) ** 2).sum(1, keepdims=True)
            self.weights = self.trust / (1 + off / self.prior.outlier_px**2) ** 2

    def confidence(self) -> Float:
        """Return [z, y', x']: the mean weight of a section's measurements."""
        sides = np.abs(self.between).T  # [z, pair]
        total, count = _times(sides, self.weights[:, 0]), sides.sum(1)
        return np.asarray(total / np.maximum(count, 1)[:, None, None], np.float32)

    def vouched_for(self) -> NDArray[np.bool_]:
        """Return [z] True for sections that something was measured about."""
        return np.asarray(self.between.any(0))

    def minimum(self, start: Float64) -> Float64:
        """Solve the normal equations by preconditioned conjugate gradients."""
        scale = self.free / self._diagonal()
        x = start * self.free
        residual = (self._right_side() - self._product(x)) * self.free
        z = scale * residual
        direction, rz = z.copy(), float(np.vdot(residual, z))
        first = max(rz, 1e-30)
        for _ in range(STEPS):
            if rz <= TOLERANCE**2 * first or rz == 0.0:
                break
            image = self._product(direction)
            alpha = rz / float(np.vdot(direction, image))
            x += alpha * direction
            residual -= alpha * image
            z = scale * residual
            rz, last = float(np.vdot(residual, z)), rz
            direction = z + (rz / last) * direction
        return x

    def _right_side(self) -> Float64:
        side = _times(self.between.T, self.weights * self.targets)
        return np.stack((side, side))

    def _product(self, x: Float64) -> Float64:
        """Return half the gradient of the quadratic part of (3) at [D, M]; of fixed sections it does not matter."""
        data = _times(self.between.T, self.weights * _times(self.between, x[0] + x[1]))
        steady = self.prior.steady * _times(self.unsteady, x[1])
        return np.stack((data + self.prior.bend * self._sprung(x[0]) + self.stay * x[0], data + steady + 1e-6 * x[1]))

    def _sprung(self, x: Float64) -> Float64:
        """Return half the gradient of |d_pp D|^2 along y and x."""
        if self.springs is None and len(self.bent) == 2:
            return np.asarray(self.bent[0] @ x + x @ self.bent[1])
        return _curvature(x, 2, self.springs) + _curvature(x, 3, self.springs)

    def _diagonal(self) -> Float64:
        data = _times(np.abs(self.between).T, np.broadcast_to(self.weights, self.fields.shape))
        prior = self.prior
        return np.stack((data + 12 * prior.bend + self.stay, data + 6 * prior.steady + 1e-6))


def _times(matrix: Float64, x: Float64) -> Float64:
    """Return a matrix [n, m] times an array [m, ...]: [n, ...]."""
    return (matrix @ x.reshape(len(x), -1)).reshape(len(matrix), *x.shape[1:])


def _slope(x: Float64) -> Float64:
    """Return half the gradient of the sum of squared first differences along z."""
    step = np.diff(x, axis=0)
    none = np.zeros_like(x[:1])
    return np.concatenate((none, step)) - np.concatenate((step, none))


def _curvature(x: Float64, axis: int, stiffness: Float64 | None) -> Float64:
    """Return half the gradient of the sum of squared second differences along an axis, weighted by the stiffness."""
    out = np.zeros_like(x)
    if x.shape[axis] < 3:
        return out

    def part(a: int, b: int | None) -> tuple[slice, ...]:
        return tuple(slice(a, b) if i == axis else slice(None) for i in range(x.ndim))

    before, here, after = part(0, -2), part(1, -1), part(2, None)
    second = x[before] - 2 * x[here] + x[after]
    if stiffness is not None:
        s = np.broadcast_to(stiffness, x.shape)
        second = second * np.minimum(np.minimum(s[before], s[here]), s[after])
    out[before] += second
    out[here] -= 2 * second
    out[after] += second
    return out


def _sampled(field: Float64, moved: Float64, node_px: tuple[float, float]) -> Float64:
    """Read a field [2, y', x'] on nodes that were moved by [2, y', x'] px; the border is repeated."""
    if not moved.any():
        return field
    at = np.indices(field.shape[1:]).astype(np.float64)
    at += moved / np.reshape(node_px, (2, 1, 1))
    return np.stack([map_coordinates(c, at, order=1, mode="nearest") for c in field])
