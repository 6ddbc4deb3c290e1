"""A result made again from its record.

Conventions: a record's key ``asked`` holds what a task was asked: ``options`` as JSON, and the names of the volumes
that it was given ``beside`` (a mask, materials). The steps of a record are it and what it names as ``previous``, the
first one first.

Laws: on the device and with the versions that it was made with, what is made again is bit for bit what it was; what
would not be is refused with what differs, unless it is wanted anyway.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any

from napari_emsynth.chain import with_known
from napari_emsynth.errors import InputError
from napari_emsynth.grid import Triple
from napari_emsynth.methods import get
from napari_emsynth.methods.tasks import function_of, options_of
from napari_emsynth.options import Options
from napari_emsynth.spec import Result, Runtime
from napari_emsynth.volume import Volume

# What may differ between two runs of the same step.
FREE = frozenset({
    "created", "notices", "source", "selfcheck", "device", "precision", "tile", "previous", "patch", "asked", "torch",
    "version",
})  # fmt: skip
# So many differences are named.
MOST_TOLD = 3


def told_of(result: Result, options: Options, runtime: Runtime, beside: Sequence[str]) -> Result:
    """Return a result whose record says what was asked, and where it was computed.

    Args:
        result: of a task.
        options: what it was asked.
        runtime: how it was computed.
        beside: names of the volumes that it was given besides.
    """
    asked = options.to_json()
    if asked["weights"] is not None:
        # A record names no folder of its maker.
        asked["weights"] = PurePath(asked["weights"]).name
    where = computed_on(runtime)
    record = {**result.provenance, **where, "asked": {"options": asked, "beside": sorted(beside)}}
    return with_known(replace(result, provenance=record))


def computed_on(runtime: Runtime) -> dict[str, Any]:
    """Return device, precision and the version of PyTorch that were used; a method that needs none ran on the CPU."""
    if "torch" not in sys.modules:
        return {"device": "cpu", "precision": "fp32", "torch": None}
    import torch

    from napari_emsynth.tiling.device import resolve, resolve_precision

    device = resolve(runtime.device)
    words = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}
    return {
        "device": str(device),
        "precision": words[resolve_precision(runtime.precision, device)],
        "torch": str(torch.__version__),
    }


def steps_of(record: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the steps of a record, the first one first."""
    steps = [record]
    while isinstance(steps[-1].get("previous"), Mapping):
        steps.append(steps[-1]["previous"])
    return steps[::-1]


def left_to_do(record: Mapping[str, Any], volume: Volume) -> list[Mapping[str, Any]]:
    """Return the steps of a record that a volume has not been through.

    Raises:
        InputError: the volume has been through other steps, or through all of them.
    """
    steps = steps_of(record)
    done = [] if volume.record is None else steps_of(volume.record)
    for before, there in zip(steps, done, strict=False):
        if list(differences(before, there)):
            raise InputError(
                f"{volume.name} has been through {_named(there)} of {there.get('created')}, "
                f"and the record asks for {_named(before)} of {before.get('created')} there"
            )
    if len(done) >= len(steps):
        raise InputError(f"{volume.name} has been through all {len(steps)} steps of the record: nothing is left to do")
    return steps[len(done) :]


def check_repeatable(steps: Sequence[Mapping[str, Any]], beside: Mapping[str, Any], *, anyway: bool = False) -> None:
    """Refuse steps that cannot be made again, before any work.

    Args:
        steps: what is to be done.
        beside: volumes by the names that the steps ask for.
        anyway: another version of this package will do.

    Raises:
        InputError: a step that says too little, of another version, or without what it was given besides.
    """
    from napari_emsynth.trust.provenance import package_version

    for step in steps:
        if step.get("field"):
            name = step["field"].get("file") or "a field"
            raise InputError(f"the record is of a stack moved by {name}: use emsynth align --from-displacement {name}")
        if not isinstance(step.get("asked"), Mapping):
            raise InputError(f"the record of {_named(step)} does not say what was asked, so it cannot be made again")
        if step.get("version") != package_version() and not anyway:
            raise InputError(
                f"the record is of version {step.get('version')}, this is {package_version()}: the result may differ "
                "(--anyway makes it all the same)"
            )
        for name in step["asked"]["beside"]:
            if name not in beside:
                raise InputError(f"{_named(step)} was given {name}, which the record does not hold: give --{name} FILE")


def again(
    step: Mapping[str, Any],
    volume: Volume,
    runtime: Runtime,
    beside: Mapping[str, Volume],
    *,
    weights: str | None = None,
    anyway: bool = False,
) -> Result:
    """Return the result of one step, made again.

    Args:
        step: its record.
        volume: what it was done to.
        runtime: progress, cancel; device, precision, tile and seed are the record's.
        beside: volumes by the names that steps ask for.
        weights: name or file, in place of what the record names.
        anyway: a result that differs will do.

    Raises:
        InputError: a volume, weights or a result other than those of the record.
    """
    options = options_of(step["task"]).from_json(step["asked"]["options"])
    if weights is not None and options.weights is not None:
        options = replace(options, weights=weights)
    source = step["source"]
    if list(volume.shape) != list(source["shape"]) or str(volume.dtype) != source["dtype"]:
        raise InputError(
            f"{volume.name} has {_size(volume.shape)} {volume.dtype} voxels, the record is of {_size(source['shape'])} "
            f"{source['dtype']}"
        )
    size: Triple | None = None if source["voxel_nm"] is None else tuple(source["voxel_nm"])
    given = {name: beside[name] for name in step["asked"]["beside"]}
    _check_weights(step, options)
    how = replace(runtime, precision=step["precision"], seed=step["seed"], tile=step.get("tile"))
    result: Result = function_of(step["task"])(volume, options=options, voxel_nm=size, runtime=how, **given)
    other = list(differences(step, result.provenance))
    if other and not anyway:
        told = ", ".join(other[:MOST_TOLD])
        raise InputError(
            f"{_named(step)} of {volume.name} comes out different from the record ({told}): "
            "another input, or another mask (--anyway writes it all the same)"
        )
    return result


def _check_weights(step: Mapping[str, Any], options: Options) -> None:
    """Refuse weights other than the record's.

    Raises:
        InputError: they are.
    """
    from napari_emsynth.methods.request import weights_of, weights_record

    spec = get(step["task"], step["method"])
    found, said = weights_record(spec, weights_of(spec, options.weights)), step.get("weights")
    if found != said:
        ours, its = (None if w is None else f"{w['id']} ({w['sha256'][:12]})" for w in (found, said))
        raise InputError(f"the weights here are {ours}, the record's are {its}; give those by --weights FILE")


def differences(one: Any, other: Any, at: str = "") -> Iterator[str]:
    """Yield where two records differ in what must be the same, in words such as ``sections[3].t``."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        for key in [*one, *(key for key in other if key not in one)]:
            if key not in FREE:
                yield from differences(one.get(key), other.get(key), f"{at}.{key}" if at else str(key))
    elif isinstance(one, list | tuple) and isinstance(other, list | tuple):
        if len(one) != len(other):
            yield f"number of {at}"
        for k, (a, b) in enumerate(zip(one, other, strict=False)):
            yield from differences(a, b, f"{at}[{k}]")
    elif one != other:
        yield at


def _named(step: Mapping[str, Any]) -> str:
    return f"{step.get('task')}/{step.get('method')}"


def _size(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
