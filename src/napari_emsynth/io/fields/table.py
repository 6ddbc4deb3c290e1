"""The formats of displacement fields, chosen by suffix."""

from __future__ import annotations

from pathlib import Path

from napari_emsynth.errors import InputError
from napari_emsynth.io.fields.format import Format
from napari_emsynth.io.fields.mha import MHA
from napari_emsynth.io.fields.npy import NPY
from napari_emsynth.io.fields.nrrd import NRRD
from napari_emsynth.io.fields.ome import OME
from napari_emsynth.io.fields.own_zarr import ZARR
from napari_emsynth.io.fields.sofima import SOFIMA

FORMATS = (NPY, ZARR, OME, NRRD, MHA, SOFIMA)
FIELD_SUFFIXES = tuple(form.suffix for form in FORMATS)


def format_of(path: Path, verb: str) -> Format:
    """Return the format that a name asks for: the longest suffix that it ends in.

    Args:
        path: of the file or folder.
        verb: what is to be done with it, for the refusal: "read", "write".

    Raises:
        InputError: no format has its suffix.
    """
    fitting = [form for form in FORMATS if path.name.lower().endswith(form.suffix)]
    if not fitting:
        needs = ", ".join(FIELD_SUFFIXES[:-1])
        raise InputError(
            f"cannot {verb} a displacement field {'to' if verb == 'write' else 'from'} {path}: suffix "
            f"{path.suffix or 'missing'!r}, needs {needs} or {FIELD_SUFFIXES[-1]}"
        )
    return max(fitting, key=lambda form: len(form.suffix))


def format_within(path: Path) -> Format:
    """Return the format of what is there: of a Zarr, by what it holds and not by its name.

    Raises:
        InputError: no format has its suffix; nothing is there.
    """
    form = format_of(path, "read")
    if not path.exists():
        raise InputError(f"{path} does not exist")
    return (ZARR if _is_array(path) else OME) if form.folder else form


def _is_array(path: Path) -> bool:
    import zarr

    from napari_emsynth.io.stored import opening
    from napari_emsynth.io.zarr.store import store_of

    with opening(path, "Zarr"):
        return isinstance(zarr.open(store_of(path), mode="r"), zarr.Array)
