"""Which device computes, in which precision, and a plain answer to "why no GPU?".

Laws: "auto" never fails; a device that was asked for by name is used or refused in one line, never replaced.
"""

from __future__ import annotations

import os
import platform
import shutil
import warnings
from pathlib import Path

import psutil
import torch

from napari_emsynth.errors import InputError

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def resolve(device: str) -> torch.device:
    """Return the torch device for "auto", "cpu", "cuda", "cuda:n" or "mps", or for any other that PyTorch has here.

    Raises:
        InputError: an unknown name, or a device this machine does not have (with the reason).
    """
    kind, _, number = device.partition(":")
    if _is_other(device):
        return torch.device(kind, int(number or 0))
    if kind not in ("auto", "cpu", "cuda", "mps") or (number and not (kind == "cuda" and number.isdecimal())):
        raise InputError(f"device {device!r} is not one of auto, cpu, cuda, cuda:n, mps")
    if kind == "auto":
        kind = "cuda" if _cuda_count() else "mps" if _has_mps() else "cpu"
    if kind == "cuda":
        count, index = _cuda_count(), int(number or 0)
        if count == 0:
            raise InputError(f"device {device} is not available: {why_no_gpu()}")
        if index >= count:
            raise InputError(f"device {device} is not available: the last GPU here is cuda:{count - 1}")
        return torch.device("cuda", index)
    if kind == "mps" and not _has_mps():
        raise InputError(f"device mps is not available: {_why_no_mps()}")
    return torch.device(kind)


def resolve_precision(precision: str, device: torch.device) -> torch.dtype:
    """Return the dtype networks compute in: "auto" is half precision on CUDA, float32 elsewhere.

    Raises:
        InputError: not one of auto, fp32, bf16, fp16.
    """
    if precision in PRECISIONS:
        return PRECISIONS[precision]
    if precision != "auto":
        raise InputError(f"precision {precision!r} is not one of auto, {', '.join(PRECISIONS)}")
    if device.type != "cuda":
        return torch.float32
    # bfloat16 has matrix units from compute capability 8.0 on; before, only float16 is fast.
    return torch.bfloat16 if torch.cuda.get_device_capability(device) >= (8, 0) else torch.float16


def precision_name(dtype: torch.dtype) -> str:
    """Return "fp32", "bf16" or "fp16"."""
    return next(name for name, known in PRECISIONS.items() if known == dtype)


def bare_name(device: str | torch.device) -> str:
    """Return what JSON and provenance call the device: "cpu", "cuda:0" or "mps"; resolves "auto"."""
    return str(resolve(device) if isinstance(device, str) else device)


def describe(device: str | torch.device) -> str:
    """Return what a person calls the device, such as "cuda:0 (NVIDIA H200, 139 GiB)"."""
    known = resolve(device) if isinstance(device, str) else device
    if known.type == "cuda":
        card = torch.cuda.get_device_properties(known)
        return f"{known} ({card.name}, {card.total_memory / 2**30:.0f} GiB)"
    if known.type == "mps":
        return "mps (Apple GPU)"
    return f"cpu ({torch.get_num_threads()} threads)" if known.type == "cpu" else str(known)


def choices() -> list[str]:
    """Return the devices this machine can compute on, "auto" first, for a form."""
    return ["auto", *(f"cuda:{n}" for n in range(_cuda_count())), *(["mps"] if _has_mps() else []), "cpu"]


def free_bytes(device: torch.device) -> int | None:
    """Return the memory that is free on the device, in bytes; None when it cannot be told."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return int(psutil.virtual_memory().available) if device.type in ("cpu", "mps") else None


def why_no_gpu() -> str:
    """Return one plain line: why computing happens on the CPU, or which GPU is used."""
    if _cuda_count():
        return f"a GPU is available: {describe('cuda')}"
    if _has_mps():
        return "a GPU is available: mps (Apple GPU)"
    if platform.system() == "Darwin":
        return _why_no_mps()
    if torch.version.cuda is None and torch.version.hip is None:
        return (
            f"the installed PyTorch {torch.__version__} is built without GPU support; "
            "install a CUDA build (pytorch.org/get-started)"
        )
    if os.environ.get("CUDA_VISIBLE_DEVICES", "unset") in ("", "-1"):
        return "the GPU is hidden from programs: CUDA_VISIBLE_DEVICES is set to none; unset it"
    if not _has_driver():
        return "no NVIDIA driver is running on this machine (no GPU, or its driver is not installed)"
    return f"PyTorch {torch.__version__} (CUDA {torch.version.cuda}) cannot use the GPU: {_cuda_complaint()}"


def _is_other(device: str) -> bool:
    """True for a device of another kind that PyTorch, or an extension of it, has on this machine."""
    try:
        known = torch.device(device)
        if known.type in ("cpu", "cuda", "mps"):
            return False
        module = torch.get_device_module(known)
    except RuntimeError:
        return False
    return bool(module.is_available()) and (known.index or 0) < module.device_count()


def _cuda_count() -> int:
    with warnings.catch_warnings():
        # A driver that is too old is told as a warning; why_no_gpu repeats it when asked.
        warnings.simplefilter("ignore")
        return torch.cuda.device_count() if torch.cuda.is_available() else 0


def _has_mps() -> bool:
    return torch.backends.mps.is_available()


def _why_no_mps() -> str:
    if platform.system() != "Darwin":
        return "mps exists only on Apple computers"
    if not torch.backends.mps.is_built():
        return f"the installed PyTorch {torch.__version__} is built without Apple GPU (MPS) support"
    return "the Apple GPU (MPS) needs macOS 14 or later on an Apple-silicon computer"


def _has_driver() -> bool:
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def _cuda_complaint() -> str:
    """Return the first line of what CUDA says when it is started."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            torch.cuda.init()  # type: ignore[no-untyped-call]
        except (RuntimeError, AssertionError) as error:
            return str(error).strip().splitlines()[0]
    return "it reports no device"
