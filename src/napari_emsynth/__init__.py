"""Repair volume electron microscopy: the public Python API.

>>> import napari_emsynth as es
>>> volume = es.read("stack.tif", voxel_nm=(28, 11.24, 11.24))
>>> result = es.interpolate(volume, sections=[37])
>>> isotropic = es.upsample(volume, 2)
>>> es.write(result, "mended.ome.zarr")

Conventions: order is z, y, x; lengths are nm. Law: importing this module loads neither torch, nor Qt, nor
napari, nor numpy; each name brings what it needs when it is first used. It says how threads are to wait for each other,
unless the user did (:mod:`napari_emsynth.waiting`).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from napari_emsynth.waiting import wait_asleep

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from napari_emsynth.errors import Cancelled, InputError
    from napari_emsynth.fields.algebra import compose
    from napari_emsynth.fields.algebra import inverse as invert
    from napari_emsynth.fields.apply import applied as apply_field
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.fields.points import moved_points as move_points
    from napari_emsynth.grid import Grid
    from napari_emsynth.io import read, write
    from napari_emsynth.io.field import read_field, write_field
    from napari_emsynth.methods import all_methods as methods
    from napari_emsynth.params import Params
    from napari_emsynth.spec import CancelToken, MethodSpec, Progress, Result, Runtime
    from napari_emsynth.trust.detect import Suspect
    from napari_emsynth.volume import Volume

__all__ = [
    "CancelToken", "Cancelled", "Displacement", "Grid", "InputError", "MethodSpec", "Params", "Result", "Runtime",
    "Suspect", "Volume", "__version__", "align", "apply_field", "compose", "detect", "evaluate", "interpolate",
    "invert", "methods", "move_points", "read", "read_field", "superresolve", "train", "upsample", "write",
    "write_field",
]  # fmt: skip

# It must be said before torch is first imported.
wait_asleep()

# Name -> the module it lives in, with its name there where that differs. ``methods`` is both: the package, which lists
# its methods when it is called.
_HOMES = {
    "CancelToken": "spec",
    "Cancelled": "errors",
    "Displacement": "fields.displacement",
    "Grid": "grid",
    "InputError": "errors",
    "MethodSpec": "spec",
    "Params": "params",
    "Result": "spec",
    "Runtime": "spec",
    "Suspect": "trust.detect",
    "Volume": "volume",
    "apply_field": "fields.apply:applied",
    "compose": "fields.algebra",
    "invert": "fields.algebra:inverse",
    "move_points": "fields.points:moved_points",
    "read": "io",
    "read_field": "io.field",
    "write": "io",
    "write_field": "io.field",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return import_module("importlib.metadata").version("napari-emsynth")
    if name == "methods":
        return import_module("napari_emsynth.methods")
    if name in _HOMES:
        module, _, there = _HOMES[name].partition(":")
        value = getattr(import_module(f"napari_emsynth.{module}"), there or name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)


def interpolate(
    volume: Any,
    sections: Sequence[int] | None = None,
    *,
    mask: Any = None,
    insert: bool = False,
    method: str = "emsynth",
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    selfcheck: bool = True,
    look: str = "accurate",
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
) -> Result:
    """Replace damaged sections, parts of sections, or insert missing ones.

    Args:
        volume: [z, y, x] a Volume or an array. Lazy in (dask, zarr) gives lazy out: a section is computed
            when it is read.
        sections: 0-based indices of the sections to replace; with ``insert``, a new section goes before each.
        mask: [z, y, x] of the volume's shape, non-zero = replace; alone, or to limit ``sections``.
        insert: add sections instead of replacing them.
        method: id of an interpolate method, see ``methods("interpolate")``.
        weights: name of bundled weights or a .safetensors file; None takes the method's default.
        params: of the method, as its dataclass or as a mapping; what is absent takes its default.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        selfcheck: repeat the repair on intact neighbours and report its error beside the floors.
        look: "accurate" for the mean, "natural" for a section as sharp as tissue, with detail of a neighbour chosen by
            ``seed``; the uncertainty is that of the mean.
        device: "auto", "cpu", "cuda", "cuda:n" or "mps".
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px; None lets the engine choose.
        seed: of every random number drawn.
        progress: called with (done, total, what) from the computing thread.
        runtime: all of the five above in one object, with a cancel token; excludes them.

    Raises:
        InputError: bad use or bad input, in one line that names the value, the limit and the unit.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.interpolate import interpolate as task

    return task(
        volume,
        sections,
        mask=mask,
        insert=insert,
        method=method,
        weights=weights,
        params=params,
        voxel_nm=voxel_nm,
        runtime=_runtime(
            runtime, device=device, precision=precision, tile=tile, seed=seed, progress=progress
        ),
        selfcheck=selfcheck,
        look=look,
    )


