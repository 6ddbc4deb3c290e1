"""``emsynth align``: refine the alignment of a roughly aligned stack, or move one by a field found before."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.along import outputs as along, split, told
from napari_emsynth.cli.groups import Cluster, Common, Save, Source
from napari_emsynth.cli.patch import Flag
from napari_emsynth.cli.planning import tell_plan
from napari_emsynth.cli.saving import saving
from napari_emsynth.cli.screen import Screen
from napari_emsynth.cli.volume_tasks import Out, describe, summarise
from napari_emsynth.errors import InputError

if TYPE_CHECKING:
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.io.export import Output
    from napari_emsynth.io.url import Location
    from napari_emsynth.methods.align.options import AlignOptions
    from napari_emsynth.spec import Result, Runtime
    from napari_emsynth.volume import Volume


def align(
    source: Source,
    out: Out,
    *,
    options: dict[str, Any],
    displacement: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the displacement field; formats: see emsynth field.")
    ] = None,
    from_displacement: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Move IN by a field found before, on IN or on a binned copy; several are applied in order. Nothing is "
            "aligned, unless --method says how to go on from there.",
        ),
    ] = None,
    apply_to: Annotated[
        list[str] | None,
        typer.Option(metavar="LABELS=OUT2", help="Move labels along, their ids kept; may be repeated."),
    ] = None,
    apply_to_image: Annotated[
        list[str] | None, typer.Option(metavar="IMAGE=OUT2", help="Move another image along; may be repeated.")
    ] = None,
    materials: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of IN's shape: 0 tissue, 1 fold or crack (may tear), 2 dirt or empty (ignored)."
        ),
    ] = None,
    patch: Flag = False,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Write the result even where its self-check prefers the input.")
    ] = False,
    values: dict[str, Any],
    common: Common,
    save: Save,
    cluster: Cluster,
) -> None:
    """Make the sections of a roughly aligned stack continue each other."""
    from napari_emsynth.methods.align.options import AlignOptions

    asked = Asked(
        source=source,
        out=out,
        options=AlignOptions(**options, params=values),
        displacement=displacement,
        fields=tuple(from_displacement or ()),
        labels=tuple(apply_to or ()),
        images=tuple(apply_to_image or ()),
        materials=materials,
        patch=patch,
    )
    with Screen(as_json=common.json) as screen:
        asked.check()
        cluster.check()
        asked.check_places(save)
        runtime = common.runtime(screen)
        with saving(asked.places(), asked.inputs(), partial(asked.check_places, save), save, runtime) as how:
            volume = common.open(source, screen)
            if save.plan:
                tell_plan(screen, "align", volume, asked.options, runtime, patch=patch)
                return
            outputs = asked.outputs(volume)
            asked.check_places(save, outputs)
            asked.check_lengths(volume)
            started = time.monotonic()
            result = asked.result(volume, runtime)
            if not anyway:
                refuse_worse(result)
            asked.write(result, volume, outputs, cluster, how)
        summary = summarise(result, runtime, out, time.monotonic() - started, screen.notes)
        screen.answer(summary | asked.written(), describe(summary))


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What the user asked for, as it was written."""

    source: Location
    out: Path
    options: AlignOptions
    displacement: Path | None
    fields: tuple[Path, ...]
    labels: tuple[str, ...]
    images: tuple[str, ...]
    materials: Path | None
    patch: bool

    @property
    def aligns(self) -> bool:
        """True when a method is to find displacements, or to redraw the stack."""
        return self.options.method is not None or not self.fields

    def check(self) -> None:
        """Refuse flags that contradict each other.

        Raises:
            InputError: what only a field could do of a method that has none; what only a method could do without one.
        """
        from napari_emsynth.methods import default, get

        if self.patch and self.beside:
            raise InputError(f"{self.beside[0]}: --patch writes one file; write the others in a run of their own")
        if self.aligns:
            spec = get("align", self.options.method or default("align"))
            if spec.answers != "displacement":
                refuse_displacements(spec.name, [flag for flag, given in self._flags() if given])
            return
        params = self.options.to_json()["params"]
        names = [f"--{name.replace('_', '-')} {value}" for name, value in params.items()]
        names += self._said("weights", "reference", "skip")
        names += [f"--materials {self.materials}"] if self.materials is not None else []
        if names:
            raise InputError(f"{names[0]}: with --from-displacement nothing is aligned, unless --method says how")

    @property
    def beside(self) -> list[str]:
        """The flags that ask for more outputs than one."""
        return [flag for flag, given in self._flags()[:4] if given and not flag.startswith("--from")]

    def _flags(self) -> list[tuple[str, bool]]:
        """Return the flags that need a displacement field, and whether they are given."""
        return [
            (f"--displacement {self.displacement}", self.displacement is not None),
            (f"--from-displacement {' '.join(map(str, self.fields))}", bool(self.fields)),
            (f"--apply-to {' '.join(self.labels)}", bool(self.labels)),
            (f"--apply-to-image {' '.join(self.images)}", bool(self.images)),
            *((flag, True) for flag in self._said("max_displacement_nm", "reference", "skip")),
            (f"--materials {self.materials}", self.materials is not None),
        ]

    def _said(self, *names: str) -> list[str]:
        """Return options that are given, as words of the command."""
        words = replace(self.options, method=None).words()
        flags = [" ".join(pair) for pair in zip(words[::2], words[1::2], strict=True)]
        wanted = [f"--{name.replace('_', '-')}" for name in names]
        return [flag for flag in flags if flag.split()[0] in wanted]

    def check_places(self, save: Save, outputs: list[Output] | None = None) -> None:
        """Refuse outputs that must not be written, before any work.

        Args:
            save: whether they may be replaced or continued.
            outputs: with what is written to them, where that is known.

        Raises:
            InputError: see :func:`napari_emsynth.io.export.check_export`.
        """
        from napari_emsynth.io.export import Output, check_export
        from napari_emsynth.io.patch import check_patch_output

        if self.patch:
            for path in self.inputs():
                check_patch_output(self.out, path, save.overwrite, save.resume)
            return
        check_export(
            outputs or [Output(path=self.out)],
            self.displacement,
            inputs=self.inputs(),
            overwrite=save.overwrite,
            resume=save.resume,
        )

    def check_lengths(self, volume: Volume) -> None:
        """Refuse a field of lengths for a stack whose voxel size is unknown, before any work.

        Raises:
            InputError: see :func:`napari_emsynth.io.fields.check_voxels_known`.
        """
        from napari_emsynth.io.fields import check_voxels_known

        # A field that is taken up may know the size itself.
        if self.displacement is not None and not self.fields:
            check_voxels_known(self.displacement, volume.grid.voxel_nm)

    def inputs(self) -> list[Location]:
        """Return the files that are read."""
        beside = [split(text)[0] for text in (*self.labels, *self.images)]
        return [self.source, *self.fields, *beside, *([] if self.materials is None else [self.materials])]

    def places(self) -> list[Path]:
        """Return the files that are written."""
        beside = [split(text)[1] for text in (*self.labels, *self.images)]
        return [self.out, *beside, *([] if self.displacement is None else [self.displacement])]

    def outputs(self, volume: Volume) -> list[Output]:
        """Return what is written: what goes along first, then the aligned stack.

        Raises:
            InputError: a file that cannot be read, or of another shape than the stack.
        """
        from napari_emsynth.io.export import Output

        labels, images = along(self.labels, volume, "nearest"), along(self.images, volume, "cubic")
        return [*labels, *images, Output(path=self.out)]

    def result(self, volume: Volume, runtime: Runtime) -> Result:
        """Return the aligned stack, not drawn yet.

        Raises:
            InputError: fields or limits that do not fit the stack, or what the method refuses.
        """
        from napari_emsynth.fields.apply import applied
        from napari_emsynth.methods.align.stack.carry import through

        earlier = self.earlier(volume, runtime)
        if not self.aligns:
            assert earlier is not None
            moved = (
                earlier
                if self.options.max_displacement_nm is None
                else earlier.limited(self.options.max_displacement_nm)
            )
            name, found = self._found()
            return through(volume, moved, name=name, found=found)
        before = volume if earlier is None else applied(volume, earlier, "cubic")
        return self._aligned(before, runtime, earlier)

    def earlier(self, volume: Volume, runtime: Runtime) -> Displacement | None:
        """Return what the fields given do together, fitted to the stack; None without any.

        Raises:
            InputError: a file that is no field, or does not fit.
        """
        from napari_emsynth.fields.algebra import compose
        from napari_emsynth.fields.fit import fitted
        from napari_emsynth.io.fields import read_field

        both = None
        for path in self.fields:
            found = read_field(path)
            field = fitted(found, volume)
            if found.shape != field.shape:
                sizes = ["{} x {} px".format(*shape[1:]) for shape in (found.shape, field.shape)]
                runtime.note(f"{path.name} was found on sections of {sizes[0]} and is resized to {sizes[1]}")
            both = field if both is None else compose(both, field)
        return both

    def _found(self) -> tuple[str, dict[str, Any] | None]:
        """Return the names of the fields given, and the record of the only one."""
        from napari_emsynth.io.fields import read_field_record

        names = ", then ".join(path.name for path in self.fields)
        return names, read_field_record(self.fields[0]) if len(self.fields) == 1 else None

    def _aligned(self, volume: Volume, runtime: Runtime, earlier: Displacement | None = None) -> Result:
        """Align a stack, which ``earlier`` may have moved already."""
        from napari_emsynth.fields.apply import applied
        from napari_emsynth.io import read_one
        from napari_emsynth.methods.align.task import align as task

        tissue = None if self.materials is None else read_one(self.materials, "--materials")
        if tissue is not None and earlier is not None:
            tissue = applied(tissue, earlier, "nearest")
        return task(volume, options=self.options, materials=tissue, runtime=runtime)

    def write(
        self, result: Result, volume: Volume, outputs: list[Output], cluster: Cluster, how: dict[str, Any]
    ) -> None:
        """Write everything, by the keywords of :func:`napari_emsynth.cli.saving.saving`.

        Raises:
            InputError: the disk is full, or another job writes there.
        """
        from napari_emsynth.io import write
        from napari_emsynth.io.export import export
        from napari_emsynth.io.patch import write_patch

        with cluster.placing() as place:
            if self.patch:
                write_patch(place(result), volume, self.out, **how)
                return
            if result.displacement is None:
                write(place(result), self.out, **how)
                return
            export(result, outputs, self.displacement, place=place, **how)

    def written(self) -> dict[str, Any]:
        """Return what the JSON object says of the other outputs."""
        return {
            "displacement": None if self.displacement is None else str(self.displacement),
            "applied_to": told((*self.labels, *self.images)),
        }


def refuse_worse(result: Result) -> None:
    """Refuse to write what its own self-check advises against.

    Raises:
        InputError: it does.
    """
    check = result.provenance.get("selfcheck") or {}
    if check.get("advice"):
        raise InputError(f"{check['advice']}; nothing was written (--anyway writes it, --no-selfcheck does not ask)")


def refuse_displacements(name: str, flags: list[str]) -> None:
    """Refuse what only a displacement field could do.

    Raises:
        InputError: ``flags`` holds one.
    """
    if flags:
        raise InputError(
            f"{flags[0]}: {name} redraws every voxel and has no displacement to write, to apply or to limit"
        )
