"""Labels that follow an upsampled volume: into new layers, or into files.

Laws: ids stay, none is made up; a layer must have the voxels of what was upsampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from napari.layers import Layer

from napari_emsynth.errors import InputError
from napari_emsynth.methods.in_memory import by_section
from napari_emsynth.plugin.copy_as_code import slug
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import (
    PROVENANCE_KEY,
    full_data,
    origin_nm_of,
    told,
    type_of,
    unwrap,
    voxel_nm_of,
)
from napari_emsynth.plugin.layers.results import Shown
from napari_emsynth.plugin.upsample.session import UpsampleTask
from napari_emsynth.plugin.viewer.session import ready
from napari_emsynth.plugin.volume_task.layers import moved_space
from napari_emsynth.plugin.volume_task.linked_layers import Work, add_linked, ticked_layers, write_linked
from napari_emsynth.volume import Volume

NO_RESULT = "nothing upsampled is in the viewer; run first, then labels can follow"


def labels_layers(viewer: Any) -> list[Any]:
    """Return the labels layers, the topmost first; not those that went along already."""
    return [
        layer
        for layer in reversed(list(viewer.layers))
        if type_of(layer) == "labels" and PROVENANCE_KEY not in layer.metadata
    ]


def upsample_linked(task: UpsampleTask, layer_ids: Sequence[Any]) -> QueuedJob | None:
    """Upsample labels as the newest result was, into new layers."""

    def prepare() -> tuple[Work, list[Any]]:
        shown, layers = _chosen(task, layer_ids)
        volumes = [labels_volume(layer, shown) for layer in layers]
        settings, result = shown.outcome.settings, shown.result
        looks = []
        for layer in layers:
            _, look, _ = unwrap(layer).as_layer_data_tuple()
            name = f"{layer.name} {settings.done}"
            looks.append({**look, **moved_space(layer, settings), "name": name, "multiscale": False})

        def work(job: QueuedJob) -> list[Any]:
            ready(job)
            made = []
            for done, (volume, look) in enumerate(zip(volumes, looks, strict=True)):
                job.cancel.check()
                job.report(done, len(looks), "layers")
                moved = result.apply(volume)
                metadata = {**look["metadata"], **told(moved)}
                made.append(Layer.create(moved.data, {**look, "metadata": metadata}, "labels"))
            return made

        return work, [layer.unique_id for layer in layers]

    return add_linked(task, "Upsample labels", "Upsample {} labels layer(s)", prepare)


def export_linked(
    task: UpsampleTask, layer_ids: Sequence[Any], folder: Path, suffix: str, *, overwrite: bool = False
) -> QueuedJob | None:
    """Write labels, upsampled as the newest result was, each with its record, into one folder."""

    def prepare() -> Work:
        from napari_emsynth.io import check_output, write

        shown, layers = _chosen(task, layer_ids)
        paths = [folder / f"{slug(f'{layer.name} {shown.outcome.settings.done}')}{suffix}" for layer in layers]
        if len(set(paths)) < len(paths):
            raise InputError("two labels layers have one name; every file needs a name of its own")
        for path in paths:
            check_output(path, None, overwrite)
        volumes, result = [labels_volume(layer, shown) for layer in layers], shown.result

        def work(job: QueuedJob) -> list[Path]:
            ready(job)
            for volume, path in zip(volumes, paths, strict=True):
                carried = result.along.carried(by_section(volume), result.provenance)
                write(carried, path, overwrite=overwrite, progress=job.report, cancel=job.cancel)
            return paths

        return work

    return write_linked(task, "Export labels", "{} upsampled labels layer(s)", folder, prepare)


def _chosen(task: UpsampleTask, layer_ids: Sequence[Any]) -> tuple[Shown, list[Any]]:
    shown = task.newest_shown()
    if shown is None:
        raise InputError(NO_RESULT)
    return shown, ticked_layers(task, layer_ids, "no labels layer is ticked; tick at least 1 to upsample")


def labels_volume(layer: Any, shown: Shown) -> Volume:
    """Return the voxels of a labels layer.

    Raises:
        InputError: they are not those of what was upsampled.
    """
    wanted = tuple(shown.result.provenance["source"]["shape"])
    shape = tuple(full_data(layer).shape)
    if shape != wanted:
        raise InputError(
            f"labels {layer.name!r} have {shape} voxels; to follow it they need the {wanted} voxels of what was "
            "upsampled"
        )
    return Volume.of(full_data(layer), voxel_nm=voxel_nm_of(layer), origin_nm=origin_nm_of(layer), name=layer.name)
