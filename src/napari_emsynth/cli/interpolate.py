"""``emsynth interpolate``: replace damaged sections, or insert missing ones."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.patch import Flag
from napari_emsynth.cli.planning import tell_plan
from napari_emsynth.cli.saving import saving
from napari_emsynth.cli.screen import Screen, table
from napari_emsynth.errors import InputError
from napari_emsynth.sections import spans

if TYPE_CHECKING:
    from napari_emsynth.spec import Result, Runtime


def interpolate(
    source: Source,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="A .tif, .ome.tif, .zarr or .ome.zarr to write.")],
    *,
    options: dict[str, Any],
    mask: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Of IN's shape, non-zero = replace; --sections may then be left out."),
    ] = None,
    patch: Flag = False,
    values: dict[str, Any],
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Replace damaged sections by what their neighbours tell, or insert missing ones."""
    from napari_emsynth.io import check_output, read_one, write
    from napari_emsynth.io.output_checks import check_apart
    from napari_emsynth.io.patch import check_keeps, check_patch_output, write_patch
    from napari_emsynth.methods.interpolate.options import InterpolateOptions
    from napari_emsynth.methods.interpolate.task import interpolate as task

    with Screen(as_json=common.json) as screen:
        asked = InterpolateOptions(**options, params=values)
        if asked.sections is None and mask is None:
            raise InputError("nothing to replace: give --sections, --mask or both")
        cluster.check()
        if mask is not None:
            check_apart(out, mask)
        check = partial(check_patch_output if patch else check_output, out, source, save.overwrite, save.resume)
        check()
        runtime = common.runtime(screen)
        with saving([out], [source, mask], check, save, runtime) as how:
            volume = common.open(source, screen)
            if patch:
                check_keeps(volume.grid, asked.grid(volume.grid))
            if save.plan:
                tell_plan(screen, "interpolate", volume, asked, runtime, patch=patch)
                return
            put = partial(write_patch, source=volume) if patch else write
            started = time.monotonic()
            result = task(
                volume, options=asked, mask=None if mask is None else read_one(mask, "--mask"), runtime=runtime
            )
            with cluster.compute(result) as placed:
                put(placed, path=out, **how)
            summary = summarise(result, runtime, out, time.monotonic() - started, screen.notes)
        screen.answer(summary, describe(summary))


def summarise(result: Result, runtime: Runtime, out: Path, seconds: float, notes: list[str]) -> dict[str, Any]:
    """Return the JSON object of a finished run."""
    from napari_emsynth.tiling.device import bare_name

    record = result.provenance
    sections = record["sections"]
    made = sum((y1 - y0) * (x1 - x0) for (y0, y1), (x0, x1) in (entry["window"] for entry in sections))
    return {
        "task": "interpolate",
        "method": record["method"],
        "weights": record["weights"],
        "params": record["params"],
        "look": record["look"],
        "out": str(out),
        "shape": list(result.volume.shape),
        "sections": sorted({entry["section"] for entry in sections}),
        "treatment": [{k: v for k, v in entry.items() if k != "selfcheck"} for entry in sections],
        "selfcheck": [{"section": entry["section"], **entry["selfcheck"]} for entry in sections if entry["selfcheck"]],
        "left_out": record["left_out"],
        "seconds": round(seconds, 3),
        "voxels_per_second": round(made / seconds, 1),
        "device": bare_name(runtime.device),
        "notices": list(dict.fromkeys([*record["notices"], *notes])),
    }


def describe(summary: dict[str, Any]) -> str:
    """Return the same for a person: one row a section, then what must be known."""
    from napari_emsynth.trust.selfcheck import BASELINES

    checks = {check["section"]: check for check in summary["selfcheck"]}
    rows = [_row(entry, checks.get(entry["section"]), ("psnr", *BASELINES)) for entry in summary["treatment"]]
    spent = f"{summary['seconds']:.1f} s on {summary['device']}"
    lines = [
        f"{summary['method']}: {len(rows)} section(s) in {spent} -> {summary['out']}",
        table(("section", "treatment", "from", "self-check dB", *(f.replace("_", " ") for f in BASELINES)), rows),
        *summary["notices"],
    ]
    return "\n".join(lines)


def _row(entry: dict[str, Any], check: dict[str, Any] | None, names: Sequence[str]) -> tuple[str, ...]:
    scores = [f"{check[name]:.2f}" if check and check.get(name) is not None else "-" for name in names]
    return (str(entry["section"]), entry["treatment"], spans(entry["served"]), *scores)
