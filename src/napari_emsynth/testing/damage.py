"""Damage planted on real sections, with a record of what was done where.

Conventions: stacks are [z, y, x] of any real dtype; sections are 0-based. Nothing is written to the input;
the same seed plants the same damage; sections that are not in the plan stay bit-identical. NaN stays NaN.

Two families. Section damage spoils a whole section and wants a new one: ``blank`` (constant, black or resin
grey), ``saturated`` (overexposed, most pixels clipped), ``blurred`` (out of focus), ``half-missing`` (one
side is empty), ``displaced`` (slipped sideways). Region damage leaves the rest of the section intact and
comes with a mask: ``fold`` (dark band), ``crack`` (bright tear), ``dirt`` (dark grains), ``stripe``
(charging lines that decay along x).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter, shift as shift_image

from napari_emsynth.errors import InputError
from napari_emsynth.normalisation import to_dtype
from napari_emsynth.volume import Array

Float64 = NDArray[np.float64]
Mask = NDArray[np.bool_]
Rng = np.random.Generator

Detail = dict[str, float]


@dataclass(frozen=True, kw_only=True)
class Planted:
    """One act of damage.

    Args:
        section: 0-based index.
        kind: one of :data:`SECTION_KINDS` or :data:`REGION_KINDS`.
        detail: the numbers drawn: px, shares of the section, grey levels.
    """

    section: int
    kind: str
    detail: Detail = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object that :meth:`from_json` reads back to an equal value."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Planted:
        """Build from a JSON object."""
        return cls(section=int(record["section"]), kind=str(record["kind"]), detail=dict(record["detail"]))


def _levels(section: Float64) -> tuple[float, float]:
    """Return the dark and the bright end of the finite intensities, dirt left out."""
    low, high = np.percentile(section[np.isfinite(section)], (1.0, 99.0))
    return float(low), float(high)


def _blank(section: Float64, rng: Rng, top: float) -> tuple[Float64, Detail]:
    """Black, or resin grey with a little camera noise."""
    low, high = _levels(section)
    grey = low if rng.random() < 0.5 else low + 0.8 * (high - low)
    noise = 0.0 if grey == low else 0.02 * (high - low)
    out = grey + rng.normal(0.0, 1.0, section.shape) * noise
    return np.minimum(out, top), {"grey": grey, "noise": noise}


def _saturated(section: Float64, rng: Rng, top: float) -> tuple[Float64, Detail]:
    """Stretch the intensities so far that half to three quarters of the pixels are clipped at the top."""
    low, _ = _levels(section)
    share = float(rng.uniform(0.5, 0.75))
    knee = float(np.nanquantile(section, 1 - share))
    gain = (top - low) / max(knee - low, 1e-6 * max(top - low, 1.0))
    return np.minimum(low + (section - low) * gain, top), {"clipped_share": share, "gain": gain}


def _blurred(section: Float64, rng: Rng, top: float) -> tuple[Float64, Detail]:
    """Defocus, then a little camera noise, which no lens blurs."""
    low, high = _levels(section)
    sigma = float(rng.uniform(2.5, 4.0))
    noise = 0.02 * (high - low)
    out = gaussian_filter(section, sigma, mode="mirror") + rng.normal(0.0, noise, section.shape)
    return np.minimum(out, top), {"sigma_px": sigma, "noise": noise}


def _half_missing(section: Float64, rng: Rng, _: float) -> tuple[Float64, Detail]:
    """Everything beyond a slanted line is empty."""
    low, _ = _levels(section)
    share = float(rng.uniform(0.4, 0.6))
    angle = float(rng.integers(4)) * 90 + float(rng.uniform(-10, 10))
    y, x = (np.linspace(-0.5, 0.5, n) for n in section.shape)
    across = np.sin(np.deg2rad(angle)) * y[:, None] + np.cos(np.deg2rad(angle)) * x[None, :]
    lost = across < np.quantile(across, share)
    return np.where(lost, low, section), {"share": share, "angle_deg": angle, "grey": low}


def _displaced(section: Float64, rng: Rng, _: float) -> tuple[Float64, Detail]:
    """Slip sideways by 8 to 15 % of the shorter edge; what comes into view is mirrored."""
    distance = float(rng.uniform(0.08, 0.15)) * min(section.shape)
    angle = float(rng.uniform(0, 2 * np.pi))
    dy, dx = round(distance * np.sin(angle)), round(distance * np.cos(angle))
    # Whole pixels: an interpolated shift would also blur.
    return shift_image(section, (dy, dx), order=0, mode="mirror"), {"dy_px": dy, "dx_px": dx}


_SECTION: dict[str, Callable[[Float64, Rng, float], tuple[Float64, Detail]]] = {
    "blank": _blank,
    "saturated": _saturated,
    "blurred": _blurred,
    "half-missing": _half_missing,
    "displaced": _displaced,
}
SECTION_KINDS: tuple[str, ...] = tuple(_SECTION)


def _curve(shape: tuple[int, int], rng: Rng) -> Float64:
    """Return each pixel's distance in px to a gently bent line across the section."""
    y, x = np.mgrid[: shape[0], : shape[1]].astype(np.float64)
    angle = rng.uniform(0, np.pi)
    centre = [n * rng.uniform(0.35, 0.65) for n in shape]
    along = np.cos(angle) * (y - centre[0]) + np.sin(angle) * (x - centre[1])
    across = -np.sin(angle) * (y - centre[0]) + np.cos(angle) * (x - centre[1])
    size = min(shape)
    wave = 0.05 * size * np.sin(2 * np.pi * along / (size * rng.uniform(0.8, 1.6)) + rng.uniform(0, 2 * np.pi))
    return np.abs(across - wave)  # type: ignore[no-any-return]


