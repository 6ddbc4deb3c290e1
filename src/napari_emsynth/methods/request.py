"""What every task is asked in the same words: a volume, a method, its parameters and weights, how to compute.

Laws: a request can be pickled and sent to another process, where the method is built anew, once; callbacks and the
cancel token stay at home.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.working import torch_is_here
from napari_emsynth.params import Params
from napari_emsynth.spec import CancelToken, MethodSpec, Runtime, Task, no_note, no_progress
from napari_emsynth.trust import provenance
from napari_emsynth.volume import Array, Volume

# A pixel size this far beyond what the weights were trained for is worth a word.
BELOW, ABOVE = 0.9, 1.15


@dataclass(frozen=True)
class Request:
    """One volume, one method, and how to compute.

    Args:
        task: what is to be done.
        volume: the input.
        method: id of the method.
        params: of the method.
        weights: name or file; None for methods without any.
        runtime: device, precision, tile, seed, progress, cancel.
    """

    task: Task
    volume: Volume
    method: str
    params: Params
    weights: str | None
    runtime: Runtime

    @classmethod
    def of(
        cls,
        task: Task,
        volume: Volume | Array,
        method: str,
        *,
        weights: str | None,
        params: Mapping[str, Any] | Params | None,
        runtime: Runtime,
    ) -> Request:
        """Check and complete what the user gave.

        Args:
            task: what is to be done.
            volume: [z, y, x] the input.
            method: its id.
            weights: name or file; None takes the method's default.
            params: of the method.
            runtime: device, precision, tile, seed, progress, cancel.

        Raises:
            InputError: an unknown method, bad parameters, weights of a method without any, no volume.
        """
        spec = get(task, method)
        return cls(task, Volume.of(volume), method, params_of(spec, params), weights_of(spec, weights), runtime)

    def __getstate__(self) -> dict[str, Any]:
        """Leave behind what belongs to this process."""
        return self.__dict__ | {"runtime": portable(self.runtime)}

    @property
    def spec(self) -> MethodSpec:
        """What the method says of itself."""
        return get(self.task, self.method)

    def built(self) -> Any:
        """Return the built method; it follows its task's protocol.

        Raises:
            InputError: weights that are missing, damaged or of another method.
        """
        return built(self.spec, self.params, self.weights, self.runtime.device)

    def on(self, volume: Volume) -> Request:
        """Return the same request for another volume, quiet but for cancelling."""
        quiet = replace(self.runtime, progress=no_progress)
        return replace(self, volume=volume, runtime=quiet)

    def heard(self, notices: list[str]) -> Request:
        """Return the request with what the engine tells also kept in ``notices``."""
        return replace(self, runtime=heard(self.runtime, notices))

    def record(self) -> dict[str, Any]:
        """Return what a provenance record says of the request."""
        return {
            "task": self.task,
            "method": self.method,
            "weights": weights_record(self.spec, self.weights),
            "params": self.params.to_json(),
            "seed": self.runtime.seed,
            "source": provenance.Source.of(self.volume),
            "device": self.runtime.device,
            "precision": self.runtime.precision,
            "tile": self.runtime.tile,
        }


def params_of(spec: MethodSpec, params: Mapping[str, Any] | Params | None) -> Params:
    """Return a method's parameters; what is absent takes its default.

    Raises:
        InputError: an unknown name or a bad value.
    """
    return params if isinstance(params, Params) else spec.params.from_json(dict(params or {}))


def weights_of(spec: MethodSpec, weights: str | None) -> str | None:
    """Return the weights to use: those asked for, else the method's default, None for methods without any.

    Raises:
        InputError: weights asked for of a method that has none.
    """
    if weights is not None and not spec.weights:
        raise InputError(f"{spec.name} has no weights to choose, got {weights!r}")
    return weights or (spec.weights[0] if spec.weights else None)


def built(spec: MethodSpec, params: Params, weights: str | None, device: str) -> Any:
    """Return the built method, made once a process for equal arguments and equal weights.

    Raises:
        InputError: weights that are missing, damaged or of another method.
    """
    record = weights_record(spec, weights)
    sha256 = None if record is None else record["sha256"]
    method = _built(spec.task, spec.id, json.dumps(params.to_json()), weights, sha256, device)
    torch_is_here()
    return method


@lru_cache(maxsize=4)
def _built(
    task: str,
    id_: str,
    params: str,
    weights: str | None,
    sha256: str | None,  # noqa: ARG001 - part of the key: a file of the same name may be trained further
    device: str,
) -> Any:
    spec = get(task, id_)
    return spec.build(spec.params.from_json(json.loads(params)), Runtime(device=device), weights)


def weights_record(spec: MethodSpec, weights: str | None) -> dict[str, str] | None:
    """Return what a provenance record says of weights; None for methods without any."""
    if weights is None:
        return None
    from napari_emsynth.weights.store import read_card

    card = read_card(spec.name, weights)
    return {"id": card.id, "sha256": card.sha256}


def scale_notices(spec: MethodSpec, weights: str | None, volume: Volume) -> list[str]:
    """Return a warning when the pixel size is outside what the weights were trained for."""
    if weights is None or volume.grid.voxel_nm is None:
        return []
    from napari_emsynth.weights.store import read_card

    low, high = read_card(spec.name, weights).voxel_nm
    return [
        f"voxel size {v:g} nm along {axis} is outside the {low:g} to {high:g} nm these weights were trained for"
        for axis, v in zip("yx", volume.grid.voxel_nm[1:], strict=True)
        if not low * BELOW <= v <= high * ABOVE
    ][:1]


def portable(runtime: Runtime) -> Runtime:
    """Return the runtime without what belongs to this process: callbacks and the cancel token."""
    return replace(runtime, progress=no_progress, cancel=CancelToken(), note=no_note)


def heard(runtime: Runtime, notices: list[str]) -> Runtime:
    """Return the runtime with what the engine tells also kept in ``notices``."""

    def note(line: str) -> None:
        notices.append(line)
        runtime.note(line)

    return replace(runtime, note=note)
