"""Copy as code for upsampling: the labels that go along.

Law: labels must be in files; for those that are in none, the text says under which name to export them first.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from napari_emsynth.plugin.copy_as_code import slug, source_path
from napari_emsynth.plugin.volume_task.code import More


def labels_code(along: Sequence[Any]) -> More:
    """Return what the code has beside that of every task.

    Args:
        along: labels layers.
    """
    notes, lines, words = [], [], []
    for layer in along:
        source, out = source_path(layer) or f"{slug(layer.name)}.tif", f"{slug(layer.name)}_upsampled.ome.tif"
        if source_path(layer) is None:
            notes.append(f"# export layer {layer.name!r} to {source} first")
        lines.append(f"es.write(result.apply(es.read({source!r})), {out!r})")
        words += ["--apply-to", f"{source}={out}"]
    return More(notes=tuple(notes), lines=tuple(lines), words=tuple(words))
