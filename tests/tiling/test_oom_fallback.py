"""The out-of-memory ladder: finite, downwards, each step said in one line."""

import pytest
import torch

from napari_emsynth.tiling.oom_fallback import Fallback, is_out_of_memory, next_fallback

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")


def descend(start):
    ways, lines, now = [start], [], start
    while (step := next_fallback(now, start)) is not None:
        now, line = step
        ways.append(now)
        lines.append(line)
        assert len(ways) < 50
    return ways, lines


def test_a_gpu_gives_up_batch_then_tile_then_precision_then_the_gpu():
    ways, lines = descend(Fallback(CUDA, torch.float32, (100, 130), 4))
    steps = [(r.device.type, r.dtype, r.tile, r.batch) for r in ways]
    assert steps == [
        ("cuda", torch.float32, (100, 130), 4),
        ("cuda", torch.float32, (100, 130), 1),
        ("cuda", torch.float32, (50, 65), 1),
        ("cuda", torch.float32, (32, 32), 1),
        ("cuda", torch.float16, (32, 32), 1),
        ("cpu", torch.float32, (100, 130), 1),
        ("cpu", torch.float32, (50, 65), 1),
        ("cpu", torch.float32, (32, 32), 1),
    ]
    for line, word in zip(lines, ["one tile", "smaller", "smaller", "fp16", "CPU", "smaller", "smaller"], strict=True):
        assert word in line
        assert "\n" not in line


def test_half_precision_is_not_offered_twice():
    ways, _ = descend(Fallback(CUDA, torch.bfloat16, (32, 32), 1))
    assert [(r.device.type, r.dtype) for r in ways] == [("cuda", torch.bfloat16), ("cpu", torch.float32)]


def test_thin_axes_are_not_made_thinner():
    ways, _ = descend(Fallback(CPU, torch.float32, (1, 16, 128), 1))
    assert ways[-1].tile == (1, 16, 32)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (torch.OutOfMemoryError("x"), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("size mismatch"), False),
        (ValueError("out of memory"), False),
    ],
)
def test_what_counts_as_out_of_memory(error, expected):
    assert is_out_of_memory(error) is expected
