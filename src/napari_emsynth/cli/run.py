"""``emsynth run``: an exported result made again from its record."""

from __future__ import annotations

import json as json_
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from napari_emsynth.cli.groups import AsJson, Cluster, Save
from napari_emsynth.cli.saving import saving
from napari_emsynth.cli.screen import Screen
from napari_emsynth.errors import InputError

if TYPE_CHECKING:
    from napari_emsynth.spec import Result, Runtime
    from napari_emsynth.volume import Volume

Record = Annotated[Path, typer.Argument(metavar="RECORD", help="A record as JSON, or an exported OUT that holds one.")]


def run(
    record: Record,
    *,
    source: Annotated[
        Path | None, typer.Option("--in", metavar="IN", help="What it was made from; by default beside RECORD.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="OUT", help="Where to; by default RECORD's name with -again.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(metavar="FILE", help="The mask, where the record asks for one.")] = None,
    materials: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The materials, where the record asks for them.")
    ] = None,
    weights: Annotated[
        str | None, typer.Option(metavar="NAME|FILE", help="Weights of your own, where the record names such.")
    ] = None,
    device: Annotated[str | None, typer.Option(metavar="NAME", help="By default the record's.")] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Make it though version or outcome differ from the record.")
    ] = False,
    json: AsJson = False,
    save: Save,
    cluster: Cluster,
) -> None:
    """Make a result again from its record: bit for bit, on the same device and with the same versions."""
    from napari_emsynth.io import check_output, read, read_one, write
    from napari_emsynth.methods.again import check_repeatable, left_to_do, steps_of

    with Screen(as_json=json) as screen:
        cluster.check()
        said = recorded(record)
        place, target = source or beside(record, said), out or again_name(record)
        given = {name: path for name, path in (("mask", mask), ("materials", materials)) if path is not None}
        check_repeatable(steps_of(said), given, anyway=anyway)
        runtime = runtime_of(said, device, screen)
        check = partial(check_output, target, place, save.overwrite, save.resume)
        with saving([target], [place, record, *given.values()], check, save, runtime) as how:
            volume = read(place, **steps_of(said)[0]["source"].get("chosen", {}))
            volumes = {name: read_one(path, f"--{name}") for name, path in given.items()}
            started = time.monotonic()
            result = made(left_to_do(said, volume), volume, runtime, volumes, weights, anyway=anyway)
            with cluster.compute(result) as placed:
                write(placed, target, **how)
        same = on_the_same(said, result, screen)
        steps = [f"{step['task']}/{step['method']}" for step in steps_of(result.provenance)]
        notices = list(dict.fromkeys([*result.provenance["notices"], *screen.notes]))
        answer = {
            "task": "run",
            "steps": steps,
            "in": str(place),
            "out": str(target),
            "same_machinery": same,
            "seconds": round(time.monotonic() - started, 3),
            "notices": notices,
        }
        screen.answer(answer, "\n".join([f"{', then '.join(steps)}: {place} -> {target}", *notices]))


def recorded(path: Path) -> Mapping[str, Any]:
    """Return the record that a JSON file or an export holds.

    Raises:
        InputError: none.
    """
    from napari_emsynth.io import read_provenance

    if path.suffix.lower() != ".json":
        said: Any = read_provenance(path)
    else:
        try:
            said = json_.loads(path.read_text())
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path} cannot be read as JSON: {error}") from error
    if not (isinstance(said, Mapping) and {"task", "method", "source"} <= set(said)):
        raise InputError(f"{path} holds no record of what was made and from what")
    return said


def beside(record: Path, said: Mapping[str, Any]) -> Path:
    """Return what a record names as its source, where that lies beside it.

    Raises:
        InputError: it does not.
    """
    from napari_emsynth.methods.again import steps_of

    name = str(steps_of(said)[0]["source"].get("name") or "")
    place = record.parent / name
    if not name or not place.exists():
        raise InputError(f"{name or 'what the record is of'} is not beside {record}: give --in IN")
    return place


def again_name(record: Path) -> Path:
    """Return the name that a result made again has where none is given."""
    from napari_emsynth.io.url import stem_of

    suffix = ".ome.zarr" if record.suffix.lower() == ".json" else record.name.removeprefix(stem_of(record))
    return record.with_name(f"{stem_of(record)}-again{suffix}")


def runtime_of(said: Mapping[str, Any], device: str | None, screen: Screen) -> Runtime:
    """Return how to compute: where the record did, unless the user says otherwise.

    Raises:
        InputError: that device is not here.
    """
    from napari_emsynth.spec import Runtime
    from napari_emsynth.tiling.device import resolve

    wanted = device or said.get("device") or "auto"
    try:
        resolve(wanted)
    except InputError as error:
        raise InputError(f"the record was made on {wanted}: {error}; --device chooses another") from error
    return Runtime(device=wanted, progress=screen.progress, note=screen.note)


def made(
    steps: list[Mapping[str, Any]],
    volume: Volume,
    runtime: Runtime,
    beside: Mapping[str, Volume],
    weights: str | None,
    *,
    anyway: bool,
) -> Result:
    """Return the result of the last of several steps, each made from the one before."""
    from napari_emsynth.methods.again import again

    for step in steps:
        result = again(step, volume, runtime, beside, weights=weights, anyway=anyway)
        volume = result.volume
    return result


def on_the_same(said: Mapping[str, Any], result: Result, screen: Screen) -> bool:
    """Return whether device and PyTorch are the record's, and say so where they are not."""
    other = [
        f"{said.get(name)} there, {result.provenance.get(name)} here"
        for name in ("device", "precision", "torch")
        if None not in (said.get(name), result.provenance.get(name)) and said[name] != result.provenance[name]
    ]
    if other:
        screen.note(f"computed otherwise than the record ({'; '.join(other)}): last digits may differ")
    return not other