def align(
    volume: Any,
    *,
    method: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    max_displacement_nm: float | None = None,
    reference: int | Sequence[int] | None = None,
    skip: int | Sequence[int] | None = None,
    materials: Any = None,
    selfcheck: bool = True,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
) -> Result:
    """Refine the alignment of a stack that is roughly aligned.

    Args:
        volume: [z, y, x] a Volume or an array. Lazy in (dask, zarr) gives lazy out: a block is computed when it is
            read. Displacements are found in the call.
        method: id of an align method, see ``methods("align")``; None takes the default.
        weights: name of bundled weights or a .safetensors file; None takes the method's default.
        params: of the method, as its dataclass or as a mapping; what is absent takes its default.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        max_displacement_nm: move nothing further than this. This and the next three are for methods that answer with
            displacements, which is what their ``MethodSpec.answers`` says.
        reference: section or sections that stay where they are.
        skip: sections that nothing is matched with; None leaves out what looks damaged, an empty list nothing.
        materials: [z, y, x] a Volume or an array: 0 tissue, 1 fold or crack (may tear), 2 dirt or empty (ignored).
        selfcheck: align the middle of the volume, as it is and moved by a known amount, and report both.
        device: as in :func:`interpolate`, like all that follow.
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px.
        seed: of every random number drawn.
        progress: called with (done, total, what).
        runtime: all of the five above in one object, with a cancel token; excludes them.

    Raises:
        InputError: too few sections, limits that do not fit the volume or the method, bad use or bad input.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.align import align as task

    return task(
        volume,
        method=method,
        weights=weights,
        params=params,
        voxel_nm=voxel_nm,
        max_displacement_nm=max_displacement_nm,
        reference=reference,
        skip=skip,
        materials=materials,
        runtime=_runtime(
            runtime, device=device, precision=precision, tile=tile, seed=seed, progress=progress
        ),
        selfcheck=selfcheck,
    )


def upsample(
    volume: Any,
    factor: float | str = 2,
    *,
    sampling: str = "point",
    method: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    damaged: str | int | Sequence[int] | None = None,
    look: str = "accurate",
    selfcheck: bool = True,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
) -> Result:
    """Make the sections of a volume thinner by ``factor``.

    Args:
        volume: [z, y, x] a Volume or an array. Lazy in (dask, zarr) gives lazy out: a block is computed when it is
            read.
        factor: 2 to 12, whole or not; or "isotropic" for voxels as long as they are wide.
        sampling: "point" when each section is a thin sample of the tissue: every section stays where it is, new ones
            come between. "slab" when each is an average over its thickness: every section is divided.
        method: id of an upsample method, see ``methods("upsample")``; None takes the first that can do this.
        weights: name of bundled weights or a .safetensors file; None takes the method's default.
        params: of the method, as its dataclass or as a mapping; what is absent takes its default.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        damaged: sections that are repaired first, as indices or as text such as "12,40-42"; None takes those without
            any information of their own (blank, black, repeated), () none.
        look: "accurate" for the mean, "natural" for sections as sharp as the acquired ones, with detail of the nearest.
        selfcheck: make the volume coarser, upsample it, and report the error beside linear interpolation; find out how
            far a network is to be followed, and how wide its intervals are, on this volume.
        device: as in :func:`interpolate`, like all that follow.
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px.
        seed: of every random number drawn.
        progress: called with (done, total, what).
        runtime: all of the five above in one object, with a cancel token; excludes them.

    Raises:
        InputError: fewer than 2 sections, a factor or sampling the method cannot do, no voxel size where "isotropic"
            needs it, bad use or bad input.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.upsample import upsample as task

    return task(
        volume,
        factor,
        sampling=sampling,
        method=method,
        weights=weights,
        params=params,
        voxel_nm=voxel_nm,
        damaged=damaged,
        look=look,
        runtime=_runtime(
            runtime, device=device, precision=precision, tile=tile, seed=seed, progress=progress
        ),
        selfcheck=selfcheck,
    )


