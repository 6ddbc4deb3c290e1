"""Copy as code for alignment: what a volume's task says, and the materials and layers that go along with it.

Law: what the layers stand for must be in files: for those that are in none, the text says under which name to export
them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.copy_as_code import slug, source_path
from napari_emsynth.plugin.layers.convert import type_of
from napari_emsynth.plugin.volume_task.code import More

MATERIALS = "materials.tif"
VOXELS = ("image", "labels")


def more_code(
    settings: AlignSettings, materials: Any | None, along: Sequence[Any], first: Any | None = None
) -> More:
    """Return what an alignment's code has beside that of every task.

    Args:
        settings: what is done.
        materials: the labels layer that says what the tissue is made of; None without one.
        along: layers that go along; points and shapes, which only the dock moves, are passed over.
        first: the layer that is aligned already, and is drawn anew from its original; None when it is not.
    """
    notes, arguments, lines, words = [], [], [], []
    if materials is not None:
        notes.append(_materials_note(settings, materials))
        arguments.append(f"materials=es.read({MATERIALS!r})")
        words += ["--materials", MATERIALS]
    for layer in (found for found in along if type_of(found) in VOXELS):
        source, out = source_path(layer) or f"{slug(layer.name)}.tif", f"{slug(layer.name)}_aligned.ome.tif"
        is_labels = type_of(layer) == "labels"
        if source_path(layer) is None:
            notes.append(f"# export layer {layer.name!r} to {source} first")
        how = "" if is_labels else ', "cubic"'
        lines.append(f"es.write(result.apply(es.read({source!r}){how}), {out!r})")
        words += ["--apply-to" if is_labels else "--apply-to-image", f"{source}={out}"]
    more = More(notes=tuple(notes), arguments=tuple(arguments), lines=tuple(lines), words=tuple(words))
    return more if first is None else _again(more, first)


def _again(more: More, first: Any) -> More:
    """Return the code of an alignment upon another: both fields in one, applied to what was acquired."""
    field = f"{slug(first.name)}_field.zarr"
    return replace(
        more,
        notes=(f"# save the field of layer {first.name!r} to {field} first", *more.notes),
        before=(f"first = es.read_field({field!r})",),
        given='es.apply_field(volume, first, "cubic")',
        then=("both = es.compose(first, result.displacement)",),
        made='both.apply(volume, "cubic", record=result.provenance)',
        lines=tuple(line.replace("result.apply(", "both.apply(") for line in more.lines),
        words=("--from-displacement", field, *more.words),
    )


def _materials_note(settings: AlignSettings, materials: Any) -> str:
    tears, ignored = settings.tears or "none", settings.ignored or "none"
    return (
        f"# export layer {materials.name!r} to {MATERIALS} first, as 1 where the tissue may tear (labels {tears}), "
        f"2 where it is dirt or empty (labels {ignored}), else 0"
    )
