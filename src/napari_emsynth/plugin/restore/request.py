"""What is to be repaired and how, as one value; and the repair itself, free of Qt and napari.

A request is all that *Copy as code* needs, so what the dock does can be done again elsewhere. Order of work
when sections are both replaced and inserted: replace first, then insert into that result; the two lines of
code say the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from napari_emsynth.errors import InputError
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
    look: str = "accurate"
    with_uncertainty: bool = False


@dataclass(frozen=True, kw_only=True)
class Request:
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
    def of(cls, marks: Marks, settings: Settings) -> Request:
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
    """A finished request: the result, and what its record says of each mark (by :attr:`Mark.key`)."""

    request: Request
    result: Result
    entries: dict[tuple[int, bool], dict[str, Any]]

    @property
    def notices(self) -> list[str]:
        """What the user must be told."""
        return list(self.result.provenance.get("notices", []))

    def shown(self) -> int:
        """Return the output's first synthetic section."""
        return min((e["section"] for e in self.entries.values()), default=0)


def restore(volume: Volume, request: Request, runtime: Runtime, previous: Previous | None = None) -> Outcome:
    """Repair a volume as asked; call it in a worker thread.

    Args:
        volume: numpy, or lazy; with ``settings.lazy`` the result is lazy, else its synthetic sections are
            computed.
        request: what and how.
        runtime: device, progress, cancel.
        previous: what is synthetic in the volume already.

    Raises:
        InputError: see the interpolate task.
        Cancelled: the runtime's token was cancelled.
    """
    request.check(volume.shape[0])
    settings = request.settings
    source = lazy(volume) if settings.lazy else volume
    result, entries = None, {}
    if request.sections or request.regions:
        result = _interpolate(source, request, runtime, list(request.sections) or None, insert=False)
        entries.update({(e["section"], False): e for e in result.provenance["sections"]})
    if request.inserts:
        first = result
        result = _interpolate(
            first.volume if first else source, request, runtime, list(request.inserts), insert=True
        )
        if first is not None:
            result = joined(first, result, request.inserts)
            entries = _moved(entries, request.inserts)
        entries.update(_inserted(result, request.inserts))
    assert result is not None
    if previous is not None:
        result = previous.under(result, request.inserts)
    if result.volume.is_lazy and not settings.lazy:
        result = materialise(result, runtime)
    return Outcome(request=request, result=result, entries=entries)


def _interpolate(
    volume: Volume, request: Request, runtime: Runtime, sections: list[int] | None, *, insert: bool
) -> Result:
    from napari_emsynth.methods.interpolate import interpolate

    settings = request.settings
    return interpolate(
        volume,
        sections,
        mask=None if insert else request.mask(volume.shape),
        insert=insert,
        method=settings.method,
        weights=settings.weights or None,
        params=dict(settings.params),
        runtime=runtime,
        selfcheck=settings.selfcheck,
        look=settings.look,
    )


def lazy(volume: Volume) -> Volume:
    """Return the volume on a dask array, one section a chunk."""
    import dask.array as da

    if hasattr(volume.data, "dask"):
        return volume
    from napari_emsynth.trust.remembered import shows

    data = da.from_array(volume.data, chunks=(1, *volume.shape[1:]), name=False)
    if isinstance(volume.data, np.ndarray):
        shows(data, volume)
    return replace(volume, data=data)


def shifted(section: int, inserts: tuple[int, ...]) -> int:
    """Return where an input section lies once a section was inserted before each of ``inserts``."""
    return section + sum(z <= section for z in inserts)


def _moved(
    entries: dict[tuple[int, bool], dict[str, Any]], inserts: tuple[int, ...]
) -> dict[tuple[int, bool], dict[str, Any]]:
    return {key: _moved_entry(entry, inserts) for key, entry in entries.items()}


def _moved_entry(entry: dict[str, Any], inserts: tuple[int, ...]) -> dict[str, Any]:
    return {**entry, "section": shifted(entry["section"], inserts)}


def _inserted(result: Result, inserts: tuple[int, ...]) -> dict[tuple[int, bool], dict[str, Any]]:
    """Return the record's entries of inserted sections, by the section each stands before."""
    made = [e for e in result.provenance["sections"] if e["treatment"] == "inserted"]
    return {(z, True): entry for z, entry in zip(sorted(inserts), made, strict=True)}


