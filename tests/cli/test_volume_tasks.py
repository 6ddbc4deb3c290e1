"""``emsynth upsample``, ``align``, and ``evaluate`` of both: what they write, answer, refuse, and how they go on."""

import numpy as np
import pytest

import napari_emsynth as es
from napari_emsynth.cli.volume_tasks import _checked
from napari_emsynth.io import read_provenance, read_synthetic
from napari_emsynth.methods.upsample.job import Job
from napari_emsynth.testing.stand_ins import DOUBLER, redrawing

LINEAR = ("--method", "linear")
STAND_IN = ("--method", "stand-in-smooth")


@pytest.fixture
def stand_in(install):
    install(redrawing(), DOUBLER)


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
def test_point_upsampling_keeps_the_acquired_sections_and_marks_the_others(emsynth, stack, tmp_path, crop, suffix):
    out = tmp_path / f"out{suffix}"
    answer = emsynth("upsample", stack, out, "--factor", "2.5", *LINEAR, "--json")
    assert answer.code == 0, answer.err
    volume = es.read(out)
    assert volume.shape == (38, 96, 96)
    assert volume.grid.voxel_nm == pytest.approx((4, 10, 10))
    assert np.array_equal(volume.read(slice(None))[::5], crop[::2])
    made = read_synthetic(out).read(slice(None))[:, 0, 0]
    assert [z for z in range(38) if not made[z]] == list(range(0, 38, 5))
    record = read_provenance(out)
    assert [entry["section"] for entry in record["sections"]] == answer.json["sections"]
    assert (record["factor"], record["sampling"]) == (2.5, "point")


@pytest.mark.parametrize("suffix", [".ome.tif", ".zarr"])
def test_slab_upsampling_keeps_the_outer_faces(emsynth, stack, tmp_path, suffix):
    out = tmp_path / f"out{suffix}"
    run = ("upsample", stack, out, "--factor", "2", "--sampling", "slab", *LINEAR)
    assert emsynth(*run).code == 0
    grid = es.read(out).grid
    assert grid.shape == (32, 96, 96)
    assert grid.origin_nm == pytest.approx((-2.5, 0, 0))
    assert read_synthetic(out).read(slice(None)).all()


def test_json_holds_what_the_contract_names(emsynth, stand_in, stack, tmp_path):
    needed = {"method", "weights", "sections", "seconds", "voxels_per_second", "device", "selfcheck"}
    up = emsynth("upsample", stack, tmp_path / "u.tif", "--factor", "2", *LINEAR, "--json").json
    assert needed | {"factor", "sampling", "shape", "notices"} <= up.keys()
    assert up["sections"] == list(range(1, 31, 2))
    assert up["selfcheck"]["psnr"] == up["selfcheck"]["linear"]
    flat = emsynth("align", stack, tmp_path / "a.tif", *STAND_IN, "--json").json
    assert needed | {"shape", "notices"} <= flat.keys()
    assert flat["sections"] == list(range(16))
    assert {"cpc_before", "cpc_after", "psnr_jittered", "psnr_aligned"} <= flat["selfcheck"].keys()


def test_a_person_reads_the_self_check_and_what_was_redrawn(emsynth, stand_in, stack, tmp_path):
    up = emsynth("upsample", stack, tmp_path / "u.tif", "--factor", "3", *LINEAR)
    assert "30 of 46 sections made up" in up.out
    assert "hidden sections" in up.out
    flat = emsynth("align", stack, tmp_path / "a.tif", *STAND_IN)
    assert "correlation of neighbours" in flat.out
    assert "redraws every voxel" in flat.out


def test_what_was_repaired_first_is_told(emsynth, tmp_path, crop):
    black = crop[:, :32, :32].copy()
    black[5] = 0
    es.write(es.Volume.of(black, voxel_nm=(20, 10, 10)), tmp_path / "black.zarr")
    run = ("upsample", tmp_path / "black.zarr", tmp_path / "o.zarr", "--factor", "isotropic", *LINEAR)
    told = emsynth(*run, "--json").json
    assert told["factor"] == 2
    assert [entry["section"] for entry in told["repaired"]] == [5]
    assert "section 5" in emsynth(*run, "--overwrite").out
    kept = emsynth(*run, "--overwrite", "--damaged", "none", "--json").json
    assert "repaired" not in kept or not kept["repaired"]


def test_a_person_reads_what_was_checked_in_plane_and_the_floors_of_slabs():
    scores = {"psnr": 31.0, "linear": 29.0, "linear_back_projected": 30.0, "beats_floors": True, "n": 12}
    lines = _checked(scores | {"in_plane": scores | {"psnr": 32.5}})
    assert lines[0] == ("self-check on 12 hidden sections: 31.00 dB, linear 29.00 dB, linear, back-projected 30.00 dB")
    assert lines[1].startswith("in plane, rows posed as sections: 32.50 dB, linear 29.00 dB")
    assert len(_checked(scores | {"in_plane": None})) == 1


def test_aligned_files_say_that_every_voxel_was_redrawn(emsynth, stand_in, stack, tmp_path, crop):
    out = tmp_path / "a.zarr"
    assert emsynth("align", stack, out, *STAND_IN).code == 0
    data = es.read(out).read(slice(None))
    assert np.abs(data[7] - crop[6:9].astype(float).mean(axis=0)).max() <= 0.51
    assert read_synthetic(out).read(slice(None)).all()
    assert {entry["treatment"] for entry in read_provenance(out)["sections"]} == {"redrawn"}


