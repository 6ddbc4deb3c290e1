"""What a run will take: the result's shape, its size, and about how long.

Conventions: work is counted in voxels of the result, those of the halo around a block included. How fast a method is
on this machine is what its previews showed. Free of Qt and napari.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod
from typing import Any

from napari_emsynth.grid import Shape
from napari_emsynth.plugin.jobs.queue import format_seconds
from napari_emsynth.plugin.volume_task.settings import VolumeSettings

MB, GB = 1e6, 1e9
# Of the free memory: what takes more is worth a question before it is begun.
LARGE = 0.25
# Where the system does not say what is free.
LARGE_BYTES = 2 * GB


@dataclass(frozen=True)
class Speed:
    """How fast a method draws.

    Args:
        rate: voxels a second, halo included.
        halo: sections of the result, rows and columns that a block is drawn with on both sides.
    """

    rate: float
    halo: tuple[float, float, float]

    @classmethod
    def of(cls, draws: list[tuple[Shape, float]], halo: tuple[float, float, float] | None, full: Shape) -> Speed | None:
        """Return the speed of the fastest of some draws: the first one also built the method.

        Args:
            draws: shapes of boxes, and seconds that drawing them took.
            halo: see above; None where it is unknown, and so is the speed.
            full: shape of the whole result, beyond which there is no halo.
        """
        if halo is None:
            return None
        rates = [work(shape, shape, halo, full) / seconds for shape, seconds in draws if seconds > 0]
        return cls(max(rates), halo) if rates else None

    def seconds(self, shape: Shape, block: Shape) -> float:
        """Return how long a whole result takes, drawn in blocks."""
        return work(shape, block, self.halo, shape) / self.rate


def work(shape: Shape, block: Shape, halo: tuple[float, float, float], full: Shape) -> float:
    """Return how many voxels are drawn for a box: its own, and the halos of the blocks it is drawn in.

    Args:
        shape: of the box.
        block: of the blocks.
        halo: see above.
        full: shape of the whole result.
    """
    return prod(
        min(n + 2 * h * ceil(n / b), ceil(n / b) * whole)
        for n, b, h, whole in zip(shape, block, halo, full, strict=True)
    )


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What a run will take.

    Args:
        shape: of the result.
        voxel_nm: of the result; None when it is unknown.
        bytes: of the result with its mask and uncertainty.
        seconds: about; None while it is not known how fast the method is.
        free: bytes of memory; None when the system does not tell.
    """

    shape: Shape
    voxel_nm: tuple[float, float, float] | None
    bytes: int
    seconds: float | None
    free: int | None

    @property
    def is_large(self) -> bool:
        """True when the result would take a large part of the free memory."""
        return self.bytes > (LARGE_BYTES if self.free is None else LARGE * self.free)

    def describe(self) -> str:
        """Return one line or two."""
        shape = " x ".join(str(n) for n in self.shape)
        size = f" of {voxel_text(self.voxel_nm)}" if self.voxel_nm else ""
        time = "time: Preview tells" if self.seconds is None else f"about {format_seconds(self.seconds)}"
        return f"Result: {shape} voxels{size}, {bytes_text(self.bytes)}, {time}"


def voxel_text(voxel_nm: tuple[float, float, float]) -> str:
    """Return a voxel size as text."""
    return " x ".join(f"{v:.4g}" for v in voxel_nm) + " nm"


def bytes_text(count: float) -> str:
    """Return "3.2 MB" or "12 GB"."""
    return f"{count / GB:.3g} GB" if count >= 0.1 * GB else f"{max(count / MB, 0.1):.2g} MB"


def speed_key(settings: VolumeSettings) -> tuple[Any, ...]:
    """Return what the speed of a task depends on."""
    return (
        settings.method, settings.weights, tuple(sorted(settings.params.items())), settings.device,
        settings.precision, settings.tile, *settings.voxel((1.0, 1.0, 1.0)), *settings.offset,
    )  # fmt: skip
