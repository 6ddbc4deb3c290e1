"""``emsynth interpolate`` on real sections: what it writes, what it answers, what it refuses."""

import errno
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import numpy as np
import pytest
import tifffile

import napari_emsynth as es
from napari_emsynth.io import read_provenance, read_synthetic, read_uncertainty

LINEAR = ("--method", "linear")


@pytest.mark.parametrize("suffix", [".ome.tif", ".tif", ".ome.zarr", ".zarr"])
def test_marked_sections_are_replaced_and_no_other_voxel(emsynth, stack, tmp_path, changed, suffix):
    out = tmp_path / f"out{suffix}"
    answer = emsynth("interpolate", stack, out, "--sections", "3,8-9", *LINEAR, "--json")
    assert answer.code == 0
    assert changed(es.read(out).read(slice(None))) == [3, 8, 9]
    made = read_synthetic(out).read(slice(None))
    assert [z for z in range(16) if made[z].any()] == [3, 8, 9]
    assert read_uncertainty(out).section(3).min() > 0
    assert [entry["section"] for entry in read_provenance(out)["sections"]] == [3, 8, 9]
    assert es.read(out).grid.voxel_nm == (10, 10, 10)


def test_json_is_one_object_with_what_the_contract_names(emsynth, stack, tmp_path):
    answer = emsynth("interpolate", stack, tmp_path / "o.zarr", "--sections", "5", "--json")
    assert answer.out.count("\n") == 1
    said = answer.json
    needed = {"method", "weights", "sections", "seconds", "voxels_per_second", "device", "selfcheck", "notices"}
    assert needed <= said.keys()
    assert said["method"] == "emsynth"
    assert len(said["weights"]["sha256"]) == 64
    assert said["sections"] == [5]
    assert {"section", "psnr", "linear", "nearest", "blurred_linear", "beats_floors"} <= said["selfcheck"][0].keys()
    assert said["seconds"] > 0
    assert said["voxels_per_second"] > 0


def test_without_json_a_person_reads_a_table(emsynth, stack, tmp_path):
    answer = emsynth("interpolate", stack, tmp_path / "o.tif", "--sections", "5", *LINEAR)
    assert "self-check dB" in answer.out
    assert "4,6" in answer.out


def test_insert_adds_sections_before_the_index(emsynth, stack, tmp_path, crop):
    out = tmp_path / "o.tif"
    answer = emsynth("interpolate", stack, out, "--sections", "4,4", "--insert", *LINEAR, "--json")
    data = es.read(out).read(slice(None))
    assert answer.json["shape"] == [18, 96, 96]
    assert answer.json["sections"] == [4, 5]
    assert np.array_equal(np.delete(data, [4, 5], axis=0), crop)


@pytest.mark.parametrize("white", ["minisblack", "miniswhite"])
def test_a_mask_limits_what_changes(emsynth, stack, tmp_path, crop, white):
    mask = np.zeros(crop.shape, np.uint8)
    mask[6, 20:50, 30:70] = 255
    tifffile.imwrite(tmp_path / "mask.tif", mask, photometric=white)
    answer = emsynth("interpolate", stack, tmp_path / "o.tif", "--mask", tmp_path / "mask.tif", *LINEAR, "--json")
    assert answer.code == 0
    data = es.read(tmp_path / "o.tif").read(slice(None))
    assert np.array_equal(data[mask == 0], crop[mask == 0])
    assert (data[mask > 0] != crop[mask > 0]).any()


def test_a_methods_parameters_are_flags_and_are_checked(emsynth, refused, stack, tmp_path):
    run = ("interpolate", stack, tmp_path / "o.tif", "--sections", "5", "--method", "optical-flow")
    assert "'x'" in refused(*run, "--radius", "x")
    assert "limit" in refused(*run, "--radius", "-100")
    assert emsynth(*run, "--radius", "5", "--json").json["params"]["radius"] == 5
    assert "--radius" in emsynth("interpolate", "--method", "optical-flow", "--help").out
    assert "--radius" in refused("interpolate", stack, tmp_path / "p.tif", "--sections", "5", *LINEAR, "--radius", "5")


