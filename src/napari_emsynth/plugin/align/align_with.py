"""A stack aligned by a field that was found before; free of Qt and napari, for a worker thread.

Laws: the field is fitted to the stack (one of a binned copy serves the full size) or refused in one line; what its
record says of the sections is kept.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from napari_emsynth.methods.in_memory import by_section, in_memory
from napari_emsynth.plugin.align.settings import AlignSettings
from napari_emsynth.plugin.volume_task.run import VolumeOutcome, check_room, drawn_from
from napari_emsynth.spec import Runtime
from napari_emsynth.volume import Volume


def with_field(volume: Volume, path: Path, settings: AlignSettings, runtime: Runtime) -> VolumeOutcome:
    """Move a stack by a field from a file.

    Args:
        volume: the layer's.
        path: in any format of fields.
        settings: whether the result is lazy, and has its mask beside it.
        runtime: progress, cancel.

    Raises:
        InputError: no field, one that does not fit, no room for the result.
        Cancelled: the runtime's token was cancelled.
    """
    from napari_emsynth.io.fields import read_field, read_field_record
    from napari_emsynth.methods.align.stack.carry import METHOD, through

    if not settings.lazy:
        check_room(volume, settings)
    runtime.progress(0, 0, "reading the field")
    found = read_field_record(path)
    result = through(by_section(volume), read_field(path, volume), name=path.name, found=found)
    result = replace(result, provenance=with_reports(result.provenance, found or {}))
    if not settings.lazy:
        result = in_memory(result, runtime)
    return VolumeOutcome(
        settings=replace(settings, method=METHOD, params={}, weights=""),
        result=result,
        source=drawn_from(result, volume),
    )


def with_reports(record: dict[str, Any], found: dict[str, Any]) -> dict[str, Any]:
    """Return a record that says of its sections what the field's own record says of as many."""
    reports, sections = found.get("sections") or [], record["sections"]
    return {**record, "sections": reports} if len(reports) == len(sections) else record
