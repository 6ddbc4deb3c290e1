import subprocess
import sys

import numpy as np

from napari_emsynth import samples
from napari_emsynth.testing.damage import SECTION_KINDS


def test_truth_differs_only_where_damage_was_planted():
    damaged, truth = samples.damaged(), samples.truth()
    assert damaged.shape == truth.shape == (48, 256, 256)
    assert damaged.dtype == np.uint8
    assert damaged.grid == truth.grid
    assert damaged.grid.voxel_nm == (10.0, 10.0, 10.0)
    changed = [z for z in range(48) if (damaged.data[z] != truth.data[z]).any()]
    assert changed == [planted.section for planted in samples.planted()]


def test_five_kinds_well_separated_and_one_run_of_two():
    planted = samples.planted()
    assert {p.kind for p in planted} == set(SECTION_KINDS)
    steps = np.diff([p.section for p in planted])
    assert sorted(steps)[0] == 1
    assert (np.sort(steps)[1:] >= 7).all()


def test_truth_is_whole():
    assert (samples.truth().data.std(axis=(1, 2)) > 20).all()


def test_size_and_attribution():
    size = sum(file.stat().st_size for file in samples.FOLDER.glob("*.tif"))
    assert size <= 4_000_000
    text = (samples.FOLDER / "ATTRIBUTION.md").read_text(encoding="utf-8")
    for words in ("FlyEM", "Janelia", "neuroproof_examples", "Creative Commons Attribution", "change"):
        assert words in text


def test_file_states_its_voxel_size():
    import tifffile

    with tifffile.TiffFile(samples.path()) as tiff:
        assert tiff.series[0].axes == "ZYX"
        assert 'PhysicalSizeZ="10.0"' in tiff.ome_metadata
        assert 'PhysicalSizeXUnit="nm"' in tiff.ome_metadata


def test_loading_needs_neither_torch_nor_napari():
    code = (
        "import sys; from napari_emsynth import samples; samples.truth();"
        "sys.exit(any(m in sys.modules for m in ('torch', 'napari', 'pytest')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