def superresolve(
    volume: Any,
    factor: int = 8,
    *,
    method: str | None = None,
    weights: str | None = None,
    params: Mapping[str, Any] | Params | None = None,
    voxel_nm: Sequence[float] | None = None,
    damaged: str | int | Sequence[int] | None = None,
    selfcheck: bool = True,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
) -> Result:
    """Make the pixels of a fast, coarse scan smaller by ``factor`` along y and x.

    Args:
        volume: [z, y, x] a Volume or an array. Lazy in (dask, zarr) gives lazy out: a block is computed when it is
            read.
        factor: 8 or 16.
        method: id of a superres method, see ``methods("superres")``; None takes the default.
        weights: name of bundled weights or a .safetensors file; None takes the method's for the factor.
        params: of the method, as its dataclass or as a mapping; what is absent takes its default.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        damaged: sections that are not looked at when their neighbours are drawn, as indices or as text such as
            "12,40-42"; None takes what looks damaged, an empty list nothing.
        selfcheck: make the volume's own pixels coarser and finer again, and report the error beside bicubic.
        device: as in :func:`interpolate`, like all that follow.
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px of ``volume``.
        seed: of every random number drawn.
        progress: called with (done, total, what).
        runtime: all of the five above in one object, with a cancel token; excludes them.

    Raises:
        InputError: another factor, sections below 16 px, no room for the result, bad use or bad input.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.superres import superresolve as task

    return task(
        volume,
        factor,
        method=method,
        weights=weights,
        params=params,
        voxel_nm=voxel_nm,
        damaged=damaged,
        runtime=_runtime(
            runtime, device=device, precision=precision, tile=tile, seed=seed, progress=progress
        ),
        selfcheck=selfcheck,
    )


def evaluate(
    name: str,
    volume: Any,
    *,
    gap: int = 1,
    weights: str | None = None,
    sections: Sequence[int] | None = None,
    limit: int = 16,
    factor: int | None = None,
    sampling: str | None = None,
    voxel_nm: Sequence[float] | None = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """Score a method where ``volume`` itself tells the truth, beside the floors.

    Interpolate and upsample leave intact sections out and make them up; align moves sections by a known jitter;
    superres makes pixels coarser.

    Args:
        name: task and id, such as "interpolate/emsynth".
        volume: [z, y, x] a Volume or an array.
        gap: interpolate: sections from the missing one to the nearest that may be looked at; upsample: sections left
            out between two (the factor less one); align: deviation of the jitter in px.
        weights: name of bundled weights or a .safetensors file; None takes the method's default.
        sections: interpolate: which to leave out; None takes up to ``limit`` of the stack.
        limit: most sections to score.
        factor: superres: by which pixels are made coarser, 8 or 16; None takes 8.
        sampling: upsample: "point" leaves sections out, "slab" averages them; None takes the method's first.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        device: as in :func:`interpolate`, like all that follow.
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px.
        seed: of every random number drawn.
        progress: called with (done, total, what).
        runtime: all of the five above in one object; excludes them.

    Raises:
        InputError: an unknown method, a stack too short for the gap, bad input.
    """
    from napari_emsynth.methods.evaluate import evaluate as task
    from napari_emsynth.volume import Volume

    return task(
        name,
        Volume.of(volume, voxel_nm=voxel_nm),
        weights=weights,
        gap=gap,
        runtime=_runtime(
            runtime, device=device, precision=precision, tile=tile, seed=seed, progress=progress
        ),
        sections=sections,
        limit=limit,
        factor=factor,
        sampling=sampling,
    )


def detect(
    volume: Any, *, sensitivity: float = 1.0, voxel_nm: Sequence[float] | None = None
) -> list[Suspect]:
    """List sections that look blank, saturated, blurred, half missing, displaced or repeated.

    Args:
        volume: [z, y, x] a Volume or an array; read section by section.
        sensitivity: 1 is balanced; larger reports more.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
    """
    from napari_emsynth.trust.detect import detect as task
    from napari_emsynth.volume import Volume

    return task(Volume.of(volume, voxel_nm=voxel_nm), sensitivity=sensitivity)


def train(
    name: str,
    volume: Any,
    out: str | Path,
    *,
    minutes: float | None = None,
    steps: int | None = None,
    start: str | None = None,
    objective: str | None = None,
    only: str | None = None,
    resume: bool = False,
    save_anyway: bool = False,
    roi: Sequence[slice] | None = None,
    voxel_nm: Sequence[float] | None = None,
    on_step: Callable[[Any], None] | None = None,
    device: str = "auto",
    precision: str = "auto",
    tile: int | None = None,
    seed: int = 0,
    runtime: Runtime | None = None,
) -> dict[str, Any]:
    """Fine-tune a method on the very volume it will mend; no labels are needed.

    Args:
        name: task and id, such as "interpolate/emsynth".
        volume: [z, y, x] a Volume or an array.
        out: the .safetensors file to write, with its card beside it.
        minutes: when to stop; excludes ``steps``.
        steps: when to stop; excludes ``minutes``.
        start: weights to start from, a name or a file; "scratch" for none; None for the method's default.
        objective: name of one of the method's recipes; None for the one that made the starting weights.
        only: the part to train, of methods that are learned in parts or stages; None for all.
        resume: go on from the checkpoint that a killed run left beside ``out``; what is not given is as it was.
        save_anyway: write weights even when nothing beat the start on held-out sections; by default nothing is written
            then, and ``file`` of the report is None.
        roi: three slices z, y, x to learn from; None takes everything.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        on_step: called after every step with its number, the seconds and budget spent, and its terms.
        device: as in :func:`interpolate`, like all that follow.
        precision: "auto", "fp32", "bf16" or "fp16".
        tile: tile edge in px.
        seed: of weights and samples.
        runtime: all of the four above in one object; excludes them.

    Raises:
        InputError: an unknown method, one that cannot be trained, a volume too small.
    """
    from napari_emsynth.methods.train import train as task
    from napari_emsynth.volume import Volume

    return task(
        name,
        Volume.of(volume, voxel_nm=voxel_nm),
        out,
        minutes=minutes,
        steps=steps,
        start=start,
        objective=objective,
        only=only,
        resume=resume,
        save_anyway=save_anyway,
        roi=roi,
        runtime=_runtime(runtime, device=device, precision=precision, tile=tile, seed=seed, progress=None),
        on_step=on_step,
    )


def _runtime(
    runtime: Runtime | None,
    *,
    device: str,
    precision: str,
    tile: int | None,
    seed: int,
    progress: Progress | None,
) -> Runtime:
    """Return the runtime asked for, as one object or as keywords, never half of each."""
    from napari_emsynth.errors import InputError
    from napari_emsynth.spec import Runtime, no_progress

    if runtime is None:
        return Runtime(
            device=device, precision=precision, tile=tile, seed=seed, progress=progress or no_progress
        )
    if (device, precision, tile, seed, progress) != ("auto", "auto", None, 0, None):
        raise InputError(
            "give either runtime or its parts (device, precision, tile, seed, progress), not both"
        )
    return runtime
