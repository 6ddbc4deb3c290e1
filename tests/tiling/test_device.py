"""Devices and precisions: what is asked for is used, or refused with the reason in one line."""

import psutil
import pytest
import torch

from napari_emsynth.errors import InputError
from napari_emsynth.tiling import device as dev

CPU = torch.device("cpu")


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    monkeypatch.setattr(dev.platform, "system", lambda: "Linux")


@pytest.fixture
def two_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_never_fails(no_gpu):
    assert dev.resolve("auto") == CPU
    assert dev.bare_name("auto") == "cpu"
    assert dev.choices() == ["auto", "cpu"]
    assert dev.describe("auto").startswith("cpu (")


@pytest.mark.parametrize(
    ("asked", "used"), [("auto", "cuda:0"), ("cuda", "cuda:0"), ("cuda:1", "cuda:1"), ("cpu", "cpu")]
)
def test_gpus_are_used_when_there(two_gpus, asked, used):
    assert dev.bare_name(asked) == used
    assert dev.choices() == ["auto", "cuda:0", "cuda:1", "cpu"]


def test_auto_takes_the_apple_gpu(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert dev.resolve("auto").type == "mps"
    assert "mps" in dev.why_no_gpu()


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cuda:-1", "cpu:1", "", "cuda:1:2"])
def test_an_unknown_name_is_refused(name):
    with pytest.raises(InputError, match="is not one of auto, cpu, cuda, cuda:n, mps"):
        dev.resolve(name)


@pytest.mark.parametrize("name", ["cuda", "cuda:3", "mps"])
def test_a_missing_device_is_refused_with_the_reason(no_gpu, name):
    with pytest.raises(InputError) as refused:
        dev.resolve(name)
    line = str(refused.value)
    assert line.startswith(f"device {name} is not available: ")
    assert "\n" not in line


def test_a_gpu_number_too_high_is_refused_with_the_limit(two_gpus):
    with pytest.raises(InputError, match="cuda:2 is not available: the last GPU here is cuda:1"):
        dev.resolve("cuda:2")


def test_why_no_gpu_without_gpu_support_in_torch(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", None)
    monkeypatch.setattr(torch.version, "hip", None)
    assert "built without GPU support" in dev.why_no_gpu()


def test_why_no_gpu_when_it_is_hidden(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert "CUDA_VISIBLE_DEVICES" in dev.why_no_gpu()


def test_why_no_gpu_without_a_driver(no_gpu, monkeypatch):
    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(dev, "_has_driver", lambda: False)
    assert "no NVIDIA driver" in dev.why_no_gpu()


def test_why_no_gpu_repeats_what_cuda_says(no_gpu, monkeypatch):
    def too_old():
        raise RuntimeError("The NVIDIA driver on your system is too old\nmore text")

    monkeypatch.setattr(torch.version, "cuda", "12.4")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(dev, "_has_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "init", too_old)
    line = dev.why_no_gpu()
    assert line.endswith("The NVIDIA driver on your system is too old")
    assert "\n" not in line


@pytest.mark.parametrize(
    ("asked", "dtype"),
    [("auto", torch.float32), ("fp32", torch.float32), ("bf16", torch.bfloat16), ("fp16", torch.float16)],
)
def test_precision_on_the_cpu(asked, dtype):
    assert dev.resolve_precision(asked, CPU) == dtype


@pytest.mark.parametrize(("capability", "dtype"), [((9, 0), torch.bfloat16), ((7, 5), torch.float16)])
def test_auto_precision_on_a_gpu_is_what_its_matrix_units_do(monkeypatch, capability, dtype):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert dev.resolve_precision("auto", torch.device("cuda", 0)) == dtype


def test_an_unknown_precision_is_refused():
    with pytest.raises(InputError, match="precision 'double' is not one of auto, fp32, bf16, fp16"):
        dev.resolve_precision("double", CPU)


def test_free_memory_is_what_a_program_can_still_take_of_the_machines():
    assert 2**20 < dev.free_bytes(CPU) < psutil.virtual_memory().total
