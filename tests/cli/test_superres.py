"""``emsynth superres`` and its evaluation: what they write, answer, refuse, and how they go on."""

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.io import read_provenance, read_synthetic, read_uncertainty
from napari_emsynth.methods.superres.job import Job
from napari_emsynth.testing.stand_ins import SHARPENER

BICUBIC = ("--method", "bicubic", "--factor", "8")
STAND_IN = ("--method", SHARPENER.id, "--factor", "8")


@pytest.fixture
def coarse(tmp_path, crop):
    """Five sections of 20 x 24 px of 64 nm."""
    path = tmp_path / "coarse.ome.tif"
    es.write(es.Volume.of(crop[:5, :20, :24], voxel_nm=(40, 64, 64)), path)
    return path


def block_means(data):
    z, y, x = data.shape
    return data.reshape(z, y // 8, 8, x // 8, 8).mean(axis=(2, 4), dtype=float)


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
def test_pixels_are_smaller_their_means_stay_and_all_is_marked(emsynth, coarse, tmp_path, crop, suffix):
    out = tmp_path / f"out{suffix}"
    answer = emsynth("superres", coarse, out, *BICUBIC, "--json")
    assert answer.code == 0, answer.err
    volume = es.read(out)
    assert volume.shape == (5, 160, 192)
    assert volume.grid.voxel_nm == pytest.approx((40, 8, 8))
    assert volume.grid.origin_nm == pytest.approx((0, -28, -28))
    assert (block_means(volume.read(slice(None))) == crop[:5, :20, :24]).all()
    assert read_synthetic(out).read(slice(None)).all()
    assert read_provenance(out)["factor"] == 8
    needed = {"method", "weights", "sections", "seconds", "voxels_per_second", "device", "selfcheck"}
    assert needed | {"factor", "residual", "damaged", "shape", "notices"} <= answer.json.keys()
    assert answer.json["residual"]["after"] == 0


def test_what_the_method_knows_of_itself_is_written_beside(emsynth, install, coarse, tmp_path):
    install(SHARPENER)
    out, off, prior = (tmp_path / name for name in ("o.zarr", "off.zarr", "prior.ome.tif"))
    answer = emsynth("superres", coarse, out, *STAND_IN, "--residual", off, "--prior", prior)
    assert answer.code == 0, answer.err
    assert "off the acquired means by" in answer.out
    assert read_uncertainty(out).shape == (5, 160, 192)
    assert es.read(off).shape == (5, 20, 24)
    assert es.read(off).grid.voxel_nm == pytest.approx((40, 64, 64))
    assert np.abs(es.read(off).read(slice(None))).max() > 0.1
    assert (es.read(prior).read(slice(None)) == 0.5).all()


def test_resume_draws_only_what_is_missing(emsynth, coarse, tmp_path, crop, monkeypatch):
    deep = tmp_path / "deep.zarr"
    es.write(es.Volume.of(np.concatenate([crop, crop[:4]])[:, :16, :16]), deep)
    drawn, draw = [], Job.together

    def dying(job, box, runtime):
        drawn.append(box[0].start)
        if len(drawn) == 18:
            raise KeyboardInterrupt
        return draw(job, box, runtime)

    monkeypatch.setattr(Job, "together", dying)
    run = ("superres", deep, tmp_path / "o.zarr", *BICUBIC)
    assert emsynth(*run).code == 130
    assert not (tmp_path / "o.zarr").exists()
    assert emsynth(*run, "--resume").code == 0
    assert sorted(set(drawn[18:])) == [16, 17, 18, 19]


def test_evaluate_and_methods_know_the_task(emsynth, refused, tmp_path, crop):
    wide = tmp_path / "wide.zarr"
    es.write(es.Volume.of(crop[:3], voxel_nm=(10, 10, 10)), wide)
    answer = emsynth("evaluate", "superres/bicubic", wide, "--factor", "8")
    assert answer.code == 0, answer.err
    assert "factor 8" in answer.out
    assert "nearest" in answer.out
    assert "factor 8 is for superres" in refused("evaluate", "upsample/linear", wide, "--factor", "8")
    assert "superres" in emsynth("methods").out


BAD_USE = [
    ((), "--factor"),
    (("--factor", "4"), "factor 4 is not one of 8 or 16"),
    (("--factor", "x"), "'x'"),
    ((*BICUBIC, "--damaged", "5"), "section 5 is outside the stack"),
    ((*BICUBIC, "--prior", "p.zarr"), "--prior p.zarr: superres/bicubic has no learned prior"),
    ((*BICUBIC, "--weights", "x"), "no weights to choose"),
    (("--method", "magic", "--factor", "8"), "unknown superres method 'magic'"),
    ((*BICUBIC, "--resume"), "resume"),
]


@pytest.mark.parametrize(("flags", "said"), BAD_USE, ids=[" ".join(flags) for flags, _ in BAD_USE])
def test_bad_use_is_refused_in_one_line(refused, coarse, tmp_path, flags, said):
    assert said in refused("superres", coarse, tmp_path / "o.ome.tif", *flags)


def test_sections_below_a_patch_and_files_written_twice_are_refused(refused, coarse, tmp_path, crop):
    es.write(es.Volume.of(crop[:2, :15]), tmp_path / "small.zarr")
    assert "limit is 16 x 16 px" in refused("superres", tmp_path / "small.zarr", tmp_path / "o.tif", *BICUBIC)
    out = tmp_path / "o.zarr"
    assert "written twice" in refused("superres", coarse, out, *BICUBIC, "--residual", out)
