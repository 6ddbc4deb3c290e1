"""Weights are opened only when whole, of the right method, and described by a card."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn

from napari_emsynth.errors import InputError
from napari_emsynth.methods import all_methods
from napari_emsynth.weights import own, store
from napari_emsynth.weights.card import Card

METHOD = "interpolate/emsynth"
BUNDLED = [(spec.name, name) for spec in all_methods() for name in spec.weights]
TENSORS = {"a": torch.arange(6.0).view(2, 3), "n": torch.tensor([3])}


def card(**values):
    return Card(**({"id": "w", "method": METHOD, "name": "w"} | values))


def written(tmp_path, **values):
    path = tmp_path / "w.safetensors"
    return path, store.write(path, path.with_suffix(".toml"), TENSORS, card(**values))


def test_card_round_trips_through_toml():
    full = card(
        sha256="ab", data='a "quoted" name', steps=7, seconds=1.5, config={"widths": [1, 2], "x": 2.0, "b": True},
        factor=1.25, voxel_nm=(4.0, float("inf")), figures={"fib25_eval gap 1": {"psnr": 31.5, "linear": 30.0}},
    )  # fmt: skip
    assert Card.from_toml(full.to_toml()) == full


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("= 3", "not TOML"),
        ("id = 1", "lacks 'id'"),
        ('id = "a"\nmethod = "b"\nname = "c"\nodd = 1', "unknown entry 'odd'"),
    ],
)
def test_bad_cards_are_refused(text, words):
    with pytest.raises(InputError, match=words):
        Card.from_toml(text)


def test_written_weights_come_back(tmp_path):
    path, _ = written(tmp_path, factor=2.0)
    tensors, back = store.load(METHOD, str(path))
    torch.testing.assert_close(tensors["a"], TENSORS["a"])
    assert tensors["n"].dtype == torch.int64
    assert back.factor == 2.0
    assert sorted(p.name for p in tmp_path.iterdir()) == ["w.safetensors", "w.toml"]


def test_half_precision_is_stored_and_read_as_single(tmp_path):
    path = tmp_path / "w.safetensors"
    store.write(path, path.with_suffix(".toml"), {"a": torch.randn(64, 64)}, card(), half=True)
    assert path.stat().st_size < 64 * 64 * 3
    assert store.load(METHOD, str(path))[0]["a"].dtype == torch.float32


def test_one_flipped_bit_is_noticed(tmp_path):
    path, _ = written(tmp_path)
    blob = bytearray(path.read_bytes())
    blob[-1] ^= 1
    path.write_bytes(bytes(blob))
    with pytest.raises(InputError, match=r"w.safetensors are damaged: sha256"):
        store.load(METHOD, str(path))


def test_a_file_that_is_no_safetensors_is_refused_even_with_the_right_hash(tmp_path):
    import hashlib

    path, made = written(tmp_path)
    path.write_bytes(b"nonsense")
    good = replace(made, sha256=hashlib.sha256(b"nonsense").hexdigest())
    path.with_suffix(".toml").write_text(good.to_toml())
    with pytest.raises(InputError, match="not a safetensors file"):
        store.load(METHOD, str(path))


def test_weights_of_another_method_are_refused(tmp_path):
    path, _ = written(tmp_path, method="align/other")
    with pytest.raises(InputError, match="belong to align/other, not to interpolate/emsynth"):
        store.load(METHOD, str(path))


def test_a_card_of_another_version_of_the_network_is_refused_in_one_line(tmp_path):
    path, _ = written(tmp_path, config={"no_such_size": 3})

    def network_of(config):
        return nn.Linear(**config)

    with pytest.raises(InputError, match=r"another architecture of interpolate/emsynth: .*no_such_size"):
        store.restored(METHOD, str(path), network_of)


def test_weights_of_another_architecture_are_refused():
    with pytest.raises(InputError, match="do not fit the architecture"):
        store.fill(nn.Linear(2, 2), TENSORS, "mine", METHOD)


@pytest.mark.parametrize("name", ["missing", "folder/missing.safetensors"])
def test_missing_weights_are_named(name):
    with pytest.raises(InputError, match=re.escape(repr(name))):
        store.load(METHOD, name)


def test_a_file_without_its_card_is_refused(tmp_path):
    path, _ = written(tmp_path)
    path.with_suffix(".toml").unlink()
    with pytest.raises(InputError, match=r"w.toml is missing"):
        store.load(METHOD, str(path))


def test_a_full_disk_leaves_nothing(tmp_path, monkeypatch):
    def full(tensors, path):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "save_file", full)
    with pytest.raises(InputError, match="No space left"):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_own_weights_are_found_by_name(tmp_path, monkeypatch):
    monkeypatch.setattr(own, "folder", lambda: tmp_path)
    written(tmp_path)
    (tmp_path / "broken.toml").write_text("= 1")
    assert own.names(METHOD) == ["w"]
    assert own.names("align/other") == []
    assert store.load(METHOD, "w")[1].id == "w"


@pytest.mark.parametrize(("method", "name"), BUNDLED)
def test_bundled_weights_are_whole_and_described(method, name):
    tensors, described = store.load(method, name)
    assert sum(t.numel() for t in tensors.values()) > 0
    assert all(bool(torch.isfinite(t).all()) for t in tensors.values())
    assert described.id == store.bundled_id(method, name)
    assert described.steps > 0
    assert described.seconds > 0
    assert "Creative Commons Attribution" in described.licence
    assert described.figures


def test_bundled_weights_stay_small():
    assert sum(p.stat().st_size for p in store.HERE.glob("*.safetensors")) <= 60e6
