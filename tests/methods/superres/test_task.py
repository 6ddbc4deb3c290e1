"""Super-resolution as a user meets it: what is drawn, what is said, what is refused."""

import pickle
from dataclasses import replace

import dask.array as da
import numpy as np
import pytest

from napari_emsynth.errors import InputError
from napari_emsynth.methods.blocks import statistics
from napari_emsynth.methods.request import Request
from napari_emsynth.methods.superres import job
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.methods.superres.reduction import reduced
from napari_emsynth.methods.superres.scoring.evaluate import evaluate
from napari_emsynth.methods.superres.task import superresolve
from napari_emsynth.metrics.scores import METRICS
from napari_emsynth.spec import Runtime
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.testing.stand_ins import SHARPENER, Sharpener

STACK = Phantom(shape=(4, 20, 24), voxel_nm=(40.0, 64.0, 64.0)).volume()
WIDE = Phantom(shape=(3, 136, 130), cell_px=40.0).volume()


@pytest.fixture
def stand_in(install):
    install(SHARPENER)


def notices(result):
    return " | ".join(result.provenance["notices"])


def test_pixels_are_smaller_and_the_outer_edges_stay():
    grid = superresolve(STACK, 16, method="bicubic", selfcheck=False).volume.grid
    assert grid.shape == (4, 320, 384)
    assert grid.voxel_nm == (40, 4, 4)
    assert grid.origin_nm == (0, -30, -30)


def test_the_result_of_a_method_that_knows_itself(stand_in):
    result = superresolve(STACK, 8, method=SHARPENER.id)
    assert result.uncertainty.data.shape == result.prior.data.shape == result.volume.shape
    # In source units: the stand-in's scale is a quarter deviation, and its confidence 2.
    std = float(np.median(result.uncertainty.data)) / 0.5
    assert 20 < std < 60
    assert (result.prior.data == 0.5).all()
    assert np.abs(result.residual.data).max() > 0.5
    assert result.provenance["residual"]["before"] > 0.1
    assert result.provenance["residual"]["after"] == 0


def test_the_residual_is_what_the_method_was_off(stand_in):
    result = superresolve(STACK, 8, method=SHARPENER.id, selfcheck=False, damaged=())
    # The stand-in adds a tenth of a deviation everywhere.
    away = result.residual.data - 0.1 * statistics(STACK).std
    plain = superresolve(STACK, 8, method="bicubic", selfcheck=False)
    np.testing.assert_allclose(away, plain.residual.data, atol=1e-3)
    assert result.provenance["residual"] is None


def test_lazy_computes_only_what_is_read(stand_in):
    read = []

    def spy(block, block_info=None):
        read.append(block_info[0]["chunk-location"][0])
        return block

    source = da.random.default_rng(0).integers(0, 255, (60, 16, 16), chunks=(1, 16, 16), dtype=np.uint8)
    source = source.map_blocks(spy, dtype=np.uint8, meta=np.zeros((0, 0, 0), np.uint8))
    lazy = superresolve(source, 8, method=SHARPENER.id, selfcheck=False, damaged=())
    read.clear()
    lazy.volume.section(40)
    assert set(read) == {38, 39, 40, 41, 42}


def test_a_job_travels_to_another_process(stand_in):
    request = Request.of("superres", STACK, SHARPENER.id, weights=None, params=None, runtime=Runtime())
    draws = Job.of(request, 8, {2})
    box = np.s_[1:2, 3:50, 8:16]
    there = pickle.loads(pickle.dumps(draws))
    assert (there(box, Runtime()) == draws(box, Runtime())).all()


def test_blocks_start_where_a_network_with_strides_wants_them(stand_in, monkeypatch):
    monkeypatch.setattr(Sharpener, "multiple", 4)
    monkeypatch.setattr(Sharpener, "halo", 8)
    seen, read = [], job.read_padded
    monkeypatch.setattr(job, "read_padded", lambda volume, box, *rest: seen.append(box) or read(volume, box, *rest))
    request = Request.of("superres", STACK, SHARPENER.id, weights=None, params=None, runtime=Runtime())
    drawn = Job.of(request, 8)
    whole = drawn((slice(1, 2), slice(0, 160), slice(0, 192)), Runtime())
    part = drawn((slice(1, 2), slice(50, 130), slice(90, 117)), Runtime())
    np.testing.assert_array_equal(part, whole[:, 50:130, 90:117])
    assert all(s.start % 4 == 0 for box in seen for s in box[1:])