def _fold(section: Float64, rng: Rng) -> tuple[Float64, Mask]:
    low, high = _levels(section)
    distance, width = _curve(section.shape, rng), rng.uniform(0.02, 0.04) * min(section.shape) + 1.5
    depth = np.clip(1.5 - distance / width, 0, 1) * 0.85
    return section + depth * (low - 0.1 * (high - low) - section), depth > 0


def _crack(section: Float64, rng: Rng) -> tuple[Float64, Mask]:
    _, high = _levels(section)
    distance, width = _curve(section.shape, rng), rng.uniform(0.008, 0.02) * min(section.shape) + 1.0
    ragged = width * (1 + 0.5 * gaussian_filter(rng.normal(size=section.shape), 3) * 8)
    torn = distance < np.maximum(ragged, 0.5)
    return np.where(torn, high, section), torn


def _dirt(section: Float64, rng: Rng) -> tuple[Float64, Mask]:
    low, _ = _levels(section)
    grain = gaussian_filter(rng.normal(size=section.shape), max(1.0, 0.02 * min(section.shape)))
    covered = grain > np.quantile(grain, 1 - rng.uniform(0.02, 0.06))
    return np.where(covered, low + 0.2 * (section - low), section), covered


def _stripe(section: Float64, rng: Rng) -> tuple[Float64, Mask]:
    low, high = _levels(section)
    rows, columns = section.shape
    out, mask = section.copy(), np.zeros(section.shape, bool)
    for _ in range(max(1, rows // 40)):
        top, height = int(rng.integers(rows)), int(rng.integers(1, 4))
        start, length = int(rng.integers(max(1, columns // 2))), columns * rng.uniform(0.2, 0.6)
        glow = 0.8 * (high - low) * np.exp(-np.arange(columns - start) / length)
        band = (slice(top, top + height), slice(start, None))
        out[band] = np.minimum(out[band] + glow, high + 0.1 * (high - low))
        mask[band] |= glow > 0.02 * (high - low)
    return out, mask


_REGION: dict[str, Callable[[Float64, Rng], tuple[Float64, Mask]]] = {
    "fold": _fold,
    "crack": _crack,
    "dirt": _dirt,
    "stripe": _stripe,
}
REGION_KINDS: tuple[str, ...] = tuple(_REGION)


def _top(section: Array) -> float:
    """Return where the detector clips: 255 for 8 bits, else the brightest pixel seen."""
    return 255.0 if section.dtype == np.uint8 else float(np.nanmax(section))


def damage_section(section: Array, kind: str, rng: Rng) -> tuple[Array, Detail]:
    """Return a damaged copy of one section and the numbers drawn.

    Args:
        section: [y, x] acquired intensities, any real dtype.
        kind: one of :data:`SECTION_KINDS`.
        rng: draws the strength.

    Raises:
        InputError: an unknown kind.
    """
    if kind not in _SECTION:
        raise InputError(f"damage {kind!r} is not one of {', '.join(_SECTION)}")
    known = np.isfinite(section)
    whole = np.where(known, section, np.nanmedian(section)).astype(np.float64)
    out, detail = _SECTION[kind](whole, rng, _top(section))
    damaged = to_dtype(out.astype(np.float32), section.dtype)
    return (damaged if known.all() else np.where(known, damaged, section)), detail


def damage_region(section: Array, kind: str, rng: Rng) -> tuple[Array, Mask]:
    """Return a copy of one section with a damaged region, and the mask of the region.

    Args:
        section: [y, x] acquired intensities, any real dtype.
        kind: one of :data:`REGION_KINDS`.
        rng: draws place, shape and strength.

    Returns:
        The damaged section, bit-identical outside the mask, and the mask [y, x].

    Raises:
        InputError: an unknown kind.
    """
    if kind not in _REGION:
        raise InputError(f"damage {kind!r} is not one of {', '.join(_REGION)}")
    known = np.isfinite(section)
    whole = np.where(known, section, np.nanmedian(section)).astype(np.float64)
    out, mask = _REGION[kind](whole, rng)
    return np.where(mask & known, to_dtype(out.astype(np.float32), section.dtype), section), mask


def plant(data: Array, plan: Mapping[int, str], *, seed: int = 0) -> tuple[Array, list[Planted]]:
    """Return a damaged copy of a stack and the record of what was planted, in order of sections.

    Args:
        data: [z, y, x] acquired intensities.
        plan: section -> one of :data:`SECTION_KINDS`.
        seed: of every number drawn; a section's damage does not depend on the rest of the plan.

    Raises:
        InputError: an unknown kind, or a section outside the stack.
    """
    out, record = data.copy(), []
    for z, kind in sorted(plan.items()):
        _check_section(z, data)
        out[z], detail = damage_section(data[z], kind, np.random.default_rng((seed, z)))
        record.append(Planted(section=z, kind=kind, detail=detail))
    return out, record


def plant_regions(data: Array, plan: Mapping[int, str], *, seed: int = 0) -> tuple[Array, Mask, list[Planted]]:
    """Return a copy of a stack with damaged regions, their mask [z, y, x], and the record.

    Args:
        data: [z, y, x] acquired intensities.
        plan: section -> one of :data:`REGION_KINDS`.
        seed: of every number drawn.

    Raises:
        InputError: an unknown kind, or a section outside the stack.
    """
    out, masks, record = data.copy(), np.zeros(data.shape, bool), []
    for z, kind in sorted(plan.items()):
        _check_section(z, data)
        out[z], masks[z] = damage_region(data[z], kind, np.random.default_rng((seed, z)))
        record.append(Planted(section=z, kind=kind, detail={"share": float(masks[z].mean())}))
    return out, masks, record


def spread(depth: int, *, seed: int = 0, spacing: int = 4, kinds: tuple[str, ...] = SECTION_KINDS) -> dict[int, str]:
    """Return a plan with one damaged section about every ``spacing`` sections, kinds in turn.

    Args:
        depth: sections in the stack; the first and the last stay intact.
        seed: of places and order.
        spacing: mean distance in sections, at least 3; two damaged sections are never neighbours.
        kinds: what to plant.
    """
    rng = np.random.default_rng(seed)
    slots = range(1, depth - spacing + 1, spacing)
    order = [kind for _ in range(len(slots) // len(kinds) + 1) for kind in rng.permutation(kinds).tolist()]
    return {z + int(rng.integers(spacing - 1)): kind for z, kind in zip(slots, order, strict=False)}


def _check_section(z: int, data: Array) -> None:
    if not 0 <= z < len(data):
        raise InputError(f"section {z} is outside the stack's sections 0 to {len(data) - 1}")