def test_a_methods_parameters_are_flags_of_every_task(emsynth, refused, stand_in, stack, tmp_path):
    run = ("align", stack, tmp_path / "a.tif", *STAND_IN)
    assert "limit of 1" in refused(*run, "--strength", "2")
    assert "--strength" in emsynth("align", *STAND_IN, "--help").out
    assert emsynth(*run, "--strength", "0.5", "--json").json["params"] == {"strength": 0.5}
    assert "--strength" in refused("upsample", stack, tmp_path / "u.tif", "--factor", "2", *LINEAR, "--strength", "1")


@pytest.mark.parametrize("kind", ["linear", "stand-in-doubler"])
def test_resume_draws_only_what_is_missing(emsynth, stand_in, stack, tmp_path, monkeypatch, kind):
    drawn, draw = [], Job.__call__

    def dying(job, box, runtime):
        # The self-check draws three more sections at most; the file has two layers of blocks.
        if job.request.volume.shape[0] == 16:
            drawn.append(box[0].start)
            if len(drawn) == 2:
                raise KeyboardInterrupt
        return draw(job, box, runtime)

    monkeypatch.setattr(Job, "__call__", dying)
    run = ("upsample", stack, tmp_path / "o.zarr", "--factor", "2", "--method", kind)
    assert emsynth(*run).code == 130
    assert not (tmp_path / "o.zarr").exists()
    assert emsynth(*run, "--resume").code == 0
    assert drawn == [0, 16, 16]
    assert emsynth("upsample", stack, tmp_path / "whole.tif", *run[3:]).code == 0
    files = [es.read(tmp_path / name).read(slice(None)) for name in ("o.zarr", "whole.tif")]
    assert np.array_equal(*files)


def test_a_cluster_gives_the_same_voxels(emsynth, stack, tmp_path):
    run = ("--factor", "3", *LINEAR)
    assert emsynth("upsample", stack, tmp_path / "one.zarr", *run).code == 0
    assert emsynth("upsample", stack, tmp_path / "two.zarr", *run, "--workers", "1").code == 0
    for part in (es.read, read_synthetic):
        one, two = (part(tmp_path / name).read(slice(None)) for name in ("one.zarr", "two.zarr"))
        assert np.array_equal(one, two)


def test_evaluate_scores_both_tasks(emsynth, stand_in, stack):
    up = emsynth("evaluate", "upsample/linear", stack, "--gap", "2", "--json").json
    assert {"linear", "nearest", "blurred_linear", "kriging"} == up["scores"].keys()
    assert up["factor"] == 3
    flat = emsynth("evaluate", "align/stand-in-smooth", stack)
    assert "prefer the input" in flat.out or "better than every floor" in flat.out
    assert "correlation of neighbours" in flat.out


BAD_USE = [
    (("upsample",), "--factor"),
    (("upsample", "--factor", "13"), "factor 13 is outside 2 to 12"),
    (("upsample", "--factor", "x"), "'x'"),
    (("upsample", "--factor", "2", "--sampling", "cubic"), "'cubic' is not one of point, slab"),
    (("upsample", "--factor", "3", "--method", "stand-in-doubler"), "upsamples by 2, not by 3"),
    (("upsample", "--factor", "2", "--method", "magic"), "'magic'"),
    (("upsample", "--factor", "2", "--workers", "0"), "limit of 1 worker"),
    (("upsample", "--factor", "2", "--resume"), "resume"),
    (("align", *STAND_IN, "--displacement", "u.npy"), "--displacement u.npy: align/stand-in-smooth redraws"),
    (("align", *STAND_IN, "--apply-to", "l.tif=m.tif"), "--apply-to l.tif=m.tif"),
    (("align", *STAND_IN, "--max-displacement-nm", "50"), "--max-displacement-nm 50"),
    (("align", "--method", "magic"), "unknown align method 'magic'"),
    (("align", *STAND_IN, "--weights", "x"), "no weights to choose"),
]


@pytest.mark.parametrize(("words", "said"), BAD_USE, ids=[" ".join(words) for words, _ in BAD_USE])
def test_bad_use_is_refused_in_one_line(refused, stand_in, stack, tmp_path, words, said):
    task, *flags = words
    assert said in refused(task, stack, tmp_path / "o.ome.tif", *flags)


def test_stacks_that_are_too_short_are_refused(refused, stand_in, tmp_path, crop):
    es.write(es.Volume.of(crop[:1]), tmp_path / "one.zarr")
    es.write(es.Volume.of(crop[:2]), tmp_path / "two.zarr")
    out = tmp_path / "o.tif"
    assert "limit is 2 sections" in refused("upsample", tmp_path / "one.zarr", out, "--factor", "2")
    assert "limit is 3 sections" in refused("align", tmp_path / "two.zarr", out, *STAND_IN)


def test_in_is_never_out(refused, stand_in, stack):
    assert "same file" in refused("upsample", stack, stack, "--factor", "2", "--overwrite")
    assert "same file" in refused("align", stack, stack, *STAND_IN, "--overwrite")


def test_a_natural_look_is_asked_for_by_a_flag_and_told(emsynth, stack, tmp_path):
    asked = ("upsample", stack, tmp_path / "u.tif", "--factor", "4", *LINEAR, "--look", "natural", "--json")
    assert emsynth(*asked).json["look"] == "natural"
    record = read_provenance(tmp_path / "u.tif")
    assert record["sections"][0]["look"]["borrowed_from"] == 0
    refused = emsynth("upsample", stack, tmp_path / "v.tif", "--factor", "4", "--look", "sharp")
    assert refused.code == 2
    assert "look 'sharp' is not one of accurate, natural" in refused.err
    assert not (tmp_path / "v.tif").exists()