def spread(data: Any, inserts: tuple[int, ...]) -> Any:
    """Return a mask [z, y, x] with empty sections inserted, lazy when it is."""
    if not inserts:
        return data
    if isinstance(data, np.ndarray):
        return np.insert(data, list(inserts), 0, axis=0)
    import dask.array as da

    return da.insert(data, list(inserts), 0, axis=0)


def union(a: Any, b: Any) -> Any:
    """Return the greater of two masks or half widths, lazy when either is."""
    if isinstance(a, np.ndarray) and isinstance(b, np.ndarray):
        return np.maximum(a, b)
    import dask.array as da

    return da.maximum(a, b)


def joined(first: Result, second: Result, inserts: tuple[int, ...]) -> Result:
    """Return ``second``, which inserted sections into ``first``, with what is synthetic in either."""
    synthetic = union(spread(first.synthetic.data, inserts), second.synthetic.data)
    record = dict(second.provenance)
    moved = [_moved_entry(e, inserts) for e in first.provenance["sections"]]
    record["sections"] = sorted([*moved, *second.provenance["sections"]], key=lambda e: e["section"])
    record["notices"] = list(dict.fromkeys([*first.provenance["notices"], *second.provenance["notices"]]))
    uncertainty = second.uncertainty
    if first.uncertainty is not None and uncertainty is not None:
        both = union(spread(first.uncertainty.data, inserts), uncertainty.data)
        uncertainty = replace(uncertainty, data=both)
    return replace(
        second,
        synthetic=replace(second.synthetic, data=synthetic),
        provenance=record,
        uncertainty=uncertainty,
    )


@dataclass(frozen=True)
class Previous:
    """What is synthetic in a layer that is itself a result."""

    synthetic: Any
    provenance: dict[str, Any]

    def under(self, result: Result, inserts: tuple[int, ...]) -> Result:
        """Return the result with the earlier synthetic voxels marked too, and the earlier record kept."""
        record = {**result.provenance, "previous": self.provenance}
        if self.synthetic is None:
            return replace(result, provenance=record)
        both = union(spread(self.synthetic, inserts), result.synthetic.data)
        return replace(result, provenance=record, synthetic=replace(result.synthetic, data=both))


def materialise(result: Result, runtime: Runtime) -> Result:
    """Compute the synthetic sections of a lazy result and keep them; acquired ones stay in their store."""
    made = sorted({entry["section"] for entry in result.provenance["sections"]})
    kept: dict[int, tuple[Any, ...]] = {}
    parts = [result.volume, result.synthetic] + (
        [result.uncertainty] if result.uncertainty is not None else []
    )
    import dask

    for n, z in enumerate(made):
        runtime.cancel.check()
        # Together: the three share one run of the method.
        kept[z] = dask.compute(*(part.data[z] for part in parts), scheduler="synchronous")
        runtime.progress(n + 1, len(made), "sections")
    volumes = [
        replace(part, data=overlaid(part.data, {z: arrays[k] for z, arrays in kept.items()}))
        for k, part in enumerate(parts)
    ]
    return replace(
        result, volume=volumes[0], synthetic=volumes[1], uncertainty=volumes[2] if len(volumes) > 2 else None
    )


def overlaid(data: Any, sections: Mapping[int, Array]) -> Any:
    """Return a dask array [z, y, x] with some sections held in memory."""
    import dask.array as da

    pieces, start = [], 0
    for z in sorted(sections):
        pieces += [data[start:z]] if z > start else []
        pieces.append(da.from_array(np.asarray(sections[z])[None], chunks=(1, -1, -1)))
        start = z + 1
    pieces += [data[start:]] if start < data.shape[0] else []
    return da.concatenate(pieces, axis=0)


def preview_section(
    volume: Volume, marks: Marks, section: int, settings: Settings, runtime: Runtime
) -> Array:
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
    quick = replace(settings, selfcheck=False, lazy=True)
    if "insert" in here and "replace" not in here:
        result = _interpolate(lazy(volume), Request(settings=quick), runtime, [section], insert=True)
    else:
        whole = {m.section for m in marks if m.treatment == "replace"}
        region: Mark | None = here.get("region")
        request = Request(
            sections=tuple(sorted(whole if region else whole | {section})),
            regions={section: region.region} if region is not None and region.region is not None else {},
            settings=quick,
        )
        request.check(volume.shape[0])
        result = _interpolate(lazy(volume), request, runtime, list(request.sections) or None, insert=False)
    runtime.cancel.check()
    return result.volume.section(section)
