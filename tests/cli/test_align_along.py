"""``emsynth align`` by displacements: the field, what goes along, fields taken up again, and what is refused."""

import numpy as np
import pytest
import zarr

import napari_emsynth as es
from napari_emsynth.fields import Displacement, compose, moved
from napari_emsynth.io import read_provenance, read_synthetic
from napari_emsynth.methods.align.scoring.selfcheck import FieldCheck
from napari_emsynth.testing.stand_ins import SHIFTER, redrawing

SHIFTER_ID = ("--method", "stand-in-shifter")


@pytest.fixture(autouse=True)
def stand_in(install):
    install(SHIFTER, redrawing())


@pytest.fixture
def jumping(crop):
    """Eight sections, each a few pixels off its place."""
    shifts = np.random.default_rng(1).integers(-2, 3, (8, 2))
    return np.stack([np.roll(section, tuple(s), (0, 1)) for section, s in zip(crop[:8], shifts, strict=True)])


@pytest.fixture
def stack(tmp_path, jumping):
    path = tmp_path / "stack.ome.tif"
    es.write(es.Volume.of(jumping, voxel_nm=(10, 10, 10)), path)
    return path


@pytest.fixture
def labels(tmp_path, jumping):
    path = tmp_path / "labels.zarr"
    es.write(es.Volume.of((jumping // 32).astype(np.uint64) + 2**40), path)
    return path


@pytest.fixture
def field(tmp_path):
    """A field of the stack that moves every section by its own smooth way."""
    data = np.random.default_rng(3).normal(0, 1, (8, 2, 6, 6)).astype(np.float32)
    found = Displacement(data, (8, 96, 96), (10.0, 10.0, 10.0))
    es.write_field(found, tmp_path / "u.zarr")
    return found


def whole(path, part=es.read):
    return part(path).read(slice(None))


def dense(field):
    return np.stack([field.dense(z) for z in range(field.shape[0])])


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_the_field_is_written_as_it_was_applied(emsynth, stack, jumping, tmp_path, suffix):
    out, file = tmp_path / "out.ome.tif", tmp_path / f"u{suffix}"
    answer = emsynth("align", stack, out, *SHIFTER_ID, "--displacement", file, "--json")
    assert answer.code == 0, answer.err
    data = np.load(file) if suffix == ".npy" else zarr.open(str(file), mode="r")[:]
    assert data.shape == (8, 2, 96, 96)
    assert data.dtype == np.float32
    assert np.abs(data).max() > 0.5
    again = moved(es.Volume.of(jumping), es.read_field(file), "cubic").data
    assert np.array_equal(whole(out), again)
    assert answer.json["displacement"] == str(file)
    assert {report["treatment"] for report in answer.json["reports"]} <= {"moved", "kept"}
    if suffix == ".zarr":
        assert zarr.open(str(file), mode="r").attrs["emsynth"]["method"] == "stand-in-shifter"


def test_labels_and_images_go_along_with_their_record(emsynth, stack, labels, jumping, tmp_path):
    out, moved_labels, image = tmp_path / "out.zarr", tmp_path / "l.zarr", tmp_path / "i.ome.tif"
    answer = emsynth(
        "align", stack, out, *SHIFTER_ID, "--apply-to", f"{labels}={moved_labels}", "--apply-to-image",
        f"{stack}={image}", "--displacement", tmp_path / "u.npy", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    assert np.array_equal(whole(image), whole(out))
    ids = whole(moved_labels)
    assert ids.dtype == np.uint64
    assert set(np.unique(ids)) <= set(np.unique(whole(labels))) | {0}
    field = es.read_field(tmp_path / "u.npy")
    assert np.array_equal(ids, moved(es.read(labels), field, "nearest").read(slice(None)))
    assert np.array_equal(whole(moved_labels, read_synthetic), whole(out, read_synthetic))
    record = read_provenance(moved_labels)
    assert record["method"] == "stand-in-shifter"
    assert record["carried"]["interpolation"] == "nearest"
    assert read_provenance(image)["carried"]["interpolation"] == "cubic"
    assert answer.json["applied_to"] == [
        {"in": str(labels), "out": str(moved_labels)}, {"in": str(stack), "out": str(image)},
    ]  # fmt: skip


def test_a_saved_field_is_applied_without_aligning_again(emsynth, stack, labels, jumping, field, tmp_path):
    out, along = tmp_path / "out.zarr", tmp_path / "l.zarr"
    run = ("align", stack, out, "--from-displacement", tmp_path / "u.zarr", "--apply-to", f"{labels}={along}")
    answer = emsynth(*run, "--json")
    assert answer.code == 0, answer.err
    assert np.array_equal(whole(out), moved(es.Volume.of(jumping), field, "cubic").data)
    assert np.array_equal(whole(along), moved(es.Volume.of(whole(labels)), field, "nearest").data)
    assert answer.json["method"] == "displacement-field"
    assert answer.json["selfcheck"] is None
    assert "u.zarr" in read_provenance(out)["notices"][0]
    assert "displacements of up to" in emsynth(*run, "--overwrite").out


@pytest.mark.parametrize("suffix", [".npy", ".zarr"])
def test_the_field_of_a_binned_copy_serves_the_full_stack(emsynth, crop, tmp_path, suffix):
    full = crop[:4]
    small = full.reshape(4, 48, 2, 48, 2).mean(axis=(2, 4)).round().astype(np.uint8)
    es.write(es.Volume.of(full, voxel_nm=(10, 10, 10)), tmp_path / "full.zarr")
    es.write(es.Volume.of(small, voxel_nm=(10, 20, 20)), tmp_path / "small.zarr")
    found = Displacement.zero((4, 48, 48), 8, (10.0, 20.0, 20.0))
    found.data[1, 0], found.data[2, 1] = 1, -2
    es.write_field(found, tmp_path / f"u{suffix}")
    answer = emsynth(
        "align", tmp_path / "full.zarr", tmp_path / "o.zarr", "--from-displacement", tmp_path / f"u{suffix}", "--json"
    )  # fmt: skip
    assert answer.code == 0, answer.err
    out = whole(tmp_path / "o.zarr")
    assert np.array_equal(out[1, :-2], full[1, 2:])
    assert np.array_equal(out[2, :, 4:], full[2, :, :-4])
    assert np.array_equal(out[3], full[3])
    assert any("48 x 48 px and is resized to 96 x 96 px" in line for line in answer.json["notices"])


def test_fields_are_applied_one_after_the_other(emsynth, stack, jumping, field, tmp_path):
    other = Displacement(field.data[::-1].copy(), field.shape)
    es.write_field(other, tmp_path / "v.npy")
    es.write_field(compose(es.read_field(tmp_path / "u.zarr"), es.read_field(tmp_path / "v.npy")), tmp_path / "w.npy")
    both = ("--from-displacement", tmp_path / "u.zarr", "--from-displacement", tmp_path / "v.npy")
    assert emsynth("align", stack, tmp_path / "a.zarr", *both, "--displacement", tmp_path / "x.npy").code == 0
    assert emsynth("align", stack, tmp_path / "b.zarr", "--from-displacement", tmp_path / "w.npy").code == 0
    assert np.array_equal(whole(tmp_path / "a.zarr"), whole(tmp_path / "b.zarr"))
    assert np.array_equal(np.load(tmp_path / "x.npy"), np.load(tmp_path / "w.npy"))


def test_a_method_goes_on_from_a_saved_field_and_draws_once(emsynth, stack, jumping, field, tmp_path):
    run = ("--from-displacement", tmp_path / "u.zarr", *SHIFTER_ID, "--displacement", tmp_path / "w.npy")
    answer = emsynth("align", stack, tmp_path / "o.zarr", *run, "--json")
    assert answer.code == 0, answer.err
    assert answer.json["method"] == "stand-in-shifter"
    both = es.read_field(tmp_path / "w.npy")
    assert not np.allclose(dense(both), dense(field))
    assert np.array_equal(whole(tmp_path / "o.zarr"), moved(es.Volume.of(jumping), both, "cubic").data)
    assert len(read_provenance(tmp_path / "o.zarr")["upon"]["sections"]) == 8


def test_what_the_selfcheck_advises_against_is_not_written(emsynth, refused, stack, tmp_path, monkeypatch):
    monkeypatch.setattr(FieldCheck, "beats_floors", False)
    run = ("align", stack, tmp_path / "o.zarr", *SHIFTER_ID)
    line = refused(*run)
    assert "prefer the input" in line
    assert "nothing was written (--anyway" in line
    assert emsynth(*run, "--anyway").code == 0
    assert "prefer the input" in read_provenance(tmp_path / "o.zarr")["selfcheck"]["advice"]


def test_nothing_moves_further_than_the_limit(emsynth, stack, field, tmp_path):
    for name, run in {"a": SHIFTER_ID, "b": ("--from-displacement", tmp_path / "u.zarr")}.items():
        file = tmp_path / f"{name}.npy"
        words = ("--max-displacement-nm", "6", "--displacement", file)
        assert emsynth("align", stack, tmp_path / f"{name}.zarr", *run, *words).code == 0
        far = np.hypot(*np.load(file).swapaxes(0, 1)).max()
        assert 0.5 < far <= 0.6001  # px of 10 nm


def test_reference_skip_and_materials_reach_the_method(emsynth, stack, jumping, tmp_path):
    es.write(es.Volume.of(np.zeros(jumping.shape, np.uint8)), tmp_path / "m.zarr")
    out = tmp_path / "o.zarr"
    limits = ("--reference", "2-3", "--skip", "6", "--materials", tmp_path / "m.zarr")
    answer = emsynth("align", stack, out, *SHIFTER_ID, *limits, "--json")
    assert answer.code == 0, answer.err
    data = whole(out)
    assert np.array_equal(data[2:4], jumping[2:4])
    assert [r["section"] for r in answer.json["reports"] if r["skipped"]] == [6]
    none = emsynth("align", stack, tmp_path / "p.zarr", *SHIFTER_ID, "--skip", "none", "--json").json
    assert not any(r["skipped"] for r in none["reports"])


def test_what_was_made_up_before_is_marked_still(emsynth, tmp_path, stack, field):
    mended = tmp_path / "mended.zarr"
    assert emsynth("interpolate", stack, mended, "--sections", "4", "--method", "linear").code == 0
    out = tmp_path / "o.zarr"
    assert emsynth("align", mended, out, "--from-displacement", tmp_path / "u.zarr").code == 0
    mask = whole(out, read_synthetic)
    empty = es.read(out).known.empty
    assert np.array_equal(mask[4], 1 - np.asarray(empty[4]))
    assert mask.max() == 1
    assert not mask[3, 20:-20, 20:-20].any()


def test_an_interrupted_export_goes_on_with_what_is_missing(emsynth, stack, labels, field, tmp_path, monkeypatch):
    from napari_emsynth.fields.apply import Draw

    drawn, draw = [], Draw.__call__

    def dying(job, box, runtime):
        drawn.append(job.volume.dtype)
        if job.volume.dtype == np.uint8:
            raise KeyboardInterrupt
        return draw(job, box, runtime)

    out, along = tmp_path / "o.zarr", tmp_path / "l.zarr"
    run = ("align", stack, out, "--from-displacement", tmp_path / "u.zarr", "--apply-to", f"{labels}={along}")
    run = (*run, "--displacement", tmp_path / "w.zarr")
    with monkeypatch.context() as patch:
        patch.setattr(Draw, "__call__", dying)
        assert emsynth(*run).code == 130
    assert along.exists()
    assert (tmp_path / "w.zarr").exists()
    assert not out.exists()
    kept = [p.stat().st_mtime_ns for p in (along, tmp_path / "w.zarr")]
    assert emsynth(*run).code == 2  # they exist
    done = emsynth(*run, "--resume")
    assert done.code == 0, done.err
    assert [p.stat().st_mtime_ns for p in (along, tmp_path / "w.zarr")] == kept
    assert whole(out).shape == (8, 96, 96)


def test_another_jobs_files_are_not_taken_for_finished_ones(refused, stack, labels, field, tmp_path):
    es.write(es.Volume.of(np.zeros((8, 96, 96), np.uint64)), tmp_path / "l.zarr")
    es.write_field(Displacement.zero((8, 96, 96)), tmp_path / "w.npy")
    run = ("align", stack, tmp_path / "o.zarr", "--from-displacement", tmp_path / "u.zarr", "--resume")
    assert "of another job" in refused(*run, "--apply-to", f"{labels}={tmp_path / 'l.zarr'}")
    assert "of another job" in refused(*run, "--displacement", tmp_path / "w.npy")


def test_a_cluster_gives_the_same_voxels(emsynth, stack, labels, field, tmp_path):
    for name, more in (("a", ()), ("b", ("--workers", "1"))):
        words = ("--from-displacement", tmp_path / "u.zarr", "--apply-to", f"{labels}={tmp_path / name}-l.zarr", *more)
        assert emsynth("align", stack, tmp_path / f"{name}.zarr", *words).code == 0
    for part in (".zarr", "-l.zarr"):
        for read in (es.read, read_synthetic):
            assert np.array_equal(whole(tmp_path / f"a{part}", read), whole(tmp_path / f"b{part}", read))


BAD_USE = [
    ((*SHIFTER_ID, "--max-displacement-nm", "0"), "0 nm"),
    ((*SHIFTER_ID, "--max-displacement-nm", "-5"), "-5 nm"),
    ((*SHIFTER_ID, "--displacement", "u.tif"), "suffix '.tif'"),
    ((*SHIFTER_ID, "--displacement", "{tmp}/u.zarr"), "exists"),
    ((*SHIFTER_ID, "--displacement", "{tmp}/o.ome.tif"), "named twice"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr"), "not LABELS=OUT2"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/none.zarr={tmp}/l.zarr"), "none.zarr does not exist"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr={tmp}/l.png"), "suffix '.png'"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr={tmp}/labels.zarr"), "same file"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr={tmp}/stack.ome.tif"), "same file"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr={tmp}/o.ome.tif"), "named twice"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/labels.zarr={tmp}/l.ome.tif"), "uint64 do not fit OME-TIFF"),
    ((*SHIFTER_ID, "--apply-to", "{tmp}/other.zarr={tmp}/l.zarr"), "other.zarr has 8 x 48 x 96 voxels"),
    ((*SHIFTER_ID, "--reference", "8"), "sections are 0 to 7"),
    ((*SHIFTER_ID, "--skip", "all"), "skip 'all'"),
    ((*SHIFTER_ID, "--materials", "{tmp}/other.zarr"), "materials"),
    (("--from-displacement", "{tmp}/none.npy"), "none.npy does not exist"),
    (("--from-displacement", "{tmp}/bad.npy"), "not numbers"),
    (("--from-displacement", "{tmp}/small.npy"), "does not fit a volume of 8 x 96 x 96"),
    (("--from-displacement", "{tmp}/labels.zarr"), "labels.zarr"),
    (("--from-displacement", "{tmp}/u.zarr", "--reference", "3"), "--reference 3: with --from-displacement"),
    (("--from-displacement", "{tmp}/u.zarr", "--weights", "x"), "--weights x"),
    (("--from-displacement", "{tmp}/u.zarr", "--max-displacement-nm", "0"), "0 nm"),
    (("--method", "stand-in-smooth", "--from-displacement", "{tmp}/u.zarr"), "redraws every voxel"),
    (("--method", "stand-in-smooth", "--reference", "3"), "--reference 3: align/stand-in-smooth redraws"),
    (("--method", "stand-in-smooth", "--materials", "m.zarr"), "--materials m.zarr"),
    (("--method", "stand-in-smooth", "--apply-to-image", "a=b"), "--apply-to-image a=b"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "said"), BAD_USE, ids=[" ".join(words) for words, _ in BAD_USE])
def test_bad_use_is_refused_in_one_line(refused, stack, labels, field, tmp_path, words, said):
    es.write(es.Volume.of(np.zeros((8, 48, 96), np.uint8)), tmp_path / "other.zarr")
    np.save(tmp_path / "bad.npy", np.full((8, 2, 96, 96), np.nan, np.float32))
    np.save(tmp_path / "small.npy", np.zeros((8, 2, 48, 96), np.float32))
    flags = [word.format(tmp=tmp_path) for word in words]
    assert said in refused("align", stack, tmp_path / "o.ome.tif", *flags)


def test_a_limit_needs_the_voxel_size(refused, jumping, tmp_path):
    es.write(es.Volume.of(jumping), tmp_path / "s.zarr")
    words = ("align", tmp_path / "s.zarr", tmp_path / "o.zarr", *SHIFTER_ID, "--max-displacement-nm", "50")
    assert "voxel size" in refused(*words)
