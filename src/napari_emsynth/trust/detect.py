"""Which sections are damaged: each section against its own neighbours.

Conventions: sections are 0-based. A section is suspected of one kind at most, the first that holds of missing, blank,
duplicate, saturated, inverted, half-missing, noisy, blurred, displaced. Scores run from 0.5 (just at the limit) to 1.
Of a section only what is not empty (:mod:`napari_emsynth.trust.validity`) is judged.
Laws: brightness or contrast that jumps from section to section is no damage; a fault that the whole stack
shares (a soft focus, a steady drift) is none either, as limits are set by the neighbours'
median and scatter (1.48 median absolute deviations). One pass reads each section once, see
:mod:`napari_emsynth.trust.features`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from napari_emsynth.errors import InputError
from napari_emsynth.sections import spans
from napari_emsynth.spec import CancelToken, Progress, no_progress
from napari_emsynth.trust.features import THUMB_PX, Features, Match, glances, stream
from napari_emsynth.trust.gaps import LEAST, Gap, Jump, gaps, jumps, losses, nearby
from napari_emsynth.volume import Array, Volume

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
# Limits are at least this many deviations from the neighbours' median.
DEVIATIONS = 5.0
# Neighbours looked at on each side.
SIDE = 8


@dataclass(frozen=True, kw_only=True)
class Suspect:
    """A section that looks damaged.

    Args:
        section: 0-based index.
        kind: what seems to be wrong.
        score: 0.5 at the limit, towards 1 beyond any doubt.
        detail: one line with the figure that decided.
    """

    section: int
    kind: Kind
    score: float
    detail: str

    def to_json(self) -> dict[str, Any]:
        """Return a JSON object."""
        return asdict(self)


# What a rule finds: how many times over the limit, and why.
Finding = tuple[float, str]
Rule = Callable[["_Stack", int], Finding | None]


def _typical_contrast(contrasts: Iterable[float]) -> float:
    # The upper quartile: half a stack of blank sections must not make blank typical.
    return float(np.percentile(list(contrasts), 75))


class _Stack:
    """The features of adjacent sections, counted from 0, and which of them still serve as a reference."""

    def __init__(self, features: list[Features]) -> None:
        self.start = features[0].section if features else 0
        self.features = [self._alone(f) for f in features]
        self.usable = np.ones(len(features), bool)
        self.contrast = _typical_contrast(f.contrast for f in features)
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
            deviation = 1.4826 * float(np.median(np.abs(values - median)))
            self._natural[name] = median + DEVIATIONS * deviation
        return self._natural[name]


def _missing(stack: _Stack, z: int) -> Finding | None:
    return _lacking(stack.features[z].missing)


def _lacking(missing: bool) -> Finding | None:
    return (math.inf, "nothing of it was acquired") if missing else None


def _blank(stack: _Stack, z: int) -> Finding | None:
    return _faint(stack.features[z].contrast, stack.contrast)


def _faint(contrast: float, usual: float) -> Finding:
    if contrast == 0:
        return math.inf, "constant"
    share = contrast / usual if usual else 1.0
    return BLANK_CONTRAST * usual / contrast, f"structures have {share:.0%} of the usual contrast"


def _duplicate(stack: _Stack, z: int) -> Finding | None:
    return _repeated(z + stack.start, stack.first[stack.features[z].digest] + stack.start)


def _repeated(z: int, first: int) -> Finding | None:
    return (math.inf, f"bit-identical to section {first}") if first < z else None


def _saturated(stack: _Stack, z: int) -> Finding | None:
    near = stack.near(z)
    own = stack.features[z]
    findings = []
    for end, share in (("brightest", own.clipped), ("darkest", own.clipped_dark)):
        others = [stack.features[n] for n in near]
        usual = np.median([o.clipped if end == "brightest" else o.clipped_dark for o in others] or [0.0])
        detail = f"{share:.0%} of the pixels are clipped at the {end} value; neighbours have {usual:.0%}"
        findings.append((float(share - usual) / CLIPPED_SHARE, detail))
    return max(findings)


def _blur(stack: _Stack, z: int) -> float | None:
    """Return the log of the neighbours' mid-band power over the section's own; None when unknown."""
    near = stack.near(z)
    if not near.size:
        return None
    known = np.isfinite(stack.sharpness[z]) & np.isfinite(stack.sharpness[near]).any(axis=0)
    if not known.any():
        return None
    usual = np.nanmedian(stack.sharpness[near][:, known], axis=0)
    return float(np.median(usual - stack.sharpness[z][known]))


def _blurred(stack: _Stack, z: int) -> Finding | None:
    drop = _blur(stack, z)
    if drop is None or drop <= 0:
        return None
    limit = max(BLUR_LOG_DROP, stack.natural("blur", lambda n: _blur(stack, n)))
    return drop / limit, f"fine detail has {math.exp(-drop):.0%} of the neighbours' power"


def _half_missing(stack: _Stack, z: int) -> Finding | None:
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


def _pairs(stack: _Stack, z: int) -> list[Match]:
    """Return how a section lies on its usable neighbours on both sides, whichever way round."""
    features = stack.features
    own = [m for m in features[z].matches if stack.usable[z - m.step]]
    return own + [
        later.matches[later.section - z - 1] for later in features[z + 1 : z + 4] if stack.usable[later.section]
    ]


def _inverted(stack: _Stack, z: int) -> Finding | None:
    sure = []
    for match in _pairs(stack, z):
        usual = nearby(stack.loss, z, match.step)
        # A section of other tissue is like the negative of its neighbours by chance, though never much.
        if match.quality >= RELIABLE and usual.size:
            alike = abs(match.correlation) > ALIKE * math.exp(-float(np.median(usual)))
            sure.append(match.inverted and alike)
    if len(sure) < 2:
        return None
    share = sum(sure) / len(sure)
    return share / INVERTED_SHARE, f"is the negative of {sum(sure)} of {len(sure)} neighbours"


def _noise(stack: _Stack, z: int) -> float | None:
    """Return the log of the section's own high-band power over the neighbours'; None when unknown."""
    near = stack.near(z)
    if not near.size:
        return None
    known = np.isfinite(stack.noise[z]) & np.isfinite(stack.noise[near]).any(axis=0)
    if not known.any():
        return None
    return float(np.median(stack.noise[z][known] - np.nanmedian(stack.noise[near][:, known], axis=0)))


def _noisy(stack: _Stack, z: int) -> Finding | None:
    rise = _noise(stack, z)
    if rise is None or rise <= 0:
        return None
    limit = max(NOISE_LOG_RISE, stack.natural("noise", lambda n: _noise(stack, n)))
    return rise / limit, f"the finest frequencies have {math.exp(rise):.1f} times the neighbours' power"


def _reliable(stack: _Stack, z: int) -> list[tuple[float, float, int]]:
    """Return (dy, dx, step) of section z against each usable neighbour that it certainly matches."""
    features, found = stack.features, []
    for match in features[z].matches:
        if stack.usable[z - match.step] and match.quality >= RELIABLE and not match.inverted:
            found.append((match.dy, match.dx, match.step))
    for later in features[z + 1 : z + 4]:
        match = later.matches[later.section - z - 1]
        if stack.usable[later.section] and match.quality >= RELIABLE and not match.inverted:
            found.append((-match.dy, -match.dx, -match.step))
    return found


def _drift(stack: _Stack, z: int) -> NDArray[np.float64]:
    """Return the steady drift around a section, (dy, dx) px a section."""
    steps = [
        (m.dy, m.dx)
        for n in [*stack.near(z), z]
        for m in stack.features[n].matches[:1]
        if m.quality >= RELIABLE and stack.usable[n - 1]
    ]
    return np.median(steps, axis=0) if steps else np.zeros(2)


def _slip(stack: _Stack, z: int) -> float | None:
    """Return how far a section lies off its neighbours in px; None when fewer than two match it.

    The lower third of the distances, so that a good section is not blamed for displaced neighbours.
    """
    matches = _reliable(stack, z)
    if len(matches) < 2:
        return None
    drift = _drift(stack, z)
    lengths = sorted(math.hypot(dy - step * drift[0], dx - step * drift[1]) for dy, dx, step in matches)
    return lengths[(len(lengths) - 1) // 3]


def _displaced(stack: _Stack, z: int) -> Finding | None:
    slip, found = _slip(stack, z), _unlike(stack, z)
    if slip is None:
        return found or _stranger(stack, z)
    natural = stack.natural("slip", lambda n: _slip(stack, n))
    limit = max(DISPLACED_PX, DISPLACED_THUMB_PX * stack.thumb_factor, natural)
    off: Finding = (slip / limit, f"lies {slip:.0f} px off its neighbours")
    return off if found is None else max(off, found)


def _unlike(stack: _Stack, z: int) -> Finding | None:
    """A section that correlates with both neighbours as far ones do, though they correlate with each other: turned."""
    if not 1 < z < len(stack.features) - 2 or not stack.usable[[z - 1, z + 1]].all():
        return None
    usual = [nearby(stack.loss, z, step) for step in (1, 2, 3)]
    if min(values.size for values in usual) < LEAST:
        return None
    one, two, three = (float(np.median(values)) for values in usual)
    limit = max(three, one + DEVIATIONS * 1.4826 * float(np.median(np.abs(usual[0] - one))))
    sides, across = min(stack.loss[z, 1], stack.loss[z + 1, 1]), stack.loss[z + 1, 2]
    if not (sides > limit and across < (two + three) / 2):
        return None
    words = "correlates by {:.2f} with the nearer of its neighbours, which do by {:.2f} with each other"
    return sides / limit, words.format(math.exp(-sides), math.exp(-across))


def _stranger(stack: _Stack, z: int) -> Finding | None:
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


def _apply(stack: _Stack, kind: Kind, rule: Rule, open_sections: Iterable[int], sensitivity: float) -> list[Suspect]:
    found = []
    for z in open_sections:
        finding = rule(stack, z)
        if finding is not None and (strength := finding[0] * sensitivity) >= 1:
            found.append(Suspect(section=z, kind=kind, score=1 - 0.5 / strength, detail=finding[1]))
    return found


def detect(
    volume: Volume | Array,
    *,
    voxel_nm: Sequence[float] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
) -> list[Suspect]:
    """Return the sections that look damaged, in order, one entry a section.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: 1 is balanced; 2 halves every limit, 0.5 doubles it.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    return survey(volume, voxel_nm=voxel_nm, progress=progress, cancel=cancel, sensitivity=sensitivity).suspects


