"""Layers that follow an alignment: moved into new layers, or written to files in one action; all through one field."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.export import AlignedExport
from napari_emsynth.plugin.align.session import AlignTask
from napari_emsynth.plugin.align.transform_layer import FOLLOWERS, Home, follower
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import find_layer, full_data, is_companion, type_of
from napari_emsynth.plugin.viewer.session import ready
from napari_emsynth.plugin.volume_task.linked_layers import Work, add_linked, ticked_layers, write_linked
from napari_emsynth.spec import Runtime

ALIGNED, UNDONE = "aligned", "as acquired"


def followers(viewer: Any) -> list[Any]:
    """Return the layers that can follow an alignment, the topmost first."""
    return [layer for layer in reversed(list(viewer.layers)) if type_of(layer) in FOLLOWERS and not is_companion(layer)]


def move_linked(task: AlignTask, chosen: Any, layer_ids: Sequence[Any], *, back: bool = False) -> QueuedJob | None:
    """Move layers by the field in use, into new layers.

    Args:
        task: of the viewer.
        chosen: the layer whose alignment is meant.
        layer_ids: of what is to move.
        back: through the inverse field, from what is aligned to what was acquired.
    """

    def prepare() -> tuple[Work, list[Any]]:
        shown = task.wanted(chosen)
        layers = ticked_layers(task, layer_ids, "no layer is ticked; tick at least 1 layer to move")
        if not back:
            # Its moved copy is the alignment itself.
            layers = [layer for layer in layers if layer.unique_id != shown.source_id]
        if not layers:
            raise InputError("only the stack itself is ticked, and its aligned copy is there already")
        home = Home.of(find_layer(task.session.viewer, shown.layer_id))
        makes = [follower(layer, home, UNDONE if back else ALIGNED) for layer in layers]
        field, record = shown.result.displacement, dict(shown.result.provenance)
        if back:
            record["inverse"] = True
        needed = sum(in_memory_bytes(layer) for layer in layers)

        def work(job: QueuedJob) -> list[Any]:
            ready(job)
            from napari_emsynth.tiling.memory_check import check_room

            check_room(needed, "the moved layers need", "export them instead, or tick fewer")
            used = _inverse(field) if back else field
            made = []
            for done, make in enumerate(makes):
                job.cancel.check()
                job.report(done, len(makes), "layers")
                made.append(make(used, record, Runtime(cancel=job.cancel)))
            return made

        return work, [layer.unique_id for layer in layers]

    return add_linked(task, "Move layers", "Move {} layer(s)", prepare)


def export_linked(
    task: AlignTask, chosen: Any, layer_ids: Sequence[Any], folder: Path, suffix: str, *, overwrite: bool = False
) -> QueuedJob | None:
    """Write layers moved by the field in use, each with its record, into one folder.

    Args:
        task: of the viewer.
        chosen: the layer whose alignment is meant.
        layer_ids: of what is to be written; the stack that was aligned, or its result, stands for the aligned stack.
        folder: where to.
        suffix: ".ome.tif" or ".ome.zarr" for voxels; points and shapes become .csv.
        overwrite: replace what is there.
    """
    session = task.session

    def prepare() -> Work:
        shown = task.wanted(chosen)
        layers = ticked_layers(task, layer_ids, "no layer is ticked; tick at least 1 layer to export")
        home_layer = find_layer(session.viewer, shown.layer_id)
        export = AlignedExport.of(session.content_of(home_layer), Home.of(home_layer), folder, suffix)
        for layer in layers:
            export.put(layer, is_stack=layer.unique_id in (shown.layer_id, shown.source_id))
        export.check(overwrite=overwrite)
        return lambda job: export.write(job.report, job.cancel, overwrite=overwrite)

    return write_linked(task, "Export aligned layers", "{} aligned layer(s)", folder, prepare)


def in_memory_bytes(layer: Any) -> int:
    """Return how much memory a moved copy of a layer takes: that of voxels in memory; lazy ones stay lazy."""
    if type_of(layer) not in ("image", "labels"):
        return 0
    data = full_data(layer)
    return int(data.nbytes) if type(data) is np.ndarray else 0


def _inverse(field: Any) -> Any:
    from napari_emsynth.fields.algebra import inverse

    return inverse(field)