def test_the_voxel_size_given_is_the_one_written(emsynth, stack, tmp_path):
    out = tmp_path / "o.zarr"
    emsynth("interpolate", stack, out, "--sections", "5", *LINEAR, "--voxel-size", "28,11.24,11.24")
    assert es.read(out).grid.voxel_nm == (28, 11.24, 11.24)


def test_an_unknown_voxel_size_is_said_in_one_line_and_is_no_obstacle(emsynth, tmp_path, crop):
    tifffile.imwrite(tmp_path / "bare.tif", crop)
    answer = emsynth("interpolate", tmp_path / "bare.tif", tmp_path / "o.tif", "--sections", "5", *LINEAR)
    assert answer.code == 0
    assert sum("voxel size" in line for line in answer.err.splitlines()) == 1


def test_overwrite_and_the_input_stays_as_it_was(emsynth, refused, stack, tmp_path):
    out, before = tmp_path / "o.tif", stack.read_bytes()
    run = ("interpolate", stack, out, "--sections", "5", *LINEAR)
    assert emsynth(*run).code == 0
    assert "exists" in refused(*run)
    assert emsynth(*run, "--overwrite").code == 0
    assert stack.read_bytes() == before


def test_a_cluster_gives_the_same_voxels(emsynth, stack, tmp_path):
    run = ("--sections", "2", "--json")
    assert emsynth("interpolate", stack, tmp_path / "one.zarr", *run).code == 0
    assert emsynth("interpolate", stack, tmp_path / "two.zarr", *run, "--workers", "2").code == 0
    one, two = (es.read(tmp_path / name).read(slice(None)) for name in ("one.zarr", "two.zarr"))
    assert np.array_equal(one, two)


BAD_USE = [
    (("--sections", "16"), "section 16 is outside the stack, whose sections are 0 to 15"),
    (("--sections", "5-3"), "5-3 runs backwards"),
    (("--sections", "x"), "'x'"),
    (("--sections", "0-15"), "16 sections"),
    ((), "nothing to replace"),
    (("--sections", "5", "--voxel-size", "0,4,4"), "voxel size"),
    (("--sections", "5", "--voxel-size", "4,4"), "2 numbers, needs 3"),
    (("--sections", "5", "--voxel-size", "1e12,4,4"), "outside 0.01 to 100000 nm"),
    (("--sections", "5", "--device", "tpu"), "'tpu'"),
    (("--sections", "5", "--device", "cuda:99"), "cuda:99"),
    (("--sections", "5", "--precision", "fp7"), "'fp7'"),
    (("--sections", "5", "--tile", "0"), "tile = 0 px is below the limit of 1 px"),
    (("--sections", "5", "--tile", "big"), "'big'"),
    (("--sections", "5", "--method", "magic"), "'magic'"),
    (("--sections", "5", "--method"), "--method needs a value"),
    (("--sections", "5", "--weights", "no-such"), "'no-such'"),
    (("--sections", "5", "--workers", "0"), "workers = 0 is below the limit of 1"),
    (("--sections", "5", "--workers", "2", "--dask", "tcp://h:1"), "not both"),
    (("--sections", "5", "--magic"), "--magic"),
    (("--sections", "5", "--resume"), "resume"),
]


@pytest.mark.parametrize(("words", "said"), BAD_USE, ids=[" ".join(words) or "nothing" for words, _ in BAD_USE])
def test_bad_use_is_refused_in_one_line(refused, stack, tmp_path, words, said):
    assert said in refused("interpolate", stack, tmp_path / "o.ome.tif", *words)


