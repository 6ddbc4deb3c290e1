"""What is to be repaired and how, as one value; and the repair itself, free of Qt and napari.

A request is all that *Copy as code* needs, so what the dock does can be done again elsewhere. Order of work
when sections are both replaced and inserted: replace first, then insert into that result; the two lines of
code say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from napari_emsynth.errors import InputError
from napari_emsynth.methods.drawing import prepare
from napari_emsynth.methods.in_memory import by_section, sections_in_memory
from napari_emsynth.methods.interpolate.options import InterpolateOptions
from napari_emsynth.options import LookName
from napari_emsynth.plugin.restore.marks import Mark, Marks
from napari_emsynth.plugin.widgets.method_settings import MethodSettings
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Array, Volume

Place = Literal["new layer", "in place"]
DEFAULT_METHOD = "emsynth"


@dataclass(frozen=True, kw_only=True)
class Settings(MethodSettings):
    """How a repair is computed and where it goes.

    Args:
        method: id of an interpolate method.
        place: add a layer, or replace the layer's data (undoable).
        look: "accurate" or "natural".
        with_uncertainty: add it as a layer too.
        **more: see :class:`MethodSettings`.
    """

    method: str = DEFAULT_METHOD
    place: Place = "new layer"
    look: LookName = InterpolateOptions.look
    with_uncertainty: bool = False


@dataclass(frozen=True, kw_only=True)
class RestoreRequest:
    """Which sections of which layer, and the settings.

    Args:
        sections: to replace.
        inserts: a new section goes before each; repeated = several.
        regions: {section: mask [y, x] bool} of which only the masked pixels change.
        settings: how.
    """

    sections: tuple[int, ...] = ()
    inserts: tuple[int, ...] = ()
    regions: Mapping[int, Array] = field(default_factory=dict, compare=False)
    settings: Settings = Settings()

    @classmethod
    def of(cls, marks: Marks, settings: Settings) -> RestoreRequest:
        """Take what is marked."""
        return cls(
            sections=tuple(m.section for m in marks if m.treatment == "replace"),
            inserts=tuple(m.section for m in marks if m.treatment == "insert"),
            regions={m.section: m.region for m in marks if m.treatment == "region" and m.region is not None},
            settings=settings,
        )

    def check(self, count: int) -> None:
        """Refuse what cannot be done, before any work.

        Args:
            count: sections of the stack.

        Raises:
            InputError: nothing marked, every section marked, a section outside the stack.
        """
        if not (self.sections or self.inserts or self.regions):
            raise InputError("no section is marked; mark at least 1 section of the layer first")
        for z in (*self.sections, *self.inserts, *self.regions):
            if not 0 <= z < count:
                raise InputError(f"section {z} is outside the stack, which has sections 0 to {count - 1}")
        if len(set(self.sections)) >= count:
            raise InputError(f"all {count} sections are marked; at least 1 intact section is needed")

    def asked(self, sections: tuple[int, ...], *, insert: bool = False) -> InterpolateOptions:
        """Return what the engine is asked for some sections."""
        settings = self.settings
        return InterpolateOptions(
            sections=sections or None,
            insert=insert,
            look=settings.look,
            method=settings.method or None,
            weights=settings.weights or None,
            params=dict(settings.params),
            selfcheck=settings.selfcheck,
        )

    def steps(self) -> list[InterpolateOptions]:
        """Return what the engine is asked, one step after the other: replace first, then insert."""
        replaced = [self.asked(self.sections)] if self.sections or self.regions else []
        inserted = [self.asked(tuple(sorted(self.inserts)), insert=True)] if self.inserts else []
        return replaced + inserted

    def title(self) -> str:
        """Return a few words for a progress bar."""
        n = len(self.sections) + len(self.inserts) + len(self.regions)
        return f"Interpolate section {self.first()}" if n == 1 else f"Interpolate {n} sections"

    def first(self) -> int:
        """Return the first section concerned."""
        return min((*self.sections, *self.inserts, *self.regions))

    def mask(self, shape: tuple[int, int, int]) -> Array | None:
        """Return the regions as one mask [z, y, x] uint8, None when there are none."""
        if not self.regions:
            return None
        # Pages that stay zero take no memory: the system hands them out when they are written.
        mask = np.zeros(shape, np.uint8)
        for z, region in self.regions.items():
            mask[z] = region
        return mask


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A finished request: the result, what its records say of each mark (by :attr:`Mark.key`), and what to tell."""

    request: RestoreRequest
    result: Result
    entries: dict[tuple[int, bool], dict[str, Any]]
    notices: list[str] = field(default_factory=list)

    def shown(self) -> int:
        """Return the output's first synthetic section."""
        return min((e["section"] for e in self.entries.values()), default=0)


