"""What ``upsample.py`` asks, whom it asks, and how an answer is scored.

A case is a volume with thin sections, made coarser as a microscope would have acquired it (sections left out, or
averaged), rounded to bytes as a user would have it. The truth is cut to what the coarse sections span, so that there is
no margin in which some method would have nothing to go by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import map_coordinates

import napari_emsynth as es
from napari_emsynth.fields.optical_flow import enlarged, flow, shrunk
from napari_emsynth.methods import INDEX
from napari_emsynth.methods.blocks import eager_together
from napari_emsynth.methods.interpolate.optical_flow import QUICK_RADIUS_PX, QUICK_SHRINK, QUICK_WARPS, half_way
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.upsample.acquisition import applied, cubic_weights, degraded
from napari_emsynth.methods.upsample.emsynth.recipe import asked
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.methods.upsample.lattice import Lattice, Sampling
from napari_emsynth.methods.upsample.linear import Linear
from napari_emsynth.methods.upsample.protocol import Ask, Expert
from napari_emsynth.metrics import coverage, psnr, ssim
from napari_emsynth.metrics.spectrum import reslice_distance
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Array, Float, Volume

VOXEL_NM = {"fib25_eval": 10.0, "hemibrain_eval": 8.0}
# One plane in so many has its SSIM taken; no factor up to 11 hides sections with that period.
PLANES = 11


@dataclass(frozen=True)
class Case:
    """One question.

    Args:
        name: of the volume.
        factor: by which it was made coarser, whole.
        sampling: how.
        truth: [z, y, x] uint8, cut to what ``thick`` spans.
        thick: [z', y, x] uint8, what the user would have.
    """

    name: str
    factor: int
    sampling: Sampling
    truth: Array
    thick: Array

    @classmethod
    def of(cls, volume: Array, name: str, factor: int, sampling: Sampling) -> Case:
        """Make a volume coarser along its first axis."""
        count = len(volume)
        used = (count - 1) // factor * factor + 1 if sampling == "point" else count // factor * factor
        truth = volume[:used]
        thick = degraded(truth.astype(np.float32), factor, sampling)
        return cls(name, factor, sampling, truth, to_dtype(thick, volume.dtype))

    def __str__(self) -> str:
        """Name of the case in tables."""
        return f"{self.name} {self.sampling} x{self.factor}"

    @property
    def volume(self) -> Volume:
        """What the user would have, with its voxel size."""
        edge = VOXEL_NM[self.name.split()[0]]
        return Volume.of(self.thick, voxel_nm=(edge * self.factor, edge, edge))

    @property
    def lattice(self) -> Lattice:
        """Where the sections of the answer lie."""
        return Lattice(len(self.thick), self.factor, self.sampling)

    @property
    def hidden(self) -> list[int]:
        """Sections of the truth that the user does not have."""
        return [j for j in range(len(self.truth)) if self.lattice.acquired(j) is None]


@dataclass(frozen=True)
class Answer:
    """What a row says.

    Args:
        volume: [z, y, x] uint8, as delivered.
        half_width: [z, y, x] of the 90 % interval; None for rows that state none.
    """

    volume: Array
    half_width: Array | None = None


Ways = Callable[[Case, Runtime], Answer]

# ------------------------------------------------------------------------------------------ floors


class Cubic:
    """Cubic convolution along z (Keys 1981)."""

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """One more neighbour on each side."""
        return (1, 0, 0)

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:  # noqa: ARG002
        """Weigh four sections at every position."""
        return [Expert("cubic", applied(cubic_weights(ask.positions, len(block)), block))]


class Spline:
    """The cubic spline along z through all sections, as ``scipy.ndimage`` has it: sharper than cubic convolution."""

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """Sections are seen whole here."""
        return (0, 0, 0)

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:  # noqa: ARG002
        """Weigh all sections at every position."""
        count = len(block)
        where = np.clip(ask.positions, -0.5, count - 0.5)[None]
        one = np.eye(count)
        weights = [map_coordinates(one[i], where, order=3, mode="reflect") for i in range(count)]
        return [Expert("spline", applied(np.stack(weights, axis=1).astype(np.float32), block))]


class Flow:
    """Both neighbours pulled half way along a classical optical flow, found at half the resolution.

    That is nine times as fast as at full resolution, and as good (within 0.1 dB, on three microscopes).
    """

    def __init__(self) -> None:
        self.motion = lru_cache(maxsize=2)(self._motion)

    def halo(self, factor: float) -> tuple[int, int, int]:  # noqa: ARG002 - the common signature
        """Sections are seen whole here."""
        return (0, 0, 0)

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:  # noqa: ARG002
        """Average both directions of the flow; the flow of a pair of sections is found once."""
        last, out = len(block) - 1, []
        self.motion.cache_clear()
        self.block = block
        for position in ask.positions:
            p = min(max(position, 0.0), float(last))
            below = min(int(p), last - 1)
            t, a, b = p - below, block[below], block[below + 1]
            up, down = self.motion(below) if 0 < t < 1 else (None, None)
            if up is None:
                out.append(a if t == 0 else b)
            else:
                out.append(0.5 * (half_way(a, b, t, up) + half_way(b, a, 1 - t, down)))
        return [Expert("optical flow", np.stack(out).astype(np.float32))]

    def _motion(self, below: int) -> tuple[Float, Float]:
        pair = self.block[below], self.block[below + 1]
        low, high = (shrunk(section, QUICK_SHRINK) for section in pair)
        up, down = (
            enlarged(flow(a, b, QUICK_RADIUS_PX, QUICK_WARPS, prefilter=False), pair[0].shape)
            for a, b in ((low, high), (high, low))
        )
        return up, down


@dataclass(frozen=True)
class Given(Request):
    """A request for a method that stands in no index."""

    given: Any = None

    def built(self) -> Any:
        """Return the method given."""
        return self.given


def job_of(case: Case, method: Any, runtime: Runtime) -> Job:
    """Return the job of a method that stands in no index; it is delivered as ``linear`` would be."""
    asked = Request.of("upsample", case.volume, "linear", weights=None, params=None, runtime=runtime)
    return Job.of(Given(**vars(asked), given=method), case.lattice)


def whole(case: Case) -> tuple[slice, slice, slice]:
    """Return the box that is all of the answer."""
    z, y, x = (slice(0, n) for n in case.truth.shape)
    return z, y, x


def delivered(method: Any) -> Ways:
    """Return the answer of a method as the package delivers it: slabs are back-projected."""

    def way(case: Case, runtime: Runtime) -> Answer:
        return Answer(job_of(case, method, runtime)(whole(case), runtime))

    return way


def plain(method: Any) -> Ways:
    """Return the answer of a method without back-projection."""

    def way(case: Case, runtime: Runtime) -> Answer:
        job = job_of(case, method, runtime)
        z, y, x = whole(case)
        return Answer(job.norm.inverse(job.guess(range(z.stop), y, x, runtime).mean))

    return way


# -------------------------------------------------------------------------------------------- ours


class Alone:
    """One expert of a method, as if it had no other."""

    def __init__(self, method: Any, name: str) -> None:
        self.method, self.name, self.factor, self.halo = method, name, method.factor, method.halo
        self.kriges = method.kriges

    def __call__(self, block: Float, ask: Ask, runtime: Runtime) -> Sequence[Expert]:
        """Ask one, whether it is trusted or not."""
        return asked(self.method.networks, block, ask, runtime, names=[self.name])


def expert(name: str) -> Ways:
    """Return the answer of one expert of ``emsynth``, as the package would deliver it."""

    def way(case: Case, runtime: Runtime) -> Answer:
        asked = Request.of("upsample", case.volume, "emsynth", weights=None, params=None, runtime=runtime)
        job = Job.of(Given(**vars(asked), given=Alone(asked.built(), name)), case.lattice)
        kinds = [case.thick.dtype, np.dtype(np.float32)]
        return Answer(*eager_together(job.together, case.truth.shape, kinds, runtime, name))

    return way


def emsynth(case: Case, runtime: Runtime) -> Answer:
    """Return the default's answer, its self-check included, as a user gets it."""
    result = es.upsample(case.volume, case.factor, sampling=case.sampling, method="emsynth", runtime=runtime)
    assert result.uncertainty is not None
    return Answer(np.asarray(result.volume.data), np.asarray(result.uncertainty.data))


def kriging(case: Case, runtime: Runtime) -> Answer:
    """Return the best linear guess, as a user gets it."""
    result = es.upsample(case.volume, case.factor, sampling=case.sampling, method="kriging", runtime=runtime)
    assert result.uncertainty is not None
    return Answer(np.asarray(result.volume.data), np.asarray(result.uncertainty.data))


def jain2017(case: Case, runtime: Runtime) -> Answer:
    """Return the paper's answer; its network doubles, so that x4 is asked for twice."""
    volume: Any = case.volume
    for _ in range(case.factor.bit_length() - 1):
        volume = es.upsample(volume, 2, method="jain2017", selfcheck=False, runtime=runtime).volume
    return Answer(np.asarray(volume.data))


@dataclass(frozen=True)
class Row:
    """One line of the tables.

    Args:
        way: to an answer.
        factors: it is asked for; empty for any.
        samplings: it is asked for.
        network: True when it needs weights.
    """

    way: Ways
    factors: tuple[int, ...] = ()
    samplings: tuple[Sampling, ...] = ("point", "slab")
    network: bool = False

    def answers(self, case: Case) -> bool:
        """Return whether a case is asked of it."""
        return case.sampling in self.samplings and (not self.factors or case.factor in self.factors)


ROWS = {
    "linear": Row(plain(Linear())),
    "cubic": Row(plain(Cubic())),
    "linear + back-projection": Row(delivered(Linear()), samplings=("slab",)),
    "cubic + back-projection": Row(delivered(Cubic()), samplings=("slab",)),
    "spline + back-projection": Row(delivered(Spline()), samplings=("slab",)),
    "optical flow": Row(delivered(Flow())),
    "kriging": Row(kriging),
    "jain2017": Row(jain2017, factors=(2, 4), samplings=("point",), network=True),
    "emsynth": Row(emsynth, network=True),
    "reslice": Row(expert("reslice"), network=True),
    "along z": Row(expert("along z"), samplings=("point",), network=True),
}
EMSYNTH = ("emsynth", "reslice", "along z")


def missing(name: str) -> bool:
    """Return whether a row's method is not in this installation."""
    method = "emsynth" if name in EMSYNTH else name
    return ROWS[name].network and method not in INDEX["upsample"]


# ------------------------------------------------------------------------------------------ scores


def read(data: Path, name: str, crop: int, axis: str) -> Array:
    """Return a volume from its corner, at most ``crop`` voxels an axis, with ``axis`` (z, y or x) first."""
    return np.moveaxis(tifffile.imread(data / f"{name}.tif")[:crop, :crop, :crop], "zyx".index(axis), 0)


def cases(data: Path, name: str, crop: int, axis: str, wanted: Sequence[tuple[int, Sampling]]) -> list[Case]:
    """Return the cases of a volume made coarser along an axis."""
    volume = np.ascontiguousarray(read(data, name, crop, axis))
    label = name if axis == "z" else f"{name} along {axis}"
    return [Case.of(volume, label, factor, sampling) for factor, sampling in wanted]


def scores(case: Case, answer: Answer) -> dict[str, float]:
    """Return every figure of an answer; PSNR dB, spectrum decades, coverage a share."""
    found, truth, hidden = answer.volume, case.truth, case.hidden
    assert found.shape == truth.shape, (found.shape, truth.shape)
    out = {
        "psnr": psnr(found, truth),
        "ssim": float(np.mean([ssim(a, b) for a, b in zip(_reslices(found), _reslices(truth), strict=True)])),
        "spectrum": reslice_distance(found, truth[::8]),
    }
    if case.sampling == "point":
        out["psnr_hidden"] = psnr(found[hidden], truth[hidden])
        out["ssim_hidden"] = float(np.mean([ssim(found[j], truth[j]) for j in hidden[::PLANES]]))
    if answer.half_width is not None:
        out["coverage90"] = coverage(truth[hidden], found[hidden], answer.half_width[hidden])
    return out


def _reslices(volume: Array) -> list[Array]:
    y, x = volume.shape[1:]
    return [volume[:, j] for j in range(0, y, PLANES)] + [volume[:, :, i] for i in range(0, x, PLANES)]
