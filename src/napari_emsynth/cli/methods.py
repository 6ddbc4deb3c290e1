"""``emsynth methods``: what there is to choose from."""

from __future__ import annotations

import math
from typing import Any

from napari_emsynth.cli.groups import AsJson
from napari_emsynth.cli.screen import Screen, table
from napari_emsynth.errors import InputError
from napari_emsynth.spec import MethodSpec


def methods(*, json: AsJson = False) -> None:
    """List the methods, their papers and their bundled weights."""
    from napari_emsynth.methods import DEFAULT, all_methods

    with Screen(as_json=json) as screen:
        entries = [
            {
                "task": spec.task,
                "id": spec.id,
                "title": spec.title,
                "summary": spec.summary,
                "paper": spec.paper,
                "default": DEFAULT.get(spec.task) == spec.id,
                "trainable": bool(spec.recipes),
                "uncertainty": spec.has_uncertainty,
                "keeps_acquired": spec.keeps_acquired,
                **({"factors": spec.factors, "samplings": spec.samplings} if spec.task == "upsample" else {}),
                "params": spec.params().to_json(),
                "weights": [describe_weights(spec, name) for name in spec.weights],
            }
            for spec in all_methods()
        ]
        screen.answer({"methods": entries}, describe(entries))


def describe_weights(spec: MethodSpec, name: str) -> dict[str, Any]:
    """Return name, sha256 and voxel range of bundled weights, or what is wrong with them."""
    from napari_emsynth.weights.store import read_card

    try:
        card = read_card(spec.name, name)
    except InputError as error:
        return {"name": name, "problem": str(error)}
    low, high = card.voxel_nm
    span = [low, high if math.isfinite(high) else None]
    return {"name": name, "id": card.id, "sha256": card.sha256, "voxel_nm": span, "licence": card.licence}


def describe(entries: list[dict[str, Any]]) -> str:
    """Return the methods for a person: a row for each of their weights."""
    rows = []
    for entry in entries:
        for weights in entry["weights"] or [{}]:
            span = weights.get("voxel_nm")
            rows.append(
                (
                    entry["task"],
                    entry["id"] + (" (default)" if entry["default"] else ""),
                    entry["title"],
                    weights.get("name", "-"),
                    weights.get("sha256", weights.get("problem", "-"))[:12],
                    f"{span[0]:g}-{span[1] or 'any'} nm" if span else "-",
                    entry["paper"] or "-",
                )
            )
    return table(("task", "id", "title", "weights", "sha256", "pixel", "paper"), rows)
