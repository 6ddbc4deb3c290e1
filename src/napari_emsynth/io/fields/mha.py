"""ITK fields in ``.mha``: a MetaImage, its header and its data in one file; read raw or compressed, written raw."""

from __future__ import annotations

from pathlib import Path

from napari_emsynth.errors import InputError
from napari_emsynth.io.atomic import Work
from napari_emsynth.io.fields.format import Format, Found, Head
from napari_emsynth.io.fields.itk import HEADER_BYTES, IDENTITY, Filled, VectorImage, as_text, found, numbers, type_of
from napari_emsynth.io.stored import opening
from napari_emsynth.io.units import nm_per

TYPES = {
    "MET_FLOAT": "f4", "MET_DOUBLE": "f8", "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2",
    "MET_INT": "i4", "MET_UINT": "u4",
}  # fmt: skip
# Names that older writers gave.
OLDER = {
    "Offset": ("Origin", "Position"),
    "TransformMatrix": ("Orientation", "Rotation"),
    "BinaryDataByteOrderMSB": ("ElementByteOrderMSB",),
}
LAST = "ElementDataFile"


def _begin(work: Work, head: Head) -> Filled:
    z, y, x = head.field.shape
    said = {
        "ObjectType": "Image",
        "NDims": "3",
        "BinaryData": "True",
        "BinaryDataByteOrderMSB": "False",
        "CompressedData": "False",
        "TransformMatrix": " ".join(f"{n:g}" for n in IDENTITY),
        "Offset": " ".join(as_text(head.origin_nm)),
        "CenterOfRotation": "0 0 0",
        "ElementSpacing": " ".join(as_text(head.voxel_nm)),
        "DimSize": f"{x} {y} {z}",
        "ElementNumberOfChannels": "3",
        "ElementType": "MET_FLOAT",
        LAST: "LOCAL",
    }
    return Filled.begun(work.data, "".join(f"{key} = {value}\n" for key, value in said.items()), head)


def _read(path: Path) -> Found:
    with opening(path, ".mha"):
        said, offset = _header(path)
        wanted = {"NDims": "3", "ElementNumberOfChannels": "3", LAST: "LOCAL"}
        for key, value in wanted.items():
            if said[key] != value:
                raise InputError(
                    f"{key} = {said[key][:60]}, needs {value}: vectors x, y, z of a 3-D image in this file"
                )
        x, y, z = (int(n) for n in numbers(said["DimSize"], 3))
        image = VectorImage(
            size=(x, y, z),
            spacing=numbers(said.get("ElementSpacing", "1 1 1"), 3),
            origin=numbers(said.get("Offset", "0 0 0"), 3),
            unit_nm=nm_per(said["DistanceUnits"]) if "DistanceUnits" in said else 1.0,
            direction=numbers(said.get("TransformMatrix", "1 0 0 0 1 0 0 0 1"), 9),
            dtype=type_of(TYPES, said["ElementType"], big=_is(said, "BinaryDataByteOrderMSB")),
            offset=offset,
            packed=_is(said, "CompressedData"),
        )
        return found(path, image)


def _header(path: Path) -> tuple[dict[str, str], int]:
    """Return what the header says, and where it ends.

    Raises:
        InputError: it does not end.
    """
    with path.open("rb") as file:
        start = file.read(HEADER_BYTES)
    said: dict[str, str] = {}
    at = 0
    while LAST not in said:
        end = start.find(b"\n", at)
        if end < 0:
            raise InputError(f"it has no header of {LAST}")
        key, _, value = start[at:end].decode("ascii").partition("=")
        said[key.strip()] = value.strip()
        at = end + 1
    for key, names in OLDER.items():
        found = [said[name] for name in names if name in said]
        if found and key not in said:
            said[key] = found[0]
    return said, at


def _is(said: dict[str, str], key: str) -> bool:
    return said.get(key, "False").lower() in ("true", "1")


MHA = Format(
    suffix=".mha",
    about="an ITK displacement field, x, y, z in nm",
    read=_read,
    begin=_begin,
    takes=lambda voxels: 12 * voxels,
    physical=True,
)
