"""The options that several commands share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.parse import parse_part, parse_voxel_nm
from napari_emsynth.cli.planning import HELP as PLAN_HELP
from napari_emsynth.cli.screen import Screen
from napari_emsynth.errors import InputError
from napari_emsynth.spec import Result, Runtime

if TYPE_CHECKING:
    from napari_emsynth.io.url import Location
    from napari_emsynth.volume import Volume


def _location(text: str) -> Location:
    from napari_emsynth.io.url import location

    return location(text)


SOURCE_HELP = "A .tif, .ome.tif, .zarr, .mrc, a folder of images, or the address of a Zarr, N5 or precomputed volume."
Source = Annotated[Any, typer.Argument(metavar="IN", help=SOURCE_HELP, parser=_location)]
AsJson = Annotated[
    bool, typer.Option("--json", help="One JSON object on standard output, everything else on standard error.")
]


@dataclass(frozen=True, kw_only=True)
class Common:
    """What every command that reads a volume accepts."""

    voxel_size: Annotated[
        str | None, typer.Option(metavar="Z,Y,X", help="Voxel size in nm; by default what the file says.")
    ] = None
    series: Annotated[int | None, typer.Option(metavar="N", help="Which image of IN, where it holds several.")] = None
    channel: Annotated[int | None, typer.Option(metavar="N", help="Which channel or colour of IN.")] = None
    time: Annotated[int | None, typer.Option(metavar="N", help="Which time point of IN.")] = None
    level: Annotated[int | None, typer.Option(metavar="N", help="Which resolution of IN, 0 the finest.")] = None
    device: Annotated[str, typer.Option(metavar="NAME", help="auto, cpu, cuda, cuda:N or mps.")] = "auto"
    precision: Annotated[str, typer.Option(metavar="NAME", help="auto, fp32, bf16 or fp16.")] = "auto"
    tile: Annotated[
        int | None, typer.Option(metavar="PX", help="Tile edge along y and x; by default what fits the memory.")
    ] = None
    seed: Annotated[int, typer.Option(metavar="N", help="Of every random number drawn.")] = 0
    json: AsJson = False

    def runtime(self, screen: Screen) -> Runtime:
        """Return how to compute; refuses at once a device or a precision that this machine does not have.

        Raises:
            InputError: an unknown or absent device, an unknown precision, a tile below 1 px.
        """
        from napari_emsynth.tiling.device import resolve, resolve_precision, why_no_gpu

        device = resolve(self.device)
        resolve_precision(self.precision, device)
        if self.tile is not None and self.tile < 1:
            raise InputError(f"tile = {self.tile} px is below the limit of 1 px")
        if device.type == "cpu" and self.device == "auto":
            screen.say(f"computing on the CPU: {why_no_gpu()}")
        return Runtime(
            device=self.device,
            precision=self.precision,
            tile=self.tile,
            seed=self.seed,
            progress=screen.progress,
            note=screen.note,
        )

    def open(self, path: Location, screen: Screen) -> Volume:
        """Read a volume lazily; say how it was read, and in one line when its voxel size is unknown.

        Raises:
            InputError: no such file, not a volume, or a nonsense voxel size.
        """
        from napari_emsynth.io import read

        part = {name: getattr(self, name) for name in ("series", "channel", "time", "level")}
        volume = read(path, parse_voxel_nm(self.voxel_size), **part)
        for line in volume.metadata.get("notices", ()):
            screen.note(line)
        if volume.grid.voxel_nm is None:
            screen.say(
                f"the voxel size of {path} is unknown: only what needs it is refused; give --voxel-size z,y,x in nm"
            )
        return volume


@dataclass(frozen=True, kw_only=True)
class Save:
    """How OUT is written."""

    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace OUT if it exists.")] = False
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what a killed run left.")] = False
    array: Annotated[
        str | None, typer.Option(metavar="N/M", help="Do part N, from 0, of M; others do the rest. Zarr only.")
    ] = None
    sbatch: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Run nothing: write a SLURM array of --array M tasks.")
    ] = None

    plan: Annotated[bool, typer.Option("--plan", help=PLAN_HELP)] = False

    @property
    def part(self) -> tuple[int, int] | None:
        """Return which part of how many is to be done; None for all.

        Raises:
            InputError: no such part.
        """
        return None if self.array is None or self.sbatch is not None else parse_part(self.array)


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Where a lazy result is computed."""

    workers: Annotated[int | None, typer.Option(metavar="N", help="Compute in N processes of this machine.")] = None
    dask: Annotated[str | None, typer.Option(metavar="tcp://HOST:PORT", help="Compute on a running Dask cluster.")] = (
        None
    )

    def check(self) -> None:
        """Refuse a place that cannot be, before any work.

        Raises:
            InputError: both options given, or fewer than one worker.
        """
        if self.workers is not None and self.dask is not None:
            raise InputError(f"give --workers or --dask, not both (got {self.workers} and {self.dask})")
        if self.workers is not None and self.workers < 1:
            raise InputError(f"workers = {self.workers} is below the limit of 1 worker")

    @contextmanager
    def placing(self) -> Iterator[Callable[[Result], Result]]:
        """Yield what gives the result to be written: as it is, or computed by the cluster while it is read.

        Raises:
            InputError: no cluster at the address.
        """
        if self.workers is None and self.dask is None:
            yield lambda result: result
            return
        from napari_emsynth.distributed import connect, on_cluster

        with connect(workers=self.workers, address=self.dask) as client:
            yield lambda result: on_cluster(result, client)

    @contextmanager
    def compute(self, result: Result) -> Iterator[Result]:
        """Yield the result to be written, see :meth:`placing`.

        Raises:
            InputError: no cluster at the address.
        """
        with self.placing() as place:
            yield place(result)