def test_bad_input_is_refused_in_one_line(refused, tmp_path, stack):
    out = tmp_path / "o.tif"
    rng = np.random.default_rng(0)
    tifffile.imwrite(tmp_path / "flat.tif", rng.integers(0, 255, (64, 64), np.uint8))
    tifffile.imwrite(tmp_path / "rgb.tif", rng.integers(0, 255, (64, 64, 3), np.uint8), photometric="rgb")
    tifffile.imwrite(tmp_path / "small.tif", rng.integers(0, 255, (16, 64, 64), np.uint8))
    (tmp_path / "text.tif").write_text("not an image")
    marked = ("--sections", "5", *LINEAR)
    assert "needs z, y, x" in refused("interpolate", tmp_path / "flat.tif", out, *marked)
    assert "0 (red), 1 (green), 2 (blue); choose with --channel" in refused(
        "interpolate", tmp_path / "rgb.tif", out, *marked
    )
    assert "text.tif" in refused("interpolate", tmp_path / "text.tif", out, *marked)
    assert "absent.tif does not exist" in refused("interpolate", tmp_path / "absent.tif", out, *marked)
    said = refused("interpolate", stack, out, "--mask", tmp_path / "small.tif", *LINEAR)
    assert "(16, 64, 64)" in said
    assert "(16, 96, 96)" in said


def test_bad_output_is_refused_in_one_line(refused, tmp_path, stack):
    marked = ("--sections", "5", *LINEAR)
    assert "same file" in refused("interpolate", stack, stack, *marked, "--overwrite")
    assert "suffix '.png'" in refused("interpolate", stack, tmp_path / "o.png", *marked)
    assert "does not exist" in refused("interpolate", stack, tmp_path / "no" / "o.tif", *marked)


def test_corrupted_weights_are_refused(refused, tmp_path, stack):
    from napari_emsynth.weights.store import locate

    weights, card = locate("interpolate/emsynth", "accurate")
    spoiled = bytearray(weights.read_bytes())
    spoiled[-1] ^= 1
    (tmp_path / "w.safetensors").write_bytes(spoiled)
    (tmp_path / "w.toml").write_bytes(card.read_bytes())
    (tmp_path / "bare.safetensors").write_bytes(spoiled)
    run = ("interpolate", stack, tmp_path / "o.tif", "--sections", "5", "--weights")
    assert "sha256" in refused(*run, tmp_path / "w.safetensors")
    assert "card" in refused(*run, tmp_path / "bare.safetensors")


def test_a_full_disk_is_one_line(refused, tmp_path, stack, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "out.tif")

    monkeypatch.setattr("tifffile.TiffWriter.write", full)
    assert "disk" in refused("interpolate", stack, tmp_path / "o.tif", "--sections", "5", *LINEAR)


def test_no_cluster_at_the_address_is_one_line(refused, tmp_path, stack, monkeypatch):
    monkeypatch.setattr("napari_emsynth.distributed.cluster.SECONDS_TO_ANSWER", 1)
    run = ("interpolate", stack, tmp_path / "o.zarr", "--sections", "5", *LINEAR)
    assert "tcp://127.0.0.1:1" in refused(*run, "--dask", "tcp://127.0.0.1:1")


def command(*words):
    return [sys.executable, "-m", "napari_emsynth.cli", *map(str, words)]


def test_the_program_itself_answers_json_on_stdout_and_the_rest_on_stderr(stack, tmp_path):
    run = command("interpolate", stack, tmp_path / "o.tif", "--sections", "5", *LINEAR, "--json")
    done = subprocess.run(run, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0
    assert json.loads(done.stdout)["sections"] == [5]


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_interrupted_it_exits_130_and_leaves_nothing(tmp_path, crop):
    big = np.tile(crop, (1, 4, 4))
    es.write(es.Volume.of(big, voxel_nm=(10, 10, 10)), tmp_path / "big.tif")
    marked = ("--sections", "1-14", "--method", "optical-flow")
    run = command("interpolate", tmp_path / "big.tif", tmp_path / "o.tif", *marked)
    # Started in a shell's background the tests would pass on that interrupts are ignored.
    process = subprocess.Popen(
        run, stderr=subprocess.PIPE, text=True, preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    )
    work = tmp_path / ".o.tif.emsynth-part"
    while not work.exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted" in said
    assert not (tmp_path / "o.tif").exists()
    assert not work.exists()
