"""What the commands that make a whole new volume share: running, writing, telling."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save
from napari_emsynth.cli.screen import Screen

if TYPE_CHECKING:
    from napari_emsynth.spec import Result, Runtime
    from napari_emsynth.volume import Volume

Out = Annotated[Path, typer.Argument(metavar="OUT", help="A .tif, .ome.tif, .zarr or .ome.zarr to write.")]
Weights = Annotated[
    str | None, typer.Option(metavar="NAME|FILE", help="Bundled weights or a .safetensors file.")
]


def make(
    task: Callable[[Volume, Runtime], Result],
    source: Path,
    out: Path,
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Run a task from file to file and answer.

    Args:
        task: (volume, runtime) -> result.
        source: IN.
        out: OUT.
        common: how to read and compute.
        save: how to write.
        cluster: where to compute.

    Raises:
        InputError: bad use or bad input, before any work where that can be known.
    """
    from napari_emsynth.io import check_output, write

    with Screen(as_json=common.json) as screen:
        cluster.check()
        check_output(out, source, save.overwrite, save.resume)
        runtime = common.runtime(screen)
        volume = common.open(source, screen)
        started = time.monotonic()
        result = task(volume, runtime)
        with cluster.compute(result) as placed:
            write(placed, out, overwrite=save.overwrite, resume=save.resume, progress=runtime.progress)
        summary = summarise(result, runtime, out, time.monotonic() - started, screen.notes)
        screen.answer(summary, describe(summary))


def summarise(
    result: Result, runtime: Runtime, out: Path, seconds: float, notes: list[str]
) -> dict[str, Any]:
    """Return the JSON object of a finished run."""
    from napari_emsynth.tiling.device import bare_name

    record = result.provenance
    sections = [entry["section"] for entry in record["sections"]]
    voxels = len(sections) * result.volume.shape[1] * result.volume.shape[2]
    told: dict[str, Any] = {
        name: record[name] for name in ("factor", "sampling", "constraints") if name in record
    }
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
    lines = [head, *_moved(reports), *_checked(summary["selfcheck"]), *summary["notices"]]
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
    if "linear" in check:
        scores = f"{check['psnr']:.2f} dB, linear {check['linear']:.2f} dB"
        return [f"self-check on {check['n']} hidden sections: {scores}"]
    correlation = (
        f"correlation of neighbours {check['cpc_before']:.3f} before, {check['cpc_after']:.3f} after"
    )
    jitter = f"known jitter {check['psnr_jittered']:.2f} dB before, {check['psnr_aligned']:.2f} dB after"
    if "epe_aligned" in check:
        jitter = (
            f"known distortion {check['epe_jittered']:.2f} px before, {check['epe_aligned']:.2f} px after"
        )
    return [f"self-check on {check['n']} sections: {correlation}; {jitter}"]
