"""A small crop of the volume, worked on as the network learns: before, now, and, where it is known, the truth.

Conventions: the crop comes from the last sections, which training holds out, and from the middle of them. Panels are
[y, x] or reslices [z, x], uint8, all with the truth's contrast.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.training.job import TrainingJob
from napari_emsynth.volume import Array, Float, Volume

EDGE = 128
# Sections that are posed as missing together: in isotropic stacks one alone is too easy to tell anything.
RUN_ISOTROPIC, RUN_ANISOTROPIC = 5, 1
# Sections of a crop that is shown from the side.
DEPTH = 25
CONTRAST = (1.0, 99.0)
SCRATCH, FLOOR = "scratch", "linear"


@dataclass(frozen=True)
class Panel:
    """One picture.

    Args:
        title: a word.
        image: [rows, columns] uint8.
        psnr: to the truth in dB, None where there is none.
    """

    title: str
    image: Array
    psnr: float | None = None

    @property
    def caption(self) -> str:
        """The title, and how near to the truth."""
        return self.title if self.psnr is None else f"{self.title}\n{self.psnr:.2f} dB"


Draw = Callable[[str, "str | None", Runtime], Float]


@dataclass
class TaskPreview:
    """A crop and the work to be shown on it.

    Args:
        job: whose network learns.
        draw: (method id, weights, runtime) -> picture [rows, columns] in the crop's intensities.
        truth: what the picture should be; of an alignment, the input.
        has_truth: False when nobody knows.
        stretch: rows a row of a picture is shown as.
    """

    job: TrainingJob
    draw: Draw
    truth: Float
    has_truth: bool = True
    stretch: int = 1
    _before: Panel | None = None

    @classmethod
    def of(cls, job: TrainingJob, volume: Volume) -> TaskPreview:
        """Cut the crop and choose the work.

        Raises:
            InputError: a task that has no preview, or too few sections for one.
        """
        task = job.method.partition("/")[0]
        if task not in MAKERS:
            raise InputError(f"the task {task} has no preview")
        return MAKERS[task](job, middle_of(job, volume))

    def panels(self, weights: str, cancel: CancelToken) -> tuple[Panel, ...]:
        """Return the pictures: before, now, truth.

        Args:
            weights: the file of the weights so far.
            cancel: asked between tiles.
        """
        runtime = Runtime(device=self.job.device, precision="fp32", seed=self.job.seed, cancel=cancel)
        method = self.job.method.partition("/")[2]
        if self._before is None:
            scratch = self.job.start == SCRATCH
            weak = method if not scratch else FLOOR
            if scratch and not self.has_truth:
                self._before = self._panel("input", self.truth)
            else:
                self._before = self._panel(
                    FLOOR if scratch else "before", self.draw(weak, None if scratch else self.job.start, runtime)
                )
        now = self._panel("now", self.draw(method, weights, runtime))
        return self._before, now, self._panel("truth" if self.has_truth else "input", self.truth)

    def _panel(self, title: str, picture: Float) -> Panel:
        from napari_emsynth.metrics.image import psnr

        low, high = np.percentile(self.truth, CONTRAST)
        scale = 255.0 / max(float(high - low), 1e-6)
        image = np.clip((picture - low) * scale, 0, 255).astype(np.uint8)
        known = self.has_truth and title not in ("truth", "input")
        score = psnr(picture * scale, self.truth * scale) if known else None
        return Panel(title, np.repeat(image, self.stretch, axis=0), score)


def middle_of(job: TrainingJob, volume: Volume) -> Volume:
    """Return the last sections of the region, cut to its middle; read into memory."""
    roi = job.roi or tuple((0, n) for n in volume.shape)
    (z0, z1), *plane = roi
    cut = [slice(max(z0, z1 - DEPTH), z1)]
    for low, high in plane:
        edge = min(EDGE, high - low)
        start = (low + high - edge) // 2
        cut.append(slice(start, start + edge))
    return Volume.of(volume.read(*cut), voxel_nm=volume.grid.voxel_nm, name=volume.name)


def _interpolation(job: TrainingJob, crop: Volume) -> TaskPreview:
    """Pose sections as missing and show the middle one."""
    from napari_emsynth.methods.interpolate.task import interpolate
    from napari_emsynth.training.data import is_isotropic

    count = RUN_ISOTROPIC if is_isotropic(crop) else RUN_ANISOTROPIC
    first = crop.shape[0] - count - 1
    if first < 1:
        raise InputError(f"{crop.shape[0]} sections are too few to pose {count} as missing")
    shown = first + count // 2
    missing = list(range(first, first + count))

    def draw(method: str, weights: str | None, runtime: Runtime) -> Float:
        result = interpolate(crop, missing, method=method, weights=weights, runtime=runtime, selfcheck=False)
        return result.volume.section(shown).astype(np.float32)

    return TaskPreview(job, draw, crop.section(shown).astype(np.float32))


def _upsampling(job: TrainingJob, crop: Volume) -> TaskPreview:
    """Hide every second section, upsample, and look from the side."""
    from napari_emsynth.methods.upsample.task import upsample

    odd = (crop.shape[0] - 1) // 2 * 2 + 1
    if odd < 5:
        raise InputError(f"{crop.shape[0]} sections are too few to hide every second one")
    whole = np.asarray(crop.data[:odd])
    thin = Volume.of(np.ascontiguousarray(whole[::2]), name=crop.name)
    row = whole.shape[1] // 2

    def draw(method: str, weights: str | None, runtime: Runtime) -> Float:
        result = upsample(thin, 2, method=method, weights=weights, runtime=runtime, selfcheck=False)
        return result.volume.read(slice(None))[:, row].astype(np.float32)

    return TaskPreview(job, draw, whole[:, row].astype(np.float32), stretch=_stretch(crop))


def _alignment(job: TrainingJob, crop: Volume) -> TaskPreview:
    """Align, and look from the side."""
    from napari_emsynth.methods.align.task import align

    row = crop.shape[1] // 2

    def draw(method: str, weights: str | None, runtime: Runtime) -> Float:
        result = align(crop, method=method, weights=weights, runtime=runtime, selfcheck=False)
        return result.volume.read(slice(None))[:, row].astype(np.float32)

    side = crop.read(slice(None))[:, row].astype(np.float32)
    return TaskPreview(job, draw, side, has_truth=False, stretch=_stretch(crop))


def _stretch(crop: Volume) -> int:
    """Return how many rows a section takes in a picture from the side, so that it has the tissue's proportions."""
    voxel = crop.grid.voxel_nm
    return 1 if voxel is None else max(1, round(voxel[0] / voxel[2]))


MAKERS: dict[str, Callable[[TrainingJob, Volume], TaskPreview]] = {
    "interpolate": _interpolation,
    "upsample": _upsampling,
    "align": _alignment,
}
