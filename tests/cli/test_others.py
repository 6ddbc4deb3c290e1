"""``emsynth methods``, ``detect``, ``evaluate``, ``train``, and the program as a whole."""

import numpy as np
import pytest
import tifffile

import napari_emsynth as es
from napari_emsynth import samples
from napari_emsynth.cli.flags import method_flags, options
from napari_emsynth.cli.groups import Cluster, Common, Save
from napari_emsynth.io import read_synthetic


def test_help_lists_the_commands_and_no_other(emsynth):
    answer = emsynth()
    assert answer.code == 0
    for command in ("methods", "interpolate", "align", "upsample", "superres", "train", "detect", "evaluate"):
        assert command in answer.out


def test_version(emsynth):
    assert emsynth("--version").out.strip() == f"emsynth {es.__version__}"


@pytest.mark.parametrize(
    "words", [("restore",), ("superres", "a", "b"), ("interpolate",), ("upsample",), ("train", "x"), ("--nonsense",)]
)
def test_wrong_use_is_one_line(refused, words):
    assert "see emsynth --help" in refused(*words)


def test_no_method_has_a_flag_that_another_option_has():
    taken = {flag.name for group in (Common, Save, Cluster) for flag in options(group).flags}
    taken |= {"source", "out", "sections", "insert", "mask", "method", "weights", "help"}
    taken |= {"factor", "sampling", "displacement", "apply_to", "max_displacement_nm"}
    for spec in es.methods():
        assert not taken & {flag.name for flag in method_flags(spec.task, spec.id).flags}, spec.name


def test_methods_lists_every_method_with_its_weights(emsynth):
    entries = {f"{e['task']}/{e['id']}": e for e in emsynth("methods", "--json").json["methods"]}
    assert {"interpolate/emsynth", "interpolate/linear", "interpolate/optical-flow"} <= entries.keys()
    assert entries["upsample/linear"]["samplings"] == ["point", "slab"]
    (weights,) = [w for w in entries["interpolate/emsynth"]["weights"] if w["name"] == "accurate"]
    assert len(weights["sha256"]) == 64
    assert len(weights["voxel_nm"]) == 2
    assert "interpolate" in emsynth("methods").out


def test_detect_finds_the_planted_damage(emsynth):
    planted = {(plant.section, plant.kind) for plant in samples.planted()}
    answer = emsynth("detect", samples.path(), "--json").json
    assert {(s["section"], s["kind"]) for s in answer["suspects"]} == planted
    assert answer["sections"] == sorted(z for z, _ in planted)
    assert "displaced" in emsynth("detect", samples.path()).out


def test_detect_says_when_there_is_nothing(emsynth, stack):
    assert "no suspect among 16 sections" in emsynth("detect", stack).out


@pytest.mark.parametrize("suffix", [".tif", ".zarr"])
@pytest.mark.parametrize("how", ["as a script joins them", "in a word"])
def test_a_search_that_found_nothing_can_be_handed_on(emsynth, stack, crop, tmp_path, suffix, how):
    """Every voxel is IN's, no voxel is marked, and one line says so."""
    found, out = emsynth("detect", stack, "--json").json["sections"], tmp_path / f"o{suffix}"
    assert found == []
    listed = ",".join(map(str, found)) if how == "as a script joins them" else "none"
    answer = emsynth("interpolate", stack, out, "--sections", listed, "--json")
    assert answer.code == 0
    assert answer.json["sections"] == []
    assert "nothing to replace" in answer.json["notices"][0]
    assert np.array_equal(es.read(out).read(slice(None)), crop)
    assert not read_synthetic(out).read(slice(None)).any()
    assert es.read(out).grid == es.read(stack).grid
    assert "nothing to replace" in emsynth("interpolate", stack, out, "--sections", listed, "--overwrite").out


def test_an_empty_list_beside_a_mask_leaves_the_mask(emsynth, stack, crop, tmp_path):
    mask = np.zeros(crop.shape, np.uint8)
    mask[6, 20:50, 30:70] = 1
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    run = ("interpolate", stack, tmp_path / "o.tif", "--sections", "", "--mask", tmp_path / "mask.tif")
    assert emsynth(*run, "--method", "linear", "--json").json["sections"] == [6]


