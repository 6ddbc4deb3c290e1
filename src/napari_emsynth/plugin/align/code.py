"""Copy as code for alignment: what a volume's task says, and the materials and the layers that follow.

Law: what the layers stand for must be in files: for those that are in none, the text says under which name to export
them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.layers.convert import type_of
from napari_emsynth.plugin.volume_task.code import More, linked_code

MATERIALS = "materials.tif"
VOXELS = ("image", "labels")


def more_code(settings: AlignSettings, materials: Any | None, linked: Sequence[Any], first: Any | None = None) -> More:
    """Return what an alignment's code has beside that of every task.

    Args:
        settings: what is done.
        materials: the labels layer that says what the tissue is made of; None without one.
        linked: layers that follow; points and shapes, which only the dock moves, are passed over.
        first: the layer that is aligned already, and is drawn anew from its original; None when it is not.
    """
    more = linked_code((layer for layer in linked if type_of(layer) in VOXELS), "aligned")
    if materials is not None:
        more = replace(
            more,
            notes=(_materials_note(settings, materials), *more.notes),
            arguments=(f"materials=es.read({MATERIALS!r}, labels=True)",),
            words=("--materials", MATERIALS, *more.words),
        )
    return more if first is None else _again(more, first)


def _again(more: More, first: Any) -> More:
    """Return the code of an alignment upon another: both fields in one, applied to what was acquired."""
    field = f"{slug(first.name)}_field.zarr"
    return replace(
        more,
        notes=(f"# save the field of layer {first.name!r} to {field} first", *more.notes),
        before=(f"first = es.read_field({field!r})",),
        given='es.apply_field(volume, first, "cubic")',
        words=("--from-displacement", field, *more.words),
    )


def _materials_note(settings: AlignSettings, materials: Any) -> str:
    tears, ignored = settings.tears or "none", settings.ignored or "none"
    return (
        f"# export layer {materials.name!r} to {MATERIALS} first, as 1 where the tissue may tear (labels {tears}), "
        f"2 where it is dirt or empty (labels {ignored}), else 0"
    )
