"""How long ``import napari_emsynth`` takes in a fresh interpreter, beside an interpreter that imports nothing.

    python benchmarks/import_time.py [--repeats 7] [--json FILE]

The target is 0.1 s. Each run is a process of its own; the median is reported.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

LIMIT_S = 0.1
PROGRAM = """
import time
started = time.perf_counter()
import napari_emsynth
seconds = time.perf_counter() - started
import json, sys
heavy = [name for name in ("torch", "napari", "qtpy", "numpy") if name in sys.modules]
print(json.dumps([seconds, heavy]))
"""


def measure(repeats: int) -> dict[str, object]:
    """Return seconds of each run, their median, and the heavy modules that were loaded."""
    runs = []
    for _ in range(repeats):
        done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
        runs.append(json.loads(done.stdout))
    seconds = [run[0] for run in runs]
    return {
        "seconds": [round(s, 4) for s in seconds],
        "median_s": round(statistics.median(seconds), 4),
        "limit_s": LIMIT_S,
        "heavy_modules": runs[0][1],
    }


def main() -> int:
    """Print the figures; return 1 when the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    figures = measure(options.repeats)
    print(f"import napari_emsynth: {figures['median_s']} s (limit {LIMIT_S} s), heavy: {figures['heavy_modules']}")
    if options.json:
        options.json.write_text(json.dumps(figures, indent=1))
    return int(float(str(figures["median_s"])) >= LIMIT_S or bool(figures["heavy_modules"]))


if __name__ == "__main__":
    sys.exit(main())