def restore(volume: Volume, request: RestoreRequest, runtime: Runtime) -> Outcome:
    """Repair a volume as asked; call it in a worker thread.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else its synthetic sections are
            computed.
        request: what and how.
        runtime: device, progress, cancel.

    Raises:
        InputError: see the interpolate task.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.methods.interpolate.task import interpolate

    request.check(volume.shape[0])
    settings = request.settings
    source = by_section(volume) if settings.lazy else volume
    entries: dict[tuple[int, bool], dict[str, Any]] = {}
    notices: list[str] = []
    result: Result | None = None
    for options in request.steps():
        mask = None if options.insert else request.mask(volume.shape)
        result = interpolate(source, options=options, mask=mask, runtime=runtime)
        notices += result.provenance["notices"]
        if options.insert:
            entries = _moved(entries, request.inserts) | _inserted(result, request.inserts)
        else:
            entries = {(e["section"], False): e for e in result.provenance["sections"]}
        source = result.volume
    assert result is not None
    if result.volume.is_lazy and not settings.lazy:
        result = sections_in_memory(result, (entry["section"] for entry in entries.values()), runtime)
    return Outcome(request=request, result=result, entries=entries, notices=list(dict.fromkeys(notices)))


def shifted(section: int, inserts: tuple[int, ...]) -> int:
    """Return where an input section lies once a section was inserted before each of ``inserts``."""
    return section + sum(z <= section for z in inserts)


def _moved(
    entries: dict[tuple[int, bool], dict[str, Any]], inserts: tuple[int, ...]
) -> dict[tuple[int, bool], dict[str, Any]]:
    return {key: {**entry, "section": shifted(entry["section"], inserts)} for key, entry in entries.items()}


def _inserted(result: Result, inserts: tuple[int, ...]) -> dict[tuple[int, bool], dict[str, Any]]:
    """Return the record's entries of inserted sections, by the section each stands before."""
    made = [e for e in result.provenance["sections"] if e["treatment"] == "inserted"]
    return {(z, True): entry for z, entry in zip(sorted(inserts), made, strict=True)}


def preview_section(volume: Volume, marks: Marks, section: int, settings: Settings, runtime: Runtime) -> Array:
    """Return what a repair would put at ``section`` [y, x]; computes no other section.

    Args:
        volume: the layer's.
        marks: sections marked as damaged do not serve as neighbours; an insert mark at ``section`` is
            previewed.
        section: in the volume.
        settings: how.
        runtime: device, cancel.
    """
    here = {m.treatment: m for m in marks if m.section == section}
    if "insert" in here and "replace" not in here:
        options, mask = RestoreRequest(settings=settings).asked((section,), insert=True), None
    else:
        whole = {m.section for m in marks if m.treatment == "replace"}
        region: Mark | None = here.get("region")
        request = RestoreRequest(
            sections=tuple(sorted(whole if region else whole | {section})),
            regions={section: region.region} if region is not None and region.region is not None else {},
            settings=settings,
        )
        request.check(volume.shape[0])
        options, mask = request.asked(request.sections), request.mask(volume.shape)
    drawing = prepare("interpolate", volume, options, runtime, mask=mask)
    runtime.cancel.check()
    _, height, width = volume.shape
    drawn: Array = drawing.draw((slice(section, section + 1), slice(0, height), slice(0, width)), runtime)[0]
    return drawn
