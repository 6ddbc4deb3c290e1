"""What every task is asked in the same words: a volume, a method, its parameters and weights, how to compute.

Laws: a request can be pickled and sent to another process, where the method is built anew, once; callbacks and the
cancel token stay at home.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.params import Params
from napari_emsynth.spec import CancelToken, MethodSpec, Runtime, Task, no_note, no_progress
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
        voxel_nm: Sequence[float] | None,
        runtime: Runtime,
    ) -> Request:
        """Check and complete what the user gave.

        Raises:
            InputError: an unknown method, bad parameters, weights of a method without any, no volume.
        """
        volume = Volume.of(volume, voxel_nm=voxel_nm)
        spec = get(task, method)
        if not isinstance(params, Params):
            params = spec.params.from_json(dict(params or {}))
        if weights is not None and not spec.weights:
            raise InputError(f"{spec.name} has no weights to choose, got {weights!r}")
        chosen = weights or (spec.weights[0] if spec.weights else None)
        return cls(task, volume, method, params, chosen, runtime)

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
        given = json.dumps(self.params.to_json())
        sha256 = None if self.weights is None else self._card().sha256
        return _built(self.task, self.method, given, self.weights, sha256, self.runtime.device)

    def on(self, volume: Volume) -> Request:
        """Return the same request for another volume, quiet but for cancelling."""
        quiet = replace(self.runtime, progress=no_progress)
        return replace(self, volume=volume, runtime=quiet)

    def heard(self, notices: list[str]) -> Request:
        """Return the request with what the engine tells also kept in ``notices``."""
        return replace(self, runtime=replace(self.runtime, note=_both(notices.append, self.runtime.note)))

    def scale_notices(self) -> list[str]:
        """Return a warning when the pixel size is outside what the weights were trained for."""
        if self.weights is None or self.volume.grid.voxel_nm is None:
            return []
        low, high = self._card().voxel_nm
        return [
            f"voxel size {v:g} nm along {axis} is outside the {low:g} to {high:g} nm these weights were trained for"
            for axis, v in zip("yx", self.volume.grid.voxel_nm[1:], strict=True)
            if not low * BELOW <= v <= high * ABOVE
        ][:1]

    def record(self) -> dict[str, Any]:
        """Return what a provenance record says of the request."""
        card = None if self.weights is None else self._card()
        voxel_nm = self.volume.grid.voxel_nm
        return {
            "task": self.task,
            "method": self.method,
            "weights": None if card is None else {"id": card.id, "sha256": card.sha256},
            "params": self.params.to_json(),
            "seed": self.runtime.seed,
            "source": {
                "name": self.volume.name,
                "shape": list(self.volume.shape),
                "dtype": str(self.volume.dtype),
                "voxel_nm": list(voxel_nm) if voxel_nm else None,
            },
            "device": self.runtime.device,
        }

    def _card(self) -> Any:
        from napari_emsynth.weights.store import read_card

        assert self.weights is not None
        return read_card(self.spec.name, self.weights)


@lru_cache(maxsize=4)
def _built(
    task: str,
    id_: str,
    params: str,
    weights: str | None,
    sha256: str | None,  # noqa: ARG001 - part of the key: a file of the same name may be trained further
    device: str,
) -> Any:
    """Build a method once a process; ``params`` is JSON."""
    spec = get(task, id_)
    return spec.build(spec.params.from_json(json.loads(params)), Runtime(device=device), weights)


def portable(runtime: Runtime) -> Runtime:
    """Return the runtime without what belongs to this process: callbacks and the cancel token."""
    return replace(runtime, progress=no_progress, cancel=CancelToken(), note=no_note)


def _both(first: Callable[[str], Any], second: Callable[[str], Any]) -> Callable[[str], None]:
    def note(line: str) -> None:
        first(line)
        second(line)

    return note
