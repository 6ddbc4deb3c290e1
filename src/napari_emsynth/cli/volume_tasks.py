"""What the commands that make a whole new volume share: running, writing, telling."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.along import outputs as along, split, told
from napari_emsynth.cli.groups import Cluster, Common, Save
from napari_emsynth.cli.planning import tell_plan
from napari_emsynth.cli.saving import saving
from napari_emsynth.cli.screen import Screen
from napari_emsynth.errors import InputError

if TYPE_CHECKING:
    from napari_emsynth.io.url import Location
    from napari_emsynth.options import Options
    from napari_emsynth.spec import Result, Runtime, Task

Out = Annotated[Path, typer.Argument(metavar="OUT", help="A .tif, .ome.tif, .zarr or .ome.zarr to write.")]

# What the JSON object says of a run in the words of its record, where the record has it.
RECORDED = (
    "factor", "sampling", "look", "constraints", "damaged", "repaired", "left_out", "residual", "calibration",
)  # fmt: skip
NOTHING: Mapping[str, Path] = MappingProxyType({})


def make(
    task: Task,
    options: Options,
    source: Location,
    out: Path,
    common: Common,
    save: Save,
    cluster: Cluster,
    beside: Mapping[str, Path] = NOTHING,
    labels: Sequence[str] = (),
) -> None:
    """Run a task from file to file and answer.

    Args:
        task: its name.
        options: what it is asked.
        source: IN.
        out: OUT.
        common: how to read and compute.
        save: how to write.
        cluster: where to compute.
        beside: parts of the result that get files of their own, by their names in the result.
        labels: that go along, each ``LABELS=OUT2``.

    Raises:
        InputError: bad use or bad input, before any work where that can be known.
    """
    from napari_emsynth.io import check_output, write
    from napari_emsynth.io.export import Output, check_export, export
    from napari_emsynth.methods.tasks import function_of

    with Screen(as_json=common.json) as screen:
        cluster.check()
        files = [source, *(split(text)[0] for text in labels)]
        check = partial(check_export, inputs=files, overwrite=save.overwrite, resume=save.resume)

        def check_places() -> None:
            check([Output(path=out)])
            for path in beside.values():
                check_output(path, source, save.overwrite)
                if path.resolve() == out.resolve():
                    raise InputError(f"{path} is written twice in one run")

        check_places()
        runtime = common.runtime(screen)
        places = [out, *beside.values(), *(split(text)[1] for text in labels)]
        with saving(places, files, check_places, save, runtime) as how:
            volume = common.open(source, screen)
            if save.plan:
                tell_plan(screen, task, volume, options, runtime)
                return
            outputs = [*along(labels, volume, None), Output(path=out)]
            check(outputs)
            started = time.monotonic()
            result = function_of(task)(volume, options=options, runtime=runtime)
            with cluster.placing() as place:
                export(result, outputs, place=place, **how)
            for name, path in beside.items():
                write(getattr(result, name), path, **how | {"resume": False})
        summary = summarise(result, runtime, out, time.monotonic() - started, screen.notes)
        summary |= {f"{name}_out": str(path) for name, path in beside.items()}
        summary |= {"applied_to": told(labels)} if labels else {}
        screen.answer(summary, describe(summary))


def summarise(result: Result, runtime: Runtime, out: Path, seconds: float, notes: list[str]) -> dict[str, Any]:
    """Return the JSON object of a finished run."""
    from napari_emsynth.tiling.device import bare_name

    record = result.provenance
    sections = [entry["section"] for entry in record["sections"]]
    voxels = len(sections) * result.volume.shape[1] * result.volume.shape[2]
    told: dict[str, Any] = {name: record[name] for name in RECORDED if name in record}
    if result.displacement is not None:
        told["reports"] = record["sections"]
    return {
        "task": record["task"],
        "method": record["method"],
        "weights": record["weights"],
        "params": record["params"],
        **told,
        "out": str(out),
        "shape": list(result.volume.shape),
        "voxel_nm": list(result.volume.grid.voxel_nm) if result.volume.grid.voxel_nm else None,
        "sections": sections,
        "selfcheck": record["selfcheck"],
        "seconds": round(seconds, 3),
        "voxels_per_second": round(voxels / seconds, 1),
        "device": bare_name(runtime.device),
        "notices": list(dict.fromkeys([*record["notices"], *notes])),
    }


def describe(summary: dict[str, Any]) -> str:
    """Return the same for a person: what was made, how it was checked, what must be known."""
    z, y, x = summary["shape"]
    reports = summary.get("reports")
    made, how = (
        (len(summary["sections"]), "made up")
        if reports is None
        else (sum(r["treatment"] == "moved" for r in reports), "moved")
    )
    head = (
        f"{summary['method']}: {z} x {y} x {x} voxels, {made} of {z} sections {how}, "
        f"in {summary['seconds']:.1f} s on {summary['device']} -> {summary['out']}"
    )
    checked = [*_checked(summary["selfcheck"]), *_residual(summary.get("residual"))]
    lines = [head, *_moved(reports), *checked, *summary["notices"]]
    return "\n".join(lines)


def _moved(reports: list[dict[str, Any]] | None) -> list[str]:
    if not reports:
        return []
    far = max(reports, key=lambda r: r["max_px"])
    furthest = f"displacements of up to {far['max_px']:.2f} px (section {far['section']})"
    if any("confidence" not in r for r in reports):  # moved by a field that was there already
        return [furthest]
    doubtful = min(reports, key=lambda r: r["confidence"])
    return [f"{furthest}; confidence {doubtful['confidence']:.2f} and more (section {doubtful['section']})"]


def _checked(check: dict[str, Any] | None) -> list[str]:
    if check is None:
        return []
    if "bicubic" in check:
        scores = ", ".join(f"{name} {check[name]:.2f} dB" for name in ("bicubic", "nearest"))
        return [f"self-check on {check['n']} sections made coarser: {check['psnr']:.2f} dB, {scores}"]
    if "linear" in check:
        in_plane = check.get("in_plane")
        lines = [f"self-check on {check['n']} hidden sections: {_beside(check)}"]
        return lines if in_plane is None else [*lines, f"in plane, rows posed as sections: {_beside(in_plane)}"]
    correlation = f"correlation of neighbours {check['cpc_before']:.3f} before, {check['cpc_after']:.3f} after"
    jitter = f"known jitter {check['psnr_jittered']:.2f} dB before, {check['psnr_aligned']:.2f} dB after"
    if "epe_aligned" in check:
        jitter = f"known distortion {check['epe_jittered']:.2f} px before, {check['epe_aligned']:.2f} px after"
    return [f"self-check on {check['n']} sections: {correlation}; {jitter}"]


def _beside(check: dict[str, Any]) -> str:
    """Return a score with those of the floors beside it."""
    baselines = {"linear": "linear", "linear_back_projected": "linear, back-projected"}
    scores = [f"{baseline} {check[name]:.2f} dB" for name, baseline in baselines.items() if name in check]
    return ", ".join([f"{check['psnr']:.2f} dB", *scores])


def _residual(off: dict[str, float] | None) -> list[str]:
    if not off:
        return []
    before, after = (f"{off[name]:.3g}" for name in ("before", "after"))
    return [f"off the acquired means by {before} (RMS) as the method drew it, by {after} at most in the result"]
