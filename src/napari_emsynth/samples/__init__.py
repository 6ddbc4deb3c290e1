"""The bundled sample: a small real FIB-SEM stack with planted damage and its truth.

Conventions: 48 x 256 x 256 voxels of 10 nm, uint8. ``damaged.ome.tif`` is the whole damaged stack;
``truth_sections.ome.tif`` holds only the acquired sections that were damaged, in order; ``planted.json``
says what was planted where. Law: ``truth()`` equals ``damaged()`` in every section that ``planted()`` does
not name.

Licence and origin are in ATTRIBUTION.md beside this file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from napari_emsynth.testing.damage import Planted
from napari_emsynth.volume import Array, Volume

FOLDER = Path(__file__).parent
DAMAGED = "damaged.ome.tif"
TRUTH = "truth_sections.ome.tif"
RECORD = "planted.json"


def path() -> Path:
    """Return the damaged stack's file, for the command line."""
    return FOLDER / DAMAGED


def damaged() -> Volume:
    """Return the stack [48, 256, 256] uint8 with planted damage."""
    return _volume(_read(DAMAGED), "damaged sample")


def truth() -> Volume:
    """Return the same stack as it was acquired."""
    data = _read(DAMAGED)
    data[[planted.section for planted in planted()]] = _read(TRUTH)
    return _volume(data, "sample truth")


def planted() -> list[Planted]:
    """Return what was planted, one entry a damaged section, in order of sections."""
    return [Planted.from_json(entry) for entry in _record()["planted"]]


def _record() -> dict[str, Any]:
    return json.loads((FOLDER / RECORD).read_text(encoding="utf-8"))  # type: ignore[no-any-return]


def _read(name: str) -> Array:
    from tifffile import imread

    return np.asarray(imread(FOLDER / name))


def _volume(data: Array, name: str) -> Volume:
    return Volume.of(data, voxel_nm=_record()["voxel_nm"], name=name)
