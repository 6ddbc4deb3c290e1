"""What every method answers on small fixed inputs, through Python, the command line and the window, as hashes.

Usage: python scripts/golden record FILE.json [--only PATTERN]
       python scripts/golden compare FILE.json [--only PATTERN]

``record`` writes what there is now and keeps what the file holds of other cases; ``compare`` says what differs, one
line a difference, and exits with 1. PATTERN is matched with the names of cases, as in "python/align/*". The window
needs a display: run under xvfb-run with QT_QPA_PLATFORM=xcb. To change the package and prove that nothing changed,
record before and compare after.

Laws: only what users can reach is used (the public API, the console command, the manifest's ids and the words on
buttons), so that the same script runs before and after; it runs on the CPU in one thread, without the user's own
settings and weights; times, versions and folders are left out, and a refusal is an answer like any other. Hashes are
those of one machine and one set of libraries: they are no truth to keep.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import cases
import window
from cases import FOLDER, Case

import napari_emsynth as es

FLEETING = {"created", "modified", "version", "seconds", "voxels_per_second"}
"""Keys of records and reports whose values the next run or version changes."""
ABSENT = "(absent)"
TOLD = 160
"""Most characters of a value in a line about a difference."""


def main() -> int:
    """Run the script in an environment of its own, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("record", "compare"))
    parser.add_argument("file", type=Path)
    parser.add_argument("--only", default="*", metavar="PATTERN", help='of cases, as in "python/align/*"')
    options = parser.parse_args()
    if options.what == "compare" and not options.file.exists():
        parser.error(f"{options.file} does not exist: record it before the change")
    if FOLDER not in os.environ:
        return alone()
    chosen = {name: case for name, case in (*cases.cases(), *window.cases()) if fnmatch(name, options.only)}
    if not chosen:
        parser.error(f"no case is called {options.only!r}")
    if any(name.startswith("window/") for name in chosen) and not os.environ.get("DISPLAY"):
        parser.error('the window needs a display: run under xvfb-run, or give --only "[pc]*"')
    print(f"the package in {Path(str(es.__file__)).parent}", file=sys.stderr)
    found = {name: answered(name, case) for name, case in chosen.items()}
    held = options.file.read_text(encoding="utf-8") if options.file.exists() else "{}"
    known = json.loads(held)
    if options.what == "record":
        kept = {name: known[name] for name in known if not fnmatch(name, options.only)}
        text = json.dumps(kept | found, indent=1, sort_keys=True)
        options.file.write_text(text + "\n", encoding="utf-8")
        return 0
    lines = list(differences({name: known[name] for name in known if fnmatch(name, options.only)}, found))
    print("\n".join([*lines, f"{len(found)} cases, {len(lines)} differences"]))
    return 1 if lines else 0


def alone() -> int:
    """Run this command again in one thread, with no accelerator and nothing of the user's own."""
    with tempfile.TemporaryDirectory(prefix="golden-") as folder:
        own = {FOLDER: folder, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "-1", "COLUMNS": "120"}
        own |= {name: f"{folder}/{name}" for name in ("XDG_DATA_HOME", "XDG_CONFIG_HOME", "XDG_CACHE_HOME")}
        own["NAPARI_CONFIG"] = f"{folder}/settings.yaml"
        return subprocess.run([sys.executable, *sys.argv], env=os.environ | own, check=False).returncode


def answered(name: str, case: Case) -> Any:
    """Return a case's answer in JSON's types; a fault is an answer too."""
    import torch

    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.manual_seed(0)
    started = time.monotonic()
    try:
        answer = case()
    except Exception as error:  # noqa: BLE001 - whatever happens is what is to be compared
        answer = {"raised": type(error).__name__, "line": str(error)}
    print(f"{time.monotonic() - started:6.1f} s  {name}", file=sys.stderr, flush=True)
    return lasting(json.loads(json.dumps(answer)))


def lasting(value: Any) -> Any:
    """Return a JSON value without what another run, version or folder changes."""
    if isinstance(value, dict):
        return {key: lasting(inner) for key, inner in value.items() if key not in FLEETING}
    if isinstance(value, list):
        return [lasting(inner) for inner in value]
    return value.replace(os.environ[FOLDER], "FOLDER") if isinstance(value, str) else value


def differences(known: Any, found: Any, where: str = "") -> Iterator[str]:
    """Say where two JSON values differ, one line a difference."""
    if isinstance(known, dict) and isinstance(found, dict):
        for key in sorted(known.keys() | found.keys()):
            yield from differences(known.get(key, ABSENT), found.get(key, ABSENT), f"{where}.{key}".lstrip("."))
    elif isinstance(known, list) and isinstance(found, list) and len(known) == len(found):
        for i, (one, other) in enumerate(zip(known, found, strict=True)):
            yield from differences(one, other, f"{where}[{i}]")
    elif known != found:
        yield f"{where}: {json.dumps(known)[:TOLD]} became {json.dumps(found)[:TOLD]}"


if __name__ == "__main__":
    sys.exit(main())
