"""A result and what goes along with it, labels, masks and other images, to files in one call.

Conventions: everything here is lazy: what goes along is drawn block by block as it is written, and memory does not grow
with it. The record of what goes along is the result's, with the key ``carried``: what it was and how it went along.

Laws: every output of one call goes through the same field, or onto the same sections; all are checked before the first
is written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.fields.apply import LAZY_EDGE
from napari_emsynth.fields.displacement import Displacement
from napari_emsynth.io import check_holds, check_output, read_provenance, write
from napari_emsynth.io.atomic import UNCLAIMED, Claims, Part
from napari_emsynth.io.content import stable
from napari_emsynth.io.fields import check_field_output, field_of, read_field, write_field
from napari_emsynth.io.inputs import NO_INPUTS, Inputs
from napari_emsynth.io.output_checks import check_apart
from napari_emsynth.io.url import Location
from napari_emsynth.spec import CancelToken, Progress, Result, no_note, no_progress
from napari_emsynth.volume import Volume

# Each file of an export is told as so many steps.
PARTS = 1000
# A field written before is the same one when no vector differs by more.
SAME_PX = 1e-3


def lazily(volume: Volume) -> Volume:
    """Return the volume as one that is read block by block, whatever holds its voxels."""
    if volume.is_lazy:
        return volume
    import dask.array as da

    data = da.from_array(volume.data, chunks=(1, LAZY_EDGE, LAZY_EDGE), name=False)
    return replace(volume, data=data)


def carried(result: Result, volume: Volume, interpolation: str | None = None) -> Result:
    """Return another volume that goes along with a result: moved or upsampled, with its mask and record.

    Args:
        result: of an alignment, or of upsampling.
        volume: [z, y, x] of the shape of what was aligned or upsampled.
        interpolation: of what is moved: "cubic" for images, "nearest" for labels; None takes nearest for integers and
            booleans. None of labels that are upsampled.

    Raises:
        InputError: nothing can follow the result, another shape, an unknown interpolation, an image to upsample.
    """
    if result.along is None:
        field_of(result)  # which says why nothing can go along
    carried: Result = result.along.carried(lazily(volume), result.provenance, interpolation)
    return carried


@dataclass(frozen=True, kw_only=True)
class Output:
    """One file of an export.

    Args:
        path: .tif, .ome.tif, .zarr or .ome.zarr to write.
        volume: what goes along, [z, y, x] of the shape of what was aligned or upsampled; None for the result itself.
        interpolation: of what goes along, see :func:`carried`.
    """

    path: Path
    volume: Volume | None = None
    interpolation: str | None = None


def check_export(
    outputs: Sequence[Output],
    displacement: Path | None = None,
    *,
    inputs: Sequence[Location] = (),
    overwrite: bool = False,
    resume: bool = False,
) -> None:
    """Refuse files that cannot or must not be written, before any work.

    Args:
        outputs: the volumes to be written.
        displacement: where the field goes, its suffix names the format; None to keep it.
        inputs: files that must stay as they are.
        overwrite: what is there may be replaced.
        resume: what an earlier run of the same job has written may be there.

    Raises:
        InputError: see :func:`napari_emsynth.io.check_output`; one name twice; voxels that the format cannot hold.
    """
    paths = [output.path for output in outputs] + ([] if displacement is None else [displacement])
    for i, path in enumerate(paths):
        if path.resolve() in {other.resolve() for other in paths[:i]}:
            raise InputError(f"{path} is named twice; every output needs a name of its own")
        for source in inputs:
            check_apart(path, source)
    if displacement is not None:
        check_field_output(displacement, overwrite=overwrite or resume)
    for output in outputs:
        # A finished part of an interrupted export is looked at when its turn comes.
        goes_on = resume and output.volume is not None
        check_output(output.path, None, overwrite or goes_on, resume and output.volume is None)
        if output.volume is not None:
            check_holds(output.path, output.volume.dtype)


def export(
    result: Result,
    outputs: Sequence[Output],
    displacement: Path | None = None,
    *,
    overwrite: bool = False,
    resume: bool = False,
    place: Callable[[Result], Result] = lambda result: result,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    note: Callable[[str], None] = no_note,
    inputs: Inputs = NO_INPUTS,
    claims: Claims = UNCLAIMED,
    part: Part | None = None,
) -> None:
    """Write a result and what goes along with it, one file after the other; the result itself comes last.

    Args:
        result: of an alignment, or of upsampling.
        outputs: the volumes to be written.
        displacement: where the field goes, its suffix names the format; None to keep it.
        overwrite: what is there may be replaced; it stays until the new one is complete.
        resume: go on with what a killed run of the same job left; whole files of it are kept.
        place: gives a result whose blocks are computed elsewhere.
        progress: called with the steps done of all files.
        cancel: asked between blocks.
        note: told in one line what a user should know.
        inputs: files that the result was made from, as they were.
        claims: outputs that are held already, from before the result was computed.
        part: which part of the work, of how many, see :func:`napari_emsynth.io.write`.

    Raises:
        InputError: see :func:`check_export`; an input vanished or was changed; what goes along has another shape; the
            disk is full.
        Cancelled: files written by then are whole and stay.
    """
    along = [Path(str(p)) for o in outputs if o.volume is not None and (p := o.volume.metadata.get("path"))]
    check_export(outputs, displacement, inputs=along, overwrite=overwrite, resume=resume)
    inputs = inputs.and_of([result.volume.metadata.get("path")])
    how = _How(overwrite=overwrite, resume=resume, note=note, inputs=inputs, claims=claims, part=part)
    jobs = _jobs(result, outputs, displacement, how)
    for done, job in enumerate(jobs):
        job(place, _share(progress, done, len(jobs)), cancel)


Write = Callable[[Callable[[Result], Result], Progress, CancelToken | None], None]


@dataclass(frozen=True, kw_only=True)
class _How:
    """How all files of one export are written, see :func:`export`."""

    overwrite: bool
    resume: bool
    note: Callable[[str], None]
    inputs: Inputs
    claims: Claims
    part: Part | None

    @property
    def goes_on(self) -> bool:
        """True when whole files of an earlier run stay."""
        return self.resume and not self.overwrite


def _jobs(result: Result, outputs: Sequence[Output], displacement: Path | None, how: _How) -> list[Write]:
    """Return what writes each file, in order.

    Raises:
        InputError: what goes along does not fit.
    """
    jobs: list[Write] = []
    if displacement is not None and not (how.goes_on and _is_field(displacement, field_of(result))):

        def field(place: Callable[[Result], Result], progress: Progress, cancel: CancelToken | None) -> None:  # noqa: ARG001 - the common signature
            write_field(
                result, displacement, overwrite=how.overwrite, progress=progress, cancel=cancel, claims=how.claims
            )

        jobs.append(field)
    for output in sorted(outputs, key=lambda output: output.volume is None):
        part = result if output.volume is None else _along(result, output.volume, output.interpolation, how.inputs)
        if not (how.goes_on and output.volume is not None and _is_there(output.path, part)):
            jobs.append(_writes(part, output.path, how))
    return jobs


def _along(result: Result, volume: Volume, interpolation: str | None, inputs: Inputs) -> Result:
    """Return what goes along, whose record tells its inputs from others, so that a file of an earlier run is known."""
    part = carried(result, volume, interpolation)
    told = inputs.and_of([volume.metadata.get("path")]).digest
    return replace(part, provenance=part.provenance | {"carried": part.provenance["carried"] | {"inputs": told}})


def _writes(part: Result, path: Path, how: _How) -> Write:
    # Only a Zarr keeps its finished blocks; another file of a killed run begins anew.
    resume = how.resume and path.suffix.lower() == ".zarr"

    def job(place: Callable[[Result], Result], progress: Progress, cancel: CancelToken | None) -> None:
        write(
            place(part), path, overwrite=how.overwrite, resume=resume, progress=progress, cancel=cancel, note=how.note,
            inputs=how.inputs, claims=how.claims, part=how.part,
        )  # fmt: skip

    return job


def _is_field(path: Path, field: Displacement) -> bool:
    """Return True when a file holds this very field already; nothing there is False.

    Raises:
        InputError: it holds another one, or none.
    """
    if not path.exists():
        return False
    there = read_field(path)
    same = there.shape == field.shape and all(
        np.allclose(there.dense(z), field.dense(z), rtol=0, atol=SAME_PX) for z in range(field.shape[0])
    )
    if not same:
        raise InputError(f"{path} exists and is of another job; choose another name or allow overwriting")
    return True


def _is_there(path: Path, part: Result) -> bool:
    """Return True when an earlier run of the same job has written a file already; nothing there is False.

    Raises:
        InputError: it is another job's.
    """
    if not path.exists():
        return False
    if stable(read_provenance(path)) != stable(part.provenance):
        raise InputError(f"{path} exists and is of another job; choose another name or allow overwriting")
    return True


def _share(progress: Progress, done: int, total: int) -> Progress:
    """Map the progress of one file to its share of all."""

    def told(part: int, of: int, what: str) -> None:
        progress(PARTS * done + PARTS * part // max(of, 1), PARTS * total, what)

    return told


def check_carried(volume: Volume, shape: tuple[int, int, int], name: str) -> None:
    """Refuse what cannot go along, before anything is aligned.

    Args:
        volume: that is to go along.
        shape: of the stack that is aligned.
        name: of what is to go along, for the refusal.

    Raises:
        InputError: another shape.
    """
    if volume.shape != shape:
        shapes = (" x ".join(str(n) for n in there) for there in (volume.shape, shape))
        raise InputError("{} has {} voxels (z, y, x), the stack {}: they must be equal".format(name, *shapes))
