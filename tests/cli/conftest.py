"""Small real volumes on disk, and the command line run in this process."""

import json

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.cli import main


@pytest.fixture(scope="session")
def crop():
    """Sixteen intact real sections of 96 x 96 px."""
    return samples.truth().read(slice(24, 40), slice(0, 96), slice(0, 96))


@pytest.fixture
def stack(tmp_path, crop):
    """The same as a TIFF that states its voxel size."""
    path = tmp_path / "stack.ome.tif"
    es.write(es.Volume.of(crop, voxel_nm=(10, 10, 10)), path)
    return path


@pytest.fixture(scope="session")
def tall(tmp_path_factory):
    """Ninety-six sections: six rows of chunks."""
    rng = np.random.default_rng(0)
    voxels = np.cumsum(rng.integers(-9, 10, (96, 64, 64)), axis=0).clip(-120, 120) + 128
    path = tmp_path_factory.mktemp("tall") / "in.zarr"
    es.write(es.Volume.of(voxels.astype("u1"), voxel_nm=(10, 10, 10)), path)
    return path


class Answer:
    """What a run left: exit code, standard output, standard error."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def json(self):
        return json.loads(self.out)


@pytest.fixture
def emsynth(capsys):
    def run(*words):
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Answer(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(emsynth, tmp_path):
    """Run what must be refused: exit code 2, one line, and not a file more than before; return the line."""

    def run(*words):
        before = sorted(tmp_path.rglob("*"))
        answer = emsynth(*words)
        assert answer.code == 2, answer.err
        assert answer.out == ""
        lines = answer.err.splitlines()
        assert len(lines) == 1, answer.err
        assert "Traceback" not in answer.err
        assert sorted(tmp_path.rglob("*")) == before
        return lines[0]

    return run


@pytest.fixture
def changed(crop):
    """Return the sections of ``data`` that differ from the crop."""

    def sections(data):
        return [z for z in range(len(crop)) if not np.array_equal(data[z], crop[z])]

    return sections
