"""Patches in a viewer: saved from a repair, looked at over a layer, put into the layer's file and taken out again.

Law: a file that changes under a layer is read anew by every layer that shows it; nothing else of the viewer changes.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qtpy.QtWidgets import QFileDialog, QMessageBox

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.jobs import notify
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.plugin.layers.convert import (
    KNOWN_KEY,
    PROVENANCE_KEY,
    Placement,
    check_layer,
    image_layers,
    told,
    unique_name,
    volume_of,
)  # fmt: skip
from napari_emsynth.plugin.layers.history import put_data
from napari_emsynth.plugin.layers.results import insert_above, mask_look, uncertainty_look
from napari_emsynth.sections import spans

if TYPE_CHECKING:
    from napari_emsynth.io.patch import Patch
    from napari_emsynth.plugin.viewer.session import Session

FILTER = "Patch (*.patch.zarr)"


def save(session: Session, layer: Any) -> None:
    """Ask where to, and write what a result changed."""
    path, _ = QFileDialog.getSaveFileName(session.window, "Save as patch", f"{layer.name}.patch.zarr", FILTER)
    if path:
        # The dialog has asked about overwriting.
        session.export(layer, Path(path), overwrite=True)


def chosen(session: Session, title: str) -> Path | None:
    """Ask for a patch, which is a folder."""
    path = QFileDialog.getExistingDirectory(session.window, title)
    return Path(path) if path else None


def show(session: Session, path: Path, layer: Any) -> list[Any]:
    """Lay a patch over a layer, as a layer of its own with its mask and error estimate; nothing is written."""
    found = session.attempt(lambda: _over(path, layer))
    if found is None:
        return []
    patch, layers = found
    for above, made in zip([layer, *layers], layers, strict=False):
        made.name = unique_name(session.viewer, made.name)
        insert_above(session.viewer, made, {above.unique_id})
    session.viewer.layers.selection.active = layers[0]
    notify.info(f"{path.name} changes section(s) {spans(patch.sections)}; the file is as it was")
    return layers


def _over(path: Path, layer: Any) -> tuple[Patch, list[Any]]:
    from napari.layers import Image

    from napari_emsynth.io.patch import patched, read_patch

    check_layer(layer)
    patch = read_patch(path)
    seen = patched(volume_of(layer), patch)
    place = Placement.of(layer)
    marks = {} if seen.known is None else seen.known.marks
    looks = {"synthetic": mask_look(), "uncertainty": uncertainty_look(place.look["contrast_limits"])}
    name = f"{layer.name} with {path.name.removesuffix('.patch.zarr')}"
    layers = [Image(seen.data, name=name, metadata=told(seen), **place.space, **place.look)]
    layers += [Image(marks[mark], name=f"{name} {mark}", **place.space, **look) for mark, look in looks.items()
               if mark in marks]  # fmt: skip
    return patch, layers


def over_any(viewer: Any, path: Path) -> list[Any]:
    """Return the layers of a patch over the active layer, or over the topmost one that it is of.

    Raises:
        InputError: no layer shows the volume that the patch is of.
    """
    from napari_emsynth.io.patch import read_patch

    patch = read_patch(path)
    layers = [] if viewer is None else [viewer.layers.selection.active, *image_layers(viewer)]
    for layer in layers:
        with contextlib.suppress(InputError):
            return _over(path, layer)[1]
    size = " x ".join(map(str, patch.grid.shape))
    raise InputError(f"{path} is a patch of {patch.name or 'a volume'} ({size} voxels): open that first")


def change_file(session: Session, path: Path, layer: Any, *, undo: bool = False) -> QueuedJob | None:
    """Put a patch into the file that a layer shows, or take it out again, in the background.

    Args:
        session: of the viewer.
        path: of the patch.
        layer: which was opened from a Zarr.
        undo: take it out.
    """

    def prepare() -> Callable[[QueuedJob], Any]:
        from napari_emsynth.io.patch import apply_patch, read_patch, undo_patch

        patch, target = read_patch(path), file_of(layer)
        act = undo_patch if undo else apply_patch
        return lambda job: (target, act(patch, target, progress=job.report, cancel=job.cancel, note=job.notes.append))

    work = session.attempt(prepare)
    if work is None:
        return None
    words = "taken out of" if undo else "put into"

    def done(made: tuple[Path, dict[str, Any]]) -> None:
        target, answer = made
        session.attempt(lambda: read_again(session.viewer, target))
        notify.info(f"{path.name} is {words} {target}: section(s) {spans(answer['sections'])}")

    title = f"{'Undo' if undo else 'Apply'} {path.name}"
    return session.queue.submit(QueuedJob(title, work, on_done=done, on_failed=session.refuse))


def file_of(layer: Any) -> Path:
    """Return the file that a layer was opened from.

    Raises:
        InputError: it was made here.
    """
    check_layer(layer)
    said = layer.metadata.get("path")
    if not said:
        raise InputError(
            f"layer {layer.name!r} was not opened from a file by this plugin: open the Zarr, then choose it"
        )
    return Path(said)


def may_change(session: Session, path: Path, layer: Any, *, undo: bool) -> bool:
    """Ask whether a file may be changed in place."""
    target = session.attempt(lambda: file_of(layer))
    if target is None:
        return False
    question = f"Take {path.name} out of" if undo else f"Put {path.name} into"
    answer = QMessageBox.question(session.window, "EMSynth", f"{question} {target}? The file is changed in place.")
    return bool(answer == QMessageBox.StandardButton.Yes)


def read_again(viewer: Any, path: Path) -> None:
    """Let every layer that shows a file show what is in it now.

    Raises:
        InputError: it cannot be read.
    """
    from napari_emsynth import io

    for layer in image_layers(viewer):
        if Path(layer.metadata.get("path") or "") == path:
            volume = io.read(path)
            put_data(layer, volume.data, {**kept_of(layer), **told(volume)})


def kept_of(layer: Any) -> dict[str, Any]:
    """Return what a layer says of itself, without what its file says."""
    return {key: said for key, said in layer.metadata.items() if key not in (PROVENANCE_KEY, KNOWN_KEY)}
