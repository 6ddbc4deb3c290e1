"""``emsynth field``: displacement fields from one format to another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from napari_emsynth.cli.groups import AsJson
from napari_emsynth.cli.parse import parse_voxel_nm
from napari_emsynth.cli.saving import NOTHING_LEFT, ending_in
from napari_emsynth.cli.screen import Screen
from napari_emsynth.errors import InputError

field = typer.Typer(
    name="field",
    help="Displacement fields by suffix: .npy, .zarr, .ome.zarr (OME-Zarr 0.6), .nrrd and .mha (ITK), .sofima.npz.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Size = Annotated[
    str | None, typer.Option("--voxel-size", metavar="Z,Y,X", help="In nm; by default what A says. Lengths need it.")
]


@field.command()
def convert(
    a: Annotated[Path, typer.Argument(metavar="A", help="A displacement field.")],
    b: Annotated[Path, typer.Argument(metavar="B", help="Where to; its suffix names the format.")],
    *,
    voxel_size: Size = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace B if it exists.")] = False,
    json: AsJson = False,
) -> None:
    """Write the field in A as B, in the format that B's suffix names."""
    from napari_emsynth.io.atomic import real
    from napari_emsynth.io.fields import check_field_output, open_field, write_field
    from napari_emsynth.spec import CancelToken

    with Screen(as_json=json) as screen:
        if real(a) == real(b):
            raise InputError(f"A and B are the same file {a}; A is never modified")
        check_field_output(b, a, overwrite=overwrite)
        found, cancel = open_field(a, parse_voxel_nm(voxel_size)), CancelToken()
        with ending_in(cancel, lambda: NOTHING_LEFT):
            write_field(
                found.field, b, overwrite=overwrite, provenance=found.record, origin_nm=found.origin_nm,
                progress=screen.progress, cancel=cancel,
            )  # fmt: skip
        told = said_of(b)
        screen.answer(told | {"from": str(a)}, f"{a} -> {b}: {describe(told)}")


@field.command()
def show(
    a: Annotated[Path, typer.Argument(metavar="A", help="A displacement field.")], *, json: AsJson = False
) -> None:
    """Say which volume a field serves, and how far it moves."""
    with Screen(as_json=json) as screen:
        told = said_of(a)
        screen.answer(told, f"{a}: {describe(told)}")


def said_of(path: Path) -> dict[str, Any]:
    """Return what a field says of itself, as a JSON object."""
    from napari_emsynth.io.fields import open_field

    found = open_field(path)
    size, lengths = found.field.voxel_nm, found.field.largest_px()
    return {
        "field": str(path),
        "format": found.form.about,
        "shape": list(found.field.shape),
        "nodes": list(found.field.nodes),
        "voxel_nm": None if size is None else list(size),
        "origin_nm": list(found.origin_nm),
        "largest_px": [round(float(length), 4) for length in lengths],
        "method": None if found.record is None else found.record.get("method"),
    }


def describe(told: dict[str, Any]) -> str:
    """Return the same for a person."""
    shape = " x ".join(map(str, told["shape"]))
    size = "unknown voxel size" if told["voxel_nm"] is None else f"{', '.join(f'{n:g}' for n in told['voxel_nm'])} nm"
    moved = sum(length > 0 for length in told["largest_px"])
    far = f"moves {moved} of {told['shape'][0]} sections, by up to {max(told['largest_px']):g} px"
    return f"{told['format']}, for {shape} voxels, {size}; {far}"
