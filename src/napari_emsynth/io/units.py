"""Lengths as files state them, in nm.

Law: a unit that is not a length (pixel, inch as a printer's default, nothing at all) makes a size unknown,
never wrong.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from napari_emsynth.grid import LARGEST_VOXEL_NM, SMALLEST_VOXEL_NM, Triple

_NM: dict[float, tuple[str, ...]] = {
    1e-3: ("pm", "picometer", "picometre"),
    0.1: ("a", "å", "angstrom", "angstroms", "ångström", "\u212b"),
    1.0: ("nm", "nanometer", "nanometers", "nanometre", "nanometres"),
    1e3: ("um", "µm", "μm", "micron", "microns", "micrometer", "micrometers", "micrometre", "micrometres", "\\u00b5m"),
    1e6: ("mm", "millimeter", "millimeters", "millimetre"),
    1e7: ("cm", "centimeter", "centimeters", "centimetre"),
    1e9: ("m", "meter", "meters", "metre"),
}
NM_PER = {word: factor for factor, words in _NM.items() for word in words}


def nm_per(unit: object) -> float | None:
    """Return how many nm one ``unit`` is, or None when it is not a length we trust (pixel, inch, unnamed)."""
    return NM_PER.get(str(unit).strip().lower()) if unit else None


def number(said: object) -> float | None:
    """Return a number as files write it, a decimal comma for a point included; None for what is no finite number."""
    try:
        value = float(str(said).strip().replace(",", ".") if isinstance(said, str) else said)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) and not isinstance(said, bool) else None


def plausible(sizes_nm: Sequence[float | None]) -> Triple | None:
    """Return three sizes (z, y, x) in nm, or None when one is missing or not a plausible voxel size."""
    known = [float(s) for s in sizes_nm if s is not None and math.isfinite(s)]
    if len(known) != 3 or min(known) < SMALLEST_VOXEL_NM or max(known) > LARGEST_VOXEL_NM:
        return None
    return (known[0], known[1], known[2])


def stated_nm(said: Mapping[str, Any]) -> Triple | None:
    """Return the size a file states in free metadata as ``voxel_nm`` = z, y, x: the name holds the unit."""
    sizes = said.get("voxel_nm")
    if not isinstance(sizes, (list, tuple)):
        return None
    return plausible([number(size) for size in sizes])
