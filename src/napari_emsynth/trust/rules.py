"""What makes a section suspect: one rule a kind of damage, each section against its neighbours.

Conventions: a rule says how many times over its limit a section is, and why; None where it cannot tell. Limits are set
by the neighbours' median and scatter (1.48 median absolute deviations), so that a fault which the whole stack shares is
none.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.trust.features import Features, Match
from napari_emsynth.trust.gaps import DEVIATIONS, LEAST, SIDE, deviation, losses, nearby
from napari_emsynth.volume import Float

Kind = Literal[
    "missing",
    "blank",
    "saturated",
    "inverted",
    "noisy",
    "blurred",
    "half-missing",
    "displaced",
    "duplicate",
    "synthetic",
]
"""What is wrong with a section. Two are never seen, only known: "missing", of which nothing was acquired, and
"synthetic", which an earlier step made up."""

# Contrast of a blank section, as a share of a typical section's.
BLANK_CONTRAST = 0.1
# Texture of an empty block, as a share of its neighbours'; resin with camera noise is at about 0.05.
EMPTY_TEXTURE = 0.12
# Share of a section that must be missing, or clipped, beyond what its neighbours are.
MISSING_SHARE = 0.18
CLIPPED_SHARE = 0.2
# A section emptier than this, and emptier than the stack by 0.3, is lost even where its neighbours are too.
LOST_SHARE = 0.6
# Mid-band power of a blurred section: a third of its neighbours'. Real stacks scatter by a factor of 1.5.
BLUR_LOG_DROP = math.log(3)
# High-band power of a noisy section: four times its neighbours'.
NOISE_LOG_RISE = math.log(4)
# Of its neighbours, a negative section must be the negative of this share.
INVERTED_SHARE = 0.6
# And correlate with them by this share of what neighbours do.
ALIKE = 0.6
# Displacement that no careful alignment leaves behind, in px and in px of the thumbnail that is matched.
DISPLACED_PX = 6.0
DISPLACED_THUMB_PX = 3.0
# A correlation peak this much above the next one is no chance; two unrelated sections reach 1.2.
RELIABLE = 1.25

# What a rule finds: how many times over the limit, and why.
Finding = tuple[float, str]
Rule = Callable[["Stack", int], Finding | None]


def typical_contrast(contrasts: Iterable[float]) -> float:
    """Return the upper quartile: half a stack of blank sections must not make blank typical."""
    return float(np.percentile(list(contrasts), 75))


class Stack:
    """The features of adjacent sections, counted from 0, and which of them still serve as a reference."""

    def __init__(self, features: list[Features]) -> None:
        self.start = features[0].section if features else 0
        self.features = [self._alone(f) for f in features]
        self.usable = np.ones(len(features), bool)
        self.contrast = typical_contrast(f.contrast for f in features)
        self.texture = np.stack([f.texture for f in features])
        filled = self.texture[self.texture > 0]
        self.typical_texture = float(np.median(filled)) if filled.size else 0.0
        self.empty = (self.texture <= EMPTY_TEXTURE * self.typical_texture).mean(axis=(1, 2))
        self.sharpness = np.stack([f.sharpness for f in features])
        self.noise = np.stack([f.noise for f in features])
        self.loss = losses(features)
        self.first = {f.digest: f.section for f in reversed(self.features)}
        self.thumb_factor = 1
        self._natural: dict[str, float] = {}

    def _alone(self, features: Features) -> Features:
        """Return what is known of a section where nothing is before the first."""
        z = features.section - self.start
        return replace(features, section=z, matches=features.matches[:z])

    def near(self, z: int) -> NDArray[np.intp]:
        """Return the nearest usable sections, up to 8 on each side."""
        usable = np.flatnonzero(self.usable)
        return np.concatenate([usable[usable < z][-SIDE:], usable[usable > z][:SIDE]])

    def natural(self, name: str, measure: Callable[[int], float | None]) -> float:
        """Return how far a measure strays in usable sections: median plus 5 deviations; cached by name."""
        if name not in self._natural:
            found = [value for z in np.flatnonzero(self.usable) if (value := measure(int(z))) is not None]
            values = np.array(found or [0.0])
            median = float(np.median(values))
            self._natural[name] = median + DEVIATIONS * deviation(values)
        return self._natural[name]


def _missing(stack: Stack, z: int) -> Finding | None:
    return lacking(stack.features[z].missing)


def lacking(missing: bool) -> Finding | None:
    """Return what is found of a section of which nothing was acquired."""
    return (math.inf, "nothing of it was acquired") if missing else None


def _blank(stack: Stack, z: int) -> Finding | None:
    return faint(stack.features[z].contrast, stack.contrast)


def faint(contrast: float, usual: float) -> Finding:
    """Return how blank a section is whose structures have a contrast, where another one is usual."""
    if contrast == 0:
        return math.inf, "constant"
    share = contrast / usual if usual else 1.0
    return BLANK_CONTRAST * usual / contrast, f"structures have {share:.0%} of the usual contrast"


def _duplicate(stack: Stack, z: int) -> Finding | None:
    return repeated(z + stack.start, stack.first[stack.features[z].digest] + stack.start)


def repeated(z: int, first: int) -> Finding | None:
    """Return what is found of a section whose voxels were first seen in section ``first``."""
    return (math.inf, f"bit-identical to section {first}") if first < z else None


def _saturated(stack: Stack, z: int) -> Finding | None:
    near = stack.near(z)
    own = stack.features[z]
    findings = []
    for end, share in (("brightest", own.clipped), ("darkest", own.clipped_dark)):
        others = [stack.features[n] for n in near]
        usual = np.median([o.clipped if end == "brightest" else o.clipped_dark for o in others] or [0.0])
        detail = f"{share:.0%} of the pixels are clipped at the {end} value; neighbours have {usual:.0%}"
        findings.append((float(share - usual) / CLIPPED_SHARE, detail))
    return max(findings)


def _rise(stack: Stack, bands: Float, z: int) -> float | None:
    """Return the log of a section's own power in a band over its neighbours', patch by patch; None when unknown.

    Args:
        stack: the sections.
        bands: [section, patch] log power, NaN where a patch is empty.
        z: the section.
    """
    near = stack.near(z)
    if not near.size:
        return None
    known = np.isfinite(bands[z]) & np.isfinite(bands[near]).any(axis=0)
    if not known.any():
        return None
    return float(np.median(bands[z][known] - np.nanmedian(bands[near][:, known], axis=0)))


def _blur(stack: Stack, z: int) -> float | None:
    rise = _rise(stack, stack.sharpness, z)
    return None if rise is None else -rise


def _blurred(stack: Stack, z: int) -> Finding | None:
    drop = _blur(stack, z)
    if drop is None or drop <= 0:
        return None
    limit = max(BLUR_LOG_DROP, stack.natural("blur", lambda n: _blur(stack, n)))
    return drop / limit, f"fine detail has {math.exp(-drop):.0%} of the neighbours' power"


def _half_missing(stack: Stack, z: int) -> Finding | None:
    near = stack.near(z)
    if not near.size:
        return None
    usual = np.median(stack.texture[near], axis=0)
    full = usual > EMPTY_TEXTURE * stack.typical_texture
    gone = full & (stack.texture[z] <= EMPTY_TEXTURE * usual)
    rest = full & ~gone
    blurred = _blurred(stack, z)
    # A strong blur empties smooth blocks too, but what is left of a cut section is as crisp as ever.
    faded = rest.any() and np.median(stack.texture[z][rest] / usual[rest]) < 0.5
    if faded and blurred is not None and blurred[0] >= 1:
        return None
    lost = float(gone.mean())
    found = (lost / MISSING_SHARE, f"{lost:.0%} of the section is empty where its neighbours are not")
    empty, others = float(stack.empty[z]), float(np.median(stack.empty))
    # Fades out over many sections: no neighbour shows it, the stack as a whole does.
    if empty > others + 0.3 and empty / LOST_SHARE > found[0]:
        return (empty / LOST_SHARE, f"{empty:.0%} of the section is empty; half of the stack has {others:.0%} or less")
    return found


def _pairs(stack: Stack, z: int) -> list[tuple[int, Match]]:
    """Return how a section and its usable neighbours on both sides lie on each other, where that is certain.

    Returns:
        1 and its match with an earlier section, -1 and a later section's match with it.
    """
    own = [(1, match) for match in stack.features[z].matches if stack.usable[z - match.step]]
    later = [
        (-1, other.matches[other.section - z - 1])
        for other in stack.features[z + 1 : z + 4]
        if stack.usable[other.section]
    ]
    return [(sign, match) for sign, match in (*own, *later) if match.quality >= RELIABLE]


def _inverted(stack: Stack, z: int) -> Finding | None:
    sure = []
    for _, match in _pairs(stack, z):
        usual = nearby(stack.loss, z, match.step)
        # A section of other tissue is like the negative of its neighbours by chance, though never much.
        if usual.size:
            alike = abs(match.correlation) > ALIKE * math.exp(-float(np.median(usual)))
            sure.append(match.inverted and alike)
    if len(sure) < 2:
        return None
    share = sum(sure) / len(sure)
    return share / INVERTED_SHARE, f"is the negative of {sum(sure)} of {len(sure)} neighbours"


def _noise(stack: Stack, z: int) -> float | None:
    return _rise(stack, stack.noise, z)


def _noisy(stack: Stack, z: int) -> Finding | None:
    rise = _noise(stack, z)
    if rise is None or rise <= 0:
        return None
    limit = max(NOISE_LOG_RISE, stack.natural("noise", lambda n: _noise(stack, n)))
    return rise / limit, f"the finest frequencies have {math.exp(rise):.1f} times the neighbours' power"


def _reliable(stack: Stack, z: int) -> list[tuple[float, float, int]]:
    """Return (dy, dx, step) of section z against each usable neighbour that it certainly matches."""
    return [(sign * m.dy, sign * m.dx, sign * m.step) for sign, m in _pairs(stack, z) if not m.inverted]


def _drift(stack: Stack, z: int) -> NDArray[np.float64]:
    """Return the steady drift around a section, (dy, dx) px a section."""
    steps = [
        (m.dy, m.dx)
        for n in [*stack.near(z), z]
        for m in stack.features[n].matches[:1]
        if m.quality >= RELIABLE and stack.usable[n - 1]
    ]
    return np.median(steps, axis=0) if steps else np.zeros(2)


def _slip(stack: Stack, z: int) -> float | None:
    """Return how far a section lies off its neighbours in px; None when fewer than two match it.

    The lower third of the distances, so that a good section is not blamed for displaced neighbours.
    """
    matches = _reliable(stack, z)
    if len(matches) < 2:
        return None
    drift = _drift(stack, z)
    lengths = sorted(math.hypot(dy - step * drift[0], dx - step * drift[1]) for dy, dx, step in matches)
    return lengths[(len(lengths) - 1) // 3]


def _displaced(stack: Stack, z: int) -> Finding | None:
    slip, found = _slip(stack, z), _unlike(stack, z)
    if slip is None:
        return found or _stranger(stack, z)
    natural = stack.natural("slip", lambda n: _slip(stack, n))
    limit = max(DISPLACED_PX, DISPLACED_THUMB_PX * stack.thumb_factor, natural)
    off: Finding = (slip / limit, f"lies {slip:.0f} px off its neighbours")
    return off if found is None else max(off, found)


def _unlike(stack: Stack, z: int) -> Finding | None:
    """A section that correlates with both neighbours as far ones do, though they correlate with each other: turned."""
    if not 1 < z < len(stack.features) - 2 or not stack.usable[[z - 1, z + 1]].all():
        return None
    usual = [nearby(stack.loss, z, step) for step in (1, 2, 3)]
    if min(values.size for values in usual) < LEAST:
        return None
    one, two, three = (float(np.median(values)) for values in usual)
    limit = max(three, one + DEVIATIONS * deviation(usual[0]))
    sides, across = min(stack.loss[z, 1], stack.loss[z + 1, 1]), stack.loss[z + 1, 2]
    if not (sides > limit and across < (two + three) / 2):
        return None
    words = "correlates by {:.2f} with the nearer of its neighbours, which do by {:.2f} with each other"
    return sides / limit, words.format(math.exp(-sides), math.exp(-across))


def _stranger(stack: Stack, z: int) -> Finding | None:
    """A section between two that match each other, which itself matches neither."""
    if not 0 < z < len(stack.features) - 1 or not stack.usable[[z - 1, z + 1]].all():
        return None
    own, later = stack.features[z].matches[0], stack.features[z + 1].matches
    across = later[1].quality
    best = max([match.quality for match in (own, later[0]) if not match.inverted], default=1.0)
    if best >= RELIABLE or across < 1.5 * RELIABLE:
        return None
    return across / (1.5 * RELIABLE), "matches neither neighbour, though they match each other"


RULES: tuple[tuple[Kind, Rule], ...] = (
    ("missing", _missing),
    ("blank", _blank),
    ("duplicate", _duplicate),
    ("saturated", _saturated),
    ("inverted", _inverted),
    ("half-missing", _half_missing),
    ("noisy", _noisy),
    ("blurred", _blurred),
    ("displaced", _displaced),
)
# These still show the tissue where it is, and serve for matching.
STILL_A_REFERENCE: frozenset[Kind] = frozenset({"blurred", "displaced"})
