"""What a method says of itself before it runs, what a run is given, and what it gives back.

A method file ends in ``SPEC = MethodSpec(...)``. Everything a form, a flag, a table or a page needs is in it; nothing
is imported until :attr:`MethodSpec.build` is called.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.grid import Grid
from napari_emsynth.options import Options
from napari_emsynth.params import Params
from napari_emsynth.volume import Volume

Task = Literal["interpolate", "align", "upsample", "superres"]
TASKS: tuple[Task, ...] = ("interpolate", "align", "upsample", "superres")

Progress = Callable[[int, int, str], None]
"""Called with (done, total, what is being done); from the thread that computes."""


class CancelToken:
    """Asked between tiles; set from any thread. Sent to another process it arrives as a new one, not cancelled."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __reduce__(self) -> tuple[type[CancelToken], tuple[()]]:
        return (CancelToken, ())

    def cancel(self) -> None:
        """Ask the job to stop at the next tile."""
        self._event.set()

    @property
    def cancelled(self) -> bool:
        """True once :meth:`cancel` was called."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise :class:`Cancelled` if the job was cancelled."""
        if self._event.is_set():
            raise Cancelled("cancelled")


def no_progress(done: int, total: int, message: str) -> None:
    """Report to nobody."""


def no_note(line: str) -> None:
    """Tell nobody."""


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """How to compute, as the user asked; resolved by :mod:`napari_emsynth.tiling`.

    Args:
        device: "auto", "cpu", "cuda", "cuda:n" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px along y and x; None lets the engine choose.
        seed: of every random number drawn.
        progress: called after every tile.
        cancel: asked between tiles.
        note: called with one line when the engine had to change something (a smaller tile, another device).
    """

    device: str = "auto"
    precision: str = "auto"
    tile: int | None = None
    seed: int = 0
    progress: Progress = no_progress
    cancel: CancelToken = field(default_factory=CancelToken)
    note: Callable[[str], None] = no_note


@dataclass(frozen=True, kw_only=True)
class MethodSpec:
    """One method: what it is called, what it promises, how it is built.

    Args:
        task: what it does.
        id: its name within the task, as on the command line.
        title: a few words for a menu.
        summary: one or two sentences for a tooltip: what it does, what it keeps.
        paper: the source, or "" for a floor.
        params: the frozen dataclass of its parameters.
        build: (params, runtime, weights name or file or None) -> the task's protocol; imports what it needs then.
        weights: names of bundled weights, the default first; empty for methods without a network.
        keeps_acquired: True when every acquired voxel outside the request is bit-identical in the result.
        has_uncertainty: True when results carry a per-voxel uncertainty.
        has_prior: of superres: True when results say where a learned prior had a say.
        recipes: by objective, the default first: (data, starting tensors or None, configuration or None) -> training
            recipe (see :mod:`napari_emsynth.training.recipe`). Bundled weights are named after the objective that
            made them; empty when there is nothing to train.
        factors: of upsample and superres: what it can do; empty for any number from 2 to 12.
        answers: "voxels" when the method draws new ones; "displacement" when it only says where they come from.
        samplings: of upsample: "point" (each section is a thin sample), "slab" (each is an average), the default first.
    """

    task: Task
    id: str
    title: str
    summary: str
    build: Callable[[Any, Runtime, str | None], Any]
    paper: str = ""
    params: type[Params] = Params
    weights: tuple[str, ...] = ()
    keeps_acquired: bool = True
    has_uncertainty: bool = False
    has_prior: bool = False
    recipes: Mapping[str, Callable[..., Any]] = field(default_factory=dict)
    factors: tuple[int, ...] = ()
    samplings: tuple[str, ...] = ()
    answers: Literal["voxels", "displacement"] = "voxels"

    def grid(self, grid: Grid, options: Options) -> Grid:
        """Return the grid of what the method makes of a volume on ``grid``, before a voxel is touched.

        Raises:
            InputError: a factor or sampling the method cannot do, or that no grid can have.
        """
        options.check_method(self, grid)
        return options.grid(grid)

    @property
    def name(self) -> str:
        """Task and id, as in ``emsynth train TASK/ID``."""
        return f"{self.task}/{self.id}"


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a method gives back.

    Args:
        volume: the restored, aligned, upsampled or super-resolved volume.
        synthetic: mask on the same grid, uint8, 1 where a voxel was made up.
        provenance: JSON object: method, version, weights, params, seed, source, sections, self-check.
        uncertainty: float32 on the same grid, half width of the 90 % interval in source intensity units,
            0 where acquired; None when the method has none.
        empty: mask on the same grid, uint8, 1 where nothing was acquired and nothing is shown, such as what comes from
            outside a section that was moved; None where every voxel is valid.
        displacement: a :class:`~napari_emsynth.fields.displacement.Displacement`, (dy, dx) px, pull convention; None
            for methods that draw new voxels.
        confidence: float32 [z, y', x'] 0 to 1 on the displacement's nodes, how far it can be trusted; None without one.
        along: takes other volumes along: :class:`~napari_emsynth.fields.apply.Follows` of what was moved,
            :class:`~napari_emsynth.methods.upsample.labels.labels.Along` of labels that are upsampled; None where
            nothing can follow.
        prior: of superres: float32 on the same grid, 0 to 1, how much a learned prior rather than the data has a say;
            None for methods without one.
        residual: of superres: float32 on the input's grid, in source intensity units: what the method's answer,
            reduced again, was off before it was made consistent; None of other tasks.
    """

    volume: Volume
    synthetic: Volume
    provenance: dict[str, Any]
    uncertainty: Volume | None = None
    empty: Volume | None = None
    displacement: Any = None
    confidence: Any = None
    along: Any = None
    prior: Volume | None = None
    residual: Volume | None = None

    def apply(self, volume: Any, interpolation: str | None = None) -> Any:
        """Return labels or another image moved as this result's volume was, or labels upsampled as it was.

        Args:
            volume: [z, y, x] of the shape of what was moved or upsampled: a Volume, which then carries this result's
                record, or an array. Lazy in gives lazy out.
            interpolation: of what is moved: "cubic" for images, "linear", or "nearest" for labels, whose ids stay; None
                takes nearest for integers and booleans and cubic for floats: give "cubic" for an image of integers.
                Labels are upsampled by their shapes; images are not.

        Raises:
            InputError: nothing can follow this result, another shape, an unknown interpolation, an image to upsample.
        """
        if self.along is None:
            method = self.provenance.get("method", "this method")
            raise InputError(f"{method} has no displacement that other volumes could be moved by")
        return self.along.apply(volume, interpolation, record=self.provenance)
