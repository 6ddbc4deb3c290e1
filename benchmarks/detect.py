"""Score the detection of damaged sections: planted damage on real stacks, real defects, and intact stacks.

    python benchmarks/detect.py DATA_FOLDER [--seeds N] [--json OUT.json]

Planted: every kind in turn, one section in five, on each stack; a hit names the section, a right kind names the damage
too. Lost: one, two or three sections are taken out at ten places of each stack. Odd: one section is turned, mirrored,
negated, noisy, flat or bright. Real: the defects stack, where sections 24-34 repeat section 23 and 35-50 are black or
all but black. Intact: what is reported of stacks in which nothing was planted.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from scipy.ndimage import rotate

from napari_emsynth.testing.damage import SECTION_KINDS, plant, spread
from napari_emsynth.trust.detect import detect, survey
from napari_emsynth.volume import Volume

# Voxel sizes nm; the crop is the whole file.
STACKS = {
    "fib25_eval.tif": (10, 10, 10),
    "mouse_sbem_eval.tif": (28, 22.48, 22.48),
    "vnc_sstem_eval.tif": (45, 4.6, 4.6),
    "cremi_sstem_eval.tif": (40, 4, 4),
}
INTACT = (*STACKS, "mouse_sstem_eval.tif", "hemibrain_eval.tif", "mouse_atum_eval.tif")
# Sections on each side of what is planted; places in each stack.
AROUND, PLACES = 16, 10
DEFECTS = "defects_eval.tif"
REPEATED, DARK = range(24, 35), range(35, 51)
SPACING = 5


def score_planted(data: np.ndarray, seeds: range) -> dict[str, Any]:
    """Return counts over all seeds."""
    counts: Counter[str] = Counter()
    missed: Counter[str] = Counter()
    for seed in seeds:
        damaged, record = plant(data, spread(len(data), seed=seed, spacing=SPACING), seed=seed)
        truth = {planted.section: planted.kind for planted in record}
        found = {suspect.section: suspect.kind for suspect in detect(Volume.of(damaged))}
        hits = truth.keys() & found.keys()
        counts.update(planted=len(truth), reported=len(found), hits=len(hits))
        counts.update(right_kind=sum(truth[z] == found[z] for z in hits))
        missed.update(truth[z] for z in truth.keys() - hits)
    return {
        **counts,
        "recall": counts["hits"] / counts["planted"],
        "precision": counts["hits"] / max(1, counts["reported"]),
        "kind_right": counts["right_kind"] / max(1, counts["hits"]),
        "missed": {kind: missed[kind] for kind in SECTION_KINDS if missed[kind]},
    }


def places(count: int) -> list[int]:
    """Return up to ten places in a stack, away from its ends."""
    return list(range(5, count - 8, max(1, (count - 13) // PLACES)))[:PLACES]


def score_lost(data: np.ndarray, lost: int) -> dict[str, int]:
    """Return at how many places lost sections are found, and how many gaps are told elsewhere."""
    found: Counter[str] = Counter()
    for z in places(len(data)):
        low = max(0, z - AROUND)
        told = [gap.before for gap in survey(np.delete(data, range(z, z + lost), 0)[low : z + AROUND]).gaps]
        found.update(places=1, hits=z - low in told, elsewhere=sum(at != z - low for at in told))
    return dict(found)


def odd(kind: str, section: np.ndarray) -> np.ndarray:
    """Return a section that stands out."""
    middle, spread = section.mean(), section.std()
    made = {
        "negative": lambda: section.max() + section.min() - section,
        "mirrored": lambda: section[:, ::-1],
        "turned by 15 degrees": lambda: rotate(section, 15, reshape=False, mode="reflect", order=1),
        "turned by 5 degrees": lambda: rotate(section, 5, reshape=False, mode="reflect", order=1),
        "noise of its own deviation": lambda: section + np.random.default_rng(0).normal(0, spread, section.shape),
        "half the contrast": lambda: (section - middle) / 2 + middle,
        "brighter by its deviation": lambda: section + spread,
    }
    return np.clip(np.rint(made[kind]()), 0, 255).astype(np.uint8)


ODD = {
    "negative": "inverted", "mirrored": "displaced", "turned by 15 degrees": "displaced",
    "turned by 5 degrees": "displaced", "noise of its own deviation": "noisy", "half the contrast": "contrast",
    "brighter by its deviation": "brightness",
}  # fmt: skip


def score_odd(data: np.ndarray, kind: str) -> dict[str, int]:
    """Return at how many places an odd section is named as what it is, and what else is named."""
    found: Counter[str] = Counter()
    for z in places(len(data))[::3]:
        low = max(0, z - AROUND)
        part = data[low : z + AROUND].copy()
        part[z - low] = odd(kind, part[z - low].astype(np.float64))
        seen = survey(part)
        told = {(entry.section, entry.kind) for entry in (*seen.suspects, *seen.jumps)}
        found.update(places=1, hits=(z - low, ODD[kind]) in told, elsewhere=len({at for at, _ in told} - {z - low}))
    return dict(found)


def table_of(names: list[str], folder: Path, score: Any, kinds: list[Any]) -> dict[str, Any]:
    """Print hits of places for every stack and kind; return them."""
    print(f"\n{'':24s} " + "  ".join(f"{kind!s:>12.12s}" for kind in kinds))
    document = {}
    for name in names:
        data = tifffile.imread(folder / name)
        row = document[name] = {str(kind): score(data, kind) for kind in kinds}
        cells = [f"{r['hits']}/{r['places']} +{r['elsewhere']}" for r in row.values()]
        print(f"{name:24s} " + "  ".join(f"{cell:>12s}" for cell in cells), flush=True)
    return document


def score_defects(data: np.ndarray) -> dict[str, Any]:
    """Return how much of the real defects is reported, and what else is."""
    found = {suspect.section: suspect.kind for suspect in detect(Volume.of(data))}
    return {
        "repeats_found": sum(found.get(z) == "duplicate" for z in REPEATED),
        "repeats": len(REPEATED),
        "dark_found": sum(z in found for z in DARK),
        "dark": len(DARK),
        "elsewhere": sorted(z for z in found if z not in REPEATED and z not in DARK),
    }


def main() -> None:
    """Print the table; write the JSON when asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    document: dict[str, Any] = {"spacing": SPACING, "seeds": arguments.seeds, "planted": {}, "intact": {}}
    print(f"{'planted':24s} planted  recall  precision  right kind  missed")
    for name in STACKS:
        data = tifffile.imread(arguments.folder / name)
        row = document["planted"][name] = score_planted(data, range(arguments.seeds))
        numbers = f"{row['recall']:7.3f} {row['precision']:10.3f} {row['kind_right']:11.3f}"
        print(f"{name:24s} {row['planted']:7d} {numbers}  {row['missed'] or '-'}")
    print(f"\n{'intact':24s} sections  reported  ms per section")
    for name in INTACT:
        data = tifffile.imread(arguments.folder / name)
        start = time.perf_counter()
        seen = survey(Volume.of(data))
        suspects = [*seen.suspects, *seen.gaps, *seen.jumps]
        ms = (time.perf_counter() - start) / len(data) * 1e3
        document["intact"][name] = {"reported": [s.to_json() for s in suspects], "ms_per_section": ms}
        print(f"{name:24s} {len(data):8d} {len(suspects):9d} {ms:15.1f}")
    document["lost"] = table_of(list(INTACT), arguments.folder, score_lost, [1, 2, 3])
    document["odd"] = table_of(list(INTACT), arguments.folder, score_odd, list(ODD))
    real = document["defects"] = score_defects(tifffile.imread(arguments.folder / DEFECTS))
    print(f"\n{DEFECTS}: repeats {real['repeats_found']}/{real['repeats']}", end="")
    print(f", black or dark {real['dark_found']}/{real['dark']}, elsewhere {real['elsewhere']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