@dataclass(frozen=True, kw_only=True)
class Survey:
    """What there is to say of the sections of a volume.

    Args:
        suspects: sections that look damaged, in order, one entry a section.
        gaps: where sections seem to be lost.
        jumps: sections that are brighter, darker, flatter or harsher than their neighbours, and not damaged for that.
    """

    suspects: list[Suspect]
    gaps: list[Gap]
    jumps: list[Jump]

    @property
    def notices(self) -> list[str]:
        """What the user must know beside the suspects, a line each."""
        lines = [
            f"about {gap.sections} section(s) may be lost before section {gap.before}; "
            f"--insert --sections {','.join([str(gap.before)] * gap.sections)} puts new ones there"
            for gap in self.gaps
        ]
        for kind in ("brightness", "contrast"):
            of = [jump.section for jump in self.jumps if jump.kind == kind]
            lines += [f"{kind} jumps at section(s) {spans(of)}: no damage, every method evens it out"] if of else []
        return lines


def survey(
    volume: Volume | Array,
    *,
    voxel_nm: Sequence[float] | None = None,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
) -> Survey:
    """Return what :func:`detect` does, and where sections seem lost, and where brightness or contrast jumps.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: of the suspects: 1 is balanced; 2 halves every limit, 0.5 doubles it.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    stack = Volume.of(volume, voxel_nm=voxel_nm)
    suspects, features = examine(stack, progress=progress, cancel=cancel, sensitivity=sensitivity)
    unfit = {suspect.section for suspect in suspects}
    return Survey(suspects=suspects, gaps=gaps(features, unfit), jumps=jumps(features, unfit))


def examine(
    volume: Volume,
    *,
    progress: Progress = no_progress,
    cancel: CancelToken | None = None,
    sensitivity: float = 1.0,
    sections: range | None = None,
) -> tuple[list[Suspect], list[Features]]:
    """Return what :func:`detect` does, and what it rests on: every section's features.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        voxel_nm: voxel size (z, y, x) in nm, when the volume does not state it.
        progress: called after every section.
        cancel: asked before every section.
        sensitivity: 1 is balanced; 2 halves every limit, 0.5 doubles it.
        sections: adjacent ones, held against each other only; None for all.

    Raises:
        InputError: the sensitivity is not between 0.01 and 100.
        Cancelled: the token was cancelled.
    """
    if not 0.01 <= sensitivity <= 100:
        raise InputError(f"sensitivity {sensitivity:g} is outside 0.01 to 100")
    features = list(stream(volume, progress, cancel, sections))
    stack = _Stack(features)
    stack.thumb_factor = max(1, -(-min(volume.shape[1:]) // THUMB_PX))
    suspects: dict[int, Suspect] = {}
    for kind, rule in RULES:
        found = _apply(stack, kind, rule, [z for z in range(len(features)) if z not in suspects], sensitivity)
        suspects.update({suspect.section: suspect for suspect in found})
        if kind not in STILL_A_REFERENCE:
            stack.usable[[suspect.section for suspect in found]] = False
    return [replace(suspects[z], section=stack.start + z) for z in sorted(suspects)], features


def uninformative(
    volume: Volume, *, progress: Progress = no_progress, cancel: CancelToken | None = None
) -> list[Suspect]:
    """Return the sections without any information of their own, in order: missing, blank (or black), or repeated.

    These are damaged beyond doubt, and found much faster than :func:`detect` finds everything. A stack that is alike
    throughout, or shows every section twice, is so by nature: where half of the sections or more would be named, only
    the missing ones are.

    Args:
        volume: [z, y, x] any real dtype, lazy or in memory.
        progress: called after every few sections.
        cancel: asked before them.

    Raises:
        Cancelled: the token was cancelled.
    """
    seen = list(glances(volume, progress, cancel))
    usual = _typical_contrast(glance.contrast for glance in seen)
    first = {glance.digest: glance.section for glance in reversed(seen)}
    found = []
    for glance in seen:
        rules: tuple[tuple[Kind, Finding | None], ...] = (
            ("missing", _lacking(glance.missing)),
            ("blank", _faint(glance.contrast, usual)),
            ("duplicate", _repeated(glance.section, first[glance.digest])),
        )
        for kind, finding in rules:
            if finding is not None and finding[0] >= 1:
                found.append(Suspect(section=glance.section, kind=kind, score=1 - 0.5 / finding[0], detail=finding[1]))
                break
    return found if 2 * len(found) < len(seen) else [suspect for suspect in found if suspect.kind == "missing"]
