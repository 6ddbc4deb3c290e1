"""Aligned layers on their way to files: voxels as images, points and shapes as tables.

Laws: all go through one field and carry its record; every name is checked before the first file is written; a layer
sampled otherwise goes through the same field, resized.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.plugin.align.transform_layer import Home, Make, check_covers, follower, world_matrix
from napari_emsynth.plugin.copy_as_code import slug, source_path
from napari_emsynth.plugin.layers.convert import full_data, type_of, voxel_nm_of
from napari_emsynth.spec import CancelToken, Progress, Result, Runtime
from napari_emsynth.volume import Volume

ALIGNED = "aligned"
TABLE = ".csv"


@dataclass(frozen=True)
class AlignedExport:
    """What is written in one action.

    Args:
        result: of the alignment.
        home: its stack.
        folder: where to.
        suffix: of images.
        voxels: outputs, by the shape of what goes along.
        tables: points and shapes, made and written by their layers.
    """

    result: Result
    home: Home
    folder: Path
    suffix: str
    voxels: dict[tuple[int, int, int], list[Any]] = field(default_factory=dict)
    tables: list[tuple[Path, Make]] = field(default_factory=list)

    @classmethod
    def of(cls, result: Result, home: Home, folder: Path, suffix: str) -> AlignedExport:
        """Return an empty one.

        Raises:
            InputError: the alignment has no displacement.
        """
        if result.displacement is None:
            raise InputError(f"{result.provenance['method']} has no displacement for other layers to go along")
        return cls(result, home, folder, suffix)

    def put(self, layer: Any, *, is_stack: bool) -> None:
        """Add a layer; the stack itself, or its aligned result, stands for the aligned volume.

        Raises:
            InputError: it cannot go along.
        """
        from napari_emsynth.io.export import Output

        if is_stack:
            output = Output(path=self._path(self.result.volume.name, self.suffix))
            outputs = self.voxels.setdefault(self.home.shape, [])
            if output not in outputs:
                outputs.append(output)
            return
        make = follower(layer, self.home, ALIGNED)
        if type_of(layer) in ("points", "shapes"):
            self.tables.append((self._path(layer.name, TABLE), make))
            return
        check_covers(layer, self.home, np.linalg.solve(self.home.to_world, world_matrix(layer)))
        volume = Volume.of(full_data(layer), voxel_nm=voxel_nm_of(layer), name=layer.name)
        volume.metadata.update({"path": path} if (path := source_path(layer)) else {})
        how = "nearest" if type_of(layer) == "labels" else "cubic"
        outputs = self.voxels.setdefault(volume.shape, [])
        outputs.append(Output(path=self._path(layer.name, self.suffix), volume=volume, interpolation=how))

    def check(self, *, overwrite: bool) -> None:
        """Refuse names that cannot be written, before any work.

        Raises:
            InputError: a file that exists, one name twice, a folder that is not there.
        """
        from napari_emsynth.io.export import check_export

        check_export([output for group in self.voxels.values() for output in group], overwrite=overwrite)
        paths = [path for path, _ in self.tables]
        for path in paths:
            if path.exists() and not overwrite:
                raise InputError(f"{path} exists; choose another name or allow overwriting")
        if len(set(paths)) < len(paths):
            raise InputError("two points or shapes layers have one name; every file needs a name of its own")

    def write(self, progress: Progress, cancel: CancelToken, *, overwrite: bool) -> list[Path]:
        """Write everything and return the paths.

        Raises:
            InputError: the disk is full.
            Cancelled: files written by then are whole and stay.
        """
        from napari_emsynth.fields.apply import by
        from napari_emsynth.io.export import export

        displacement = self.result.displacement
        for shape, outputs in self.voxels.items():
            fitted = by(self.result, displacement.resized(shape))
            export(fitted, outputs, overwrite=overwrite, progress=progress, cancel=cancel)
        for path, make in self.tables:
            cancel.check()
            _save(make(displacement, self.result.provenance, Runtime(cancel=cancel)), path)
        return [output.path for group in self.voxels.values() for output in group] + [p for p, _ in self.tables]

    def _path(self, name: str, suffix: str) -> Path:
        done = slug(name)
        return self.folder / f"{done if done.endswith(ALIGNED) else f'{done}_{ALIGNED}'}{suffix}"


def _save(layer: Any, path: Path) -> None:
    """Write points or shapes as napari reads them."""
    save: Callable[[str], list[str]] = layer.save
    if not save(str(path)):
        raise InputError(f"napari could not write {path}")
