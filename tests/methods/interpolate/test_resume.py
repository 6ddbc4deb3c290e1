"""Whatever an interpolation depends on makes another job of it."""

import dask.array as da
import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth import io
from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken

DATA = np.random.default_rng(0).integers(0, 255, (48, 64, 64)).astype("u1")
MASK = np.zeros(DATA.shape, "u1")
MASK[5, 20:40, 20:40] = 1
OTHER = MASK.copy()
OTHER[5, 25:30, 25:30] = 0  # inside the same window


def made(**changed):
    asked = {"sections": [20], "mask": MASK, "method": "linear", "selfcheck": False} | changed
    return es.interpolate(da.from_array(DATA, chunks=(16, 64, 64)), **asked)


def stopped(result, out):
    token = CancelToken()
    with pytest.raises(Cancelled):
        io.write(result, out, cancel=token, progress=lambda *_: token.cancel())


@pytest.mark.parametrize(
    "changed",
    [{"mask": OTHER}, {"tile": 64}, {"precision": "bf16"}, {"seed": 1}, {"sections": [21]},
     {"method": "optical-flow"}, {"look": "natural"}],
    ids=lambda changed: next(iter(changed)),
)  # fmt: skip
def test_another_request_is_another_job(tmp_path, changed):
    out = tmp_path / "out.zarr"
    stopped(made(), out)
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(**changed), out, resume=True)
    io.write(made(), out, resume=True)
    np.testing.assert_array_equal(io.read(out).read(slice(None)), made().volume.read(slice(None)))


def test_another_version_is_another_job(tmp_path, monkeypatch):
    stopped(made(), tmp_path / "out.zarr")
    monkeypatch.setattr("napari_emsynth.trust.provenance.package_version", lambda: "999")
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(), tmp_path / "out.zarr", resume=True)


def test_other_weights_are_another_job(tmp_path, monkeypatch):
    asked = {"method": "emsynth", "mask": None, "sections": [20]}
    stopped(made(**asked), tmp_path / "out.zarr")
    other = {"id": "accurate", "sha256": "0"}
    monkeypatch.setattr("napari_emsynth.methods.interpolate.task.weights_record", lambda spec, weights: other)
    with pytest.raises(InputError, match="belongs to another job"):
        io.write(made(**asked), tmp_path / "out.zarr", resume=True)
