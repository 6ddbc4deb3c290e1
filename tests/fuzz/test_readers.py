"""Damaged files of every kind: voxels, or one clear line; never a traceback, a hang, a gulp of memory or a write."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from napari_emsynth.io.zarr.store import decoded_bytes

HARNESS = Path(__file__).with_name("harness.py")
READERS = ("tiff", "ome", "zarr", "ome_zarr", "mrc", "images", "field", "field_of_others", "weights", "journal")


def tried(kind, first, count, folder):
    """Return how often each outcome was met; no other outcome than reading and refusing is allowed."""
    done = subprocess.run(
        [sys.executable, str(HARNESS), kind, str(first), str(count), str(folder)],
        capture_output=True,
        text=True,
        timeout=1500,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
        check=False,
    )
    *faults, met = done.stdout.splitlines() or [done.stderr]
    assert not faults, "\n".join(faults)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(met)


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="memory is bounded as Linux does it")
@pytest.mark.parametrize("kind", READERS)
def test_damaged_files(kind, tmp_path):
    met = tried(kind, 0, 60, tmp_path)
    assert met["read"] + met["refused"] == 60
    assert min(met.values()) > 0  # the damage is neither hopeless nor harmless


@pytest.mark.nightly
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("kind", READERS)
def test_many_damaged_files(kind, tmp_path):
    assert sum(tried(kind, 1000, 500, tmp_path).values()) == 500


def test_a_chunk_that_says_it_is_a_bomb():
    import numcodecs
    import numpy as np

    data = np.zeros(1 << 20, "u1")
    for codec in (numcodecs.Blosc(), numcodecs.Zstd()):
        packed = codec.encode(data)
        assert decoded_bytes(bytes(packed[:24]), len(packed)) == data.nbytes
    assert decoded_bytes(b"", 0) is None
    assert decoded_bytes(bytes(24), 24) is None