def test_evaluate_scores_a_method_beside_the_floors(emsynth, stack):
    answer = emsynth("evaluate", "interpolate/linear", stack, "--gap", "2", "--json").json
    assert answer["gap"] == 2
    assert {"linear", "nearest", "blurred_linear"} <= answer["scores"].keys()
    assert "beats_floors" in answer
    assert "psnr" in emsynth("evaluate", "interpolate/linear", stack).out
    slab = emsynth("evaluate", "upsample/linear", stack, "--sampling", "slab")
    assert "gap 1 (slab)" in slab.out
    assert "linear_back_projected" in slab.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("interpolate/magic",), "'magic'"),
        (("linear",), "TASK/ID"),
        (("interpolate/linear", "--gap", "0"), "gap"),
        (("interpolate/linear", "--gap", "9"), "gap"),
        (("interpolate/linear", "--sampling", "slab"), "sampling slab is for upsample"),
        (("upsample/linear", "--sampling", "thick"), "'thick'"),
    ],
)
def test_evaluate_refuses_in_one_line(refused, stack, words, said):
    assert said in refused("evaluate", words[0], stack, *words[1:])


def test_train_writes_weights_that_interpolate_uses(emsynth, refused, stack, tmp_path):
    out = tmp_path / "mine.safetensors"
    run = ("train", "interpolate/emsynth", stack, "--out", out, "--steps", "2")
    said = emsynth(*run, "--json")
    assert said.code == 0, said.err
    assert said.json["steps"] == 2
    assert out.exists()
    assert out.with_suffix(".toml").exists()
    assert "exists" in refused(*run)
    mended = emsynth("interpolate", stack, tmp_path / "o.tif", "--sections", "5", "--weights", out, "--json")
    assert mended.json["weights"]["sha256"] == said.json["weights"]["sha256"]
    assert "before" in emsynth(*run, "--overwrite").out


def test_train_goes_on_with_a_killed_run(emsynth, refused, stack, tmp_path, monkeypatch):
    from napari_emsynth.cli import train as command

    def kill(terms):
        raise KeyboardInterrupt

    run = ("train", "interpolate/emsynth", stack, "--out", tmp_path / "w.safetensors", "--objective", "accurate")
    with monkeypatch.context() as patch:
        patch.setattr(command, "reporter", lambda screen: kill)
        killed = emsynth(*run, "--steps", "2")
    assert killed.code == 130
    assert "go on with --resume" in killed.err
    assert (tmp_path / "w.job.json").exists()
    assert "--resume to go on" in refused(*run, "--steps", "2")
    done = emsynth(*run, "--resume", "--json").json
    assert (done["steps"], done["objective"], done["finished"]) == (2, "accurate", True)
    assert "is finished" in refused(*run, "--resume")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--minutes", "1", "--steps", "2"), "not both"),
        (("--steps", "2", "--objective", "beauty"), "'beauty'"),
        (("--steps", "2", "--factor", "8"), "objective 'x8' of interpolate/emsynth is not one of"),
        (("--steps", "2", "--factor", "8", "--objective", "accurate"), "give one"),
        (("--steps", "2", "--only", "half"), "no part 'half'"),
        ((), "minutes or a number of steps"),
        (("--minutes", "-1"), "limit of 0"),
        (("--steps", "2", "--roi", "0:4"), "needs 3"),
        (("--steps", "2", "--roi", "0:99,:,:"), "0:99 px along z"),
        (("--steps", "2", "--from", "no-such"), "'no-such'"),
    ],
)
def test_train_refuses_in_one_line(refused, stack, tmp_path, words, said):
    run = ("train", "interpolate/emsynth", stack, "--out", tmp_path / "w.safetensors")
    assert said in refused(*run, *words)


def test_train_refuses_a_bad_output_and_a_method_without_a_network(refused, stack, tmp_path):
    steps = ("--steps", "2")
    assert ".safetensors" in refused("train", "interpolate/emsynth", stack, "--out", tmp_path / "w.pt", *steps)
    nowhere = tmp_path / "no" / "w.safetensors"
    assert "does not exist" in refused("train", "interpolate/emsynth", stack, "--out", nowhere, *steps)
    out = tmp_path / "w.safetensors"
    assert "nothing to train" in refused("train", "interpolate/linear", stack, "--out", out, *steps)


@pytest.mark.parametrize("kind", ["plain", "compressed", "zarr"])
def test_every_source_is_streamed_and_equal(stack, tmp_path, crop, kind):
    import tifffile

    path = {"plain": stack, "compressed": tmp_path / "c.tif", "zarr": tmp_path / "z.zarr"}[kind]
    if kind == "compressed":
        tifffile.imwrite(path, crop, compression="zlib")
    elif kind == "zarr":
        es.write(es.Volume.of(crop), path)
    volume = es.read(path)
    assert volume.is_lazy
    assert np.array_equal(volume.read(slice(None)), crop)
