"""A Zarr file that a result on a whole volume goes into; free of Qt and napari, for a worker thread."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from napari_emsynth.chain import with_known
from napari_emsynth.errors import InputError
from napari_emsynth.plugin.copy_as_code import source_path
from napari_emsynth.spec import Result, Runtime

if TYPE_CHECKING:
    from napari_emsynth.io.atomic import Claims


@dataclass(frozen=True, kw_only=True)
class Target:
    """A Zarr file that a result goes into, block by block.

    Args:
        path: .zarr or .ome.zarr; what is there is replaced when all is written.
        resume: go on with what an interrupted run of the same settings left.
    """

    path: Path
    resume: bool = False

    @property
    def is_begun(self) -> bool:
        """True when an interrupted run left something to go on with."""
        from napari_emsynth.io.atomic import Work, work_folder

        return Work(self.path, work_folder(self.path)).resumable

    def beside(self, word: str) -> Target:
        """Return a file of another name in the same folder."""
        from napari_emsynth.io.url import stem_of

        ending = self.path.name.removeprefix(stem_of(self.path))
        return Target(path=self.path.with_name(f"{stem_of(self.path)}_{word}{ending}"))

    def held(self, runtime: Runtime) -> AbstractContextManager[Claims]:
        """Hold the file, from before the result is computed.

        Raises:
            InputError: another job is writing it.
        """
        from napari_emsynth.io.atomic import claiming

        return claiming([self.path], note=runtime.note)

    def fill(self, result: Result, runtime: Runtime, claims: Claims) -> Result:
        """Compute a lazy result into the file, which is held, and return it as it lies there.

        Raises:
            InputError: the disk is full, another job's work is to be resumed.
            Cancelled: finished blocks wait to be resumed.
        """
        from napari_emsynth import io

        io.write(
            result, self.path, overwrite=True, resume=self.resume, progress=runtime.progress,
            cancel=runtime.cancel, note=runtime.note, claims=claims,
        )  # fmt: skip
        there = io.read(self.path)
        assert there.known is not None, "a result is written with its record"
        parts: dict[str, Any] = {"volume": replace(result.volume, data=there.data)}
        for name, marks in there.known.marks.items():
            parts[name] = replace(getattr(result, name), data=marks)
        return with_known(replace(result, **parts))


def check_target(target: Target, there: list[Any], source: Any) -> None:
    """Refuse a file that a result cannot go into, before any work.

    Args:
        target: the file.
        there: layers of the viewer.
        source: the layer that the result is made from.

    Raises:
        InputError: no .zarr, a folder that is missing or read-only, a file that a layer shows.
    """
    from napari_emsynth.io import check_output

    path = target.path
    if path.suffix.lower() != ".zarr":
        raise InputError(f"{path.name} is not a .zarr: only those are written block by block")
    check_output(path, source_path(source), overwrite=True)
    for layer in there:
        if (known := source_path(layer)) is not None and Path(known).resolve() == path.resolve():
            raise InputError(f"{path.name} is what layer {layer.name!r} shows; choose another name")
