"""The methods of this project as registrars and stack aligners for ``align.py``."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import numpy as np
from align_peers import Answers, Pairs, Peer, unit

import napari_emsynth as es
from napari_emsynth.errors import InputError
from napari_emsynth.methods import get
from napari_emsynth.methods.request import built, params_of, weights_of
from napari_emsynth.spec import Runtime

DEFAULT = "emsynth"
IDS = ("optical-flow", "ssemnet", "li2017", DEFAULT)

Image = np.ndarray
Field = np.ndarray


def registrar(method: str, device: str) -> Any:
    """Return a built method of ours.

    Raises:
        InputError: it has no weights.
    """
    spec = get("align", method)
    return built(spec, params_of(spec, None), weights_of(spec, None), device)


def asked(method: str, questions: Pairs, device: str) -> Answers:
    """Return dense answers to pairs; everything is loaded before the first counts."""
    from napari_emsynth.fields.displacement import Displacement
    from napari_emsynth.methods.align.protocol import Neighbour

    register, runtime = registrar(method, device), Runtime(device=device)
    fields, seconds, cpu = [], [], []
    for turn, (moving, fixed) in enumerate([questions[0], *questions]):
        started, busy = time.perf_counter(), time.process_time()
        found = register(unit(moving), [Neighbour(unit(fixed))], None, runtime)
        dense = Displacement(found.displacement[None], (1, *moving.shape)).dense(0)
        if turn:
            fields.append(dense)
            seconds.append(time.perf_counter() - started)
            cpu.append(time.process_time() - busy)
    return Answers(fields, seconds, cpu)


def aligned(method: str, stack: Image, device: str, params: dict[str, Any] | None = None) -> Field:
    """Return [z, 2, y, x] (dy, dx) px of a stack [z, y, x], as a user gets it, by default or with parameters."""
    result = es.align(stack, method=method, device=device, params=params, selfcheck=False)
    return np.stack([result.displacement.dense(z) for z in range(len(stack))])


def ours(device: str) -> list[Peer]:
    """Return the methods that can run here; say which cannot."""
    out = []
    for method in IDS:
        try:
            spec = get("align", method)
            if spec.answers != "displacement":
                continue
            registrar(method, device)
        except (InputError, ImportError) as error:
            print(f"{method}: left out, {error}", flush=True)
            continue
        peer = Peer(f"emsynth: {method}", "")
        out.append(
            replace(
                peer,
                batch=lambda questions, _, m=method: asked(m, questions, device),
                stack=lambda stack, m=method: aligned(m, stack, device),
            )
        )
    return out