def test_few_sections_and_damaged_ones_are_said(stand_in):
    data = np.array(Phantom(shape=(8, 48, 48)).volume().data)
    data[3] = 90
    data = da.from_array(data)
    assert "section(s) 3 are damaged" in notices(superresolve(data, 8, method=SHARPENER.id, selfcheck=False))
    said = notices(superresolve(STACK, 8, method=SHARPENER.id, selfcheck=False))
    assert "looks at 5 sections, the volume has 4" in said
    # Bicubic looks at no neighbour.
    assert "damaged" not in notices(superresolve(data, 8, method="bicubic", selfcheck=False))


def test_a_volume_of_high_resolution_is_warned_of():
    fine = da.from_array(Phantom(shape=(3, 96, 96), cell_px=48.0, noise=10.0).volume().data)
    assert "high resolution already" in notices(superresolve(fine, 8, method="bicubic", selfcheck=False))
    coarse = np.stack([reduced(section, 8) for section in Phantom(shape=(2, 320, 320)).volume().data])
    coarse = da.from_array(coarse)
    assert "high resolution" not in notices(superresolve(coarse, 8, method="bicubic", selfcheck=False))


def test_the_self_check_makes_the_volume_coarser_first(stand_in):
    lazy = da.from_array(WIDE.data, chunks=(1, 136, 130))
    record = superresolve(lazy, 8, method="bicubic").provenance
    check = record["selfcheck"]
    assert check["n"] == 3
    assert check["psnr"] == check["bicubic"] > check["nearest"]
    assert check["beats_floors"] is True
    # The stand-in's offset is taken off by consistency: it is as good as bicubic.
    worse = superresolve(lazy, 8, method=SHARPENER.id).provenance
    assert worse["selfcheck"]["psnr"] == pytest.approx(check["psnr"], abs=0.3)
    assert 0 < worse["selfcheck"]["coverage90"] < 1
    assert "coverage90" not in check
    assert "too small to be made 8 times coarser" in notices(superresolve(STACK, 8, method="bicubic"))


def test_evaluate_scores_beside_the_floors(stand_in):
    report = evaluate(WIDE, method=SHARPENER.id, factor=8, limit=2)
    assert set(report["scores"]) == {SHARPENER.id, "bicubic", "nearest"}
    assert set(report["scores"]["bicubic"]) == set(METRICS)
    assert len(report["sections"]) == 2
    assert 0 < report["coverage90"] <= 1
    assert report["factor"] == 8
    for words, options in (("limit of 0", {"limit": 0}), ("limit is 128 x 128 px", {"factor": 16})):
        with pytest.raises(InputError, match=words):
            evaluate(WIDE.data[:, :120], method="bicubic", **options)


def test_weights_of_the_other_factor_are_refused(install):
    install(replace(SHARPENER, factors=(8,)))
    with pytest.raises(InputError, match="8 times smaller, not 16"):
        superresolve(STACK, 16, method=SHARPENER.id)


def test_a_result_without_room_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("napari_emsynth.tiling.device.free_bytes", lambda device: 2**20)
    words = r"4 x 320 x 384 voxels needs 0\.0 GiB, the limit is .* \.zarr"
    with pytest.raises(InputError, match=words):
        superresolve(STACK, 16, method="bicubic")
    lazy = superresolve(da.from_array(STACK.data), 16, method="bicubic", selfcheck=False)
    assert lazy.volume.is_lazy


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"factor": 4}, "factor 4 is not one of 8 or 16"),
        ({"method": "magic"}, "unknown superres method 'magic'"),
        ({"weights": "x"}, "no weights to choose"),
        ({"damaged": "7"}, "section 7 is outside the stack"),
        ({"voxel_nm": (0, 1, 1)}, "0 nm along z"),
    ],
)
def test_bad_use_is_one_clear_line(options, words):
    with pytest.raises(InputError, match=words) as caught:
        superresolve(STACK, **({"method": "bicubic"} | options))
    assert "\n" not in str(caught.value)
