"""Score the detection of damaged sections: planted damage on real stacks, real defects, and intact stacks.

    python benchmarks/detect.py DATA_FOLDER [--seeds N] [--json OUT.json]

Planted: every kind in turn, one section in five, on each stack; a hit names the section, a right kind names
the damage too. Real: the defects stack, where sections 24-34 repeat section 23 and 35-50 are black or all but
black. Intact: what is reported of stacks in which nothing was planted.
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

from napari_emsynth.testing.damage import SECTION_KINDS, plant, spread
from napari_emsynth.trust.detect import detect
from napari_emsynth.volume import Volume

# Voxel sizes nm; the crop is the whole file.
STACKS = {
    "fib25_eval.tif": (10, 10, 10),
    "mouse_sbem_eval.tif": (28, 22.48, 22.48),
    "vnc_sstem_eval.tif": (45, 4.6, 4.6),
    "cremi_sstem_eval.tif": (40, 4, 4),
}
INTACT = (*STACKS, "mouse_sstem_eval.tif", "hemibrain_eval.tif")
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
        suspects = detect(Volume.of(data))
        ms = (time.perf_counter() - start) / len(data) * 1e3
        document["intact"][name] = {"reported": [s.to_json() for s in suspects], "ms_per_section": ms}
        print(f"{name:24s} {len(data):8d} {len(suspects):9d} {ms:15.1f}")
    real = document["defects"] = score_defects(tifffile.imread(arguments.folder / DEFECTS))
    print(f"\n{DEFECTS}: repeats {real['repeats_found']}/{real['repeats']}", end="")
    print(f", black or dark {real['dark_found']}/{real['dark']}, elsewhere {real['elsewhere']}")
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
