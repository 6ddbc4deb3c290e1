"""Laws of the engine: tiled equals whole for real networks, input untouched, memory and cancel behave."""

import numpy as np
import pytest
import torch
from torch import nn

from napari_emsynth.errors import Cancelled, InputError
from napari_emsynth.spec import CancelToken, Runtime
from napari_emsynth.tiling import plan, run


def net(axes, *, valid, channels=2):
    """Two 3-wide convolutions: a receptive field of 2 voxels on each side."""
    conv = {2: nn.Conv2d, 3: nn.Conv3d}[axes]
    torch.manual_seed(0)
    pad = 0 if valid else 1
    return nn.Sequential(
        conv(channels, 5, 3, padding=pad), nn.ReLU(), conv(5, 3, 3, padding=pad)
    ).eval()  # fmt: skip


def image(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def whole(fn, source, halo):
    """The reference, without the engine: pad by reflection with numpy, one call, crop."""
    padded = np.pad(source, [(0, 0)] + [(halo, halo)] * (source.ndim - 1), mode="reflect")
    with torch.inference_mode():
        answer = fn(torch.from_numpy(padded)[None])[0].numpy()
    middle = [(a - s) // 2 for a, s in zip(answer.shape[1:], source.shape[1:], strict=True)]
    crop = (slice(m, m + s) for m, s in zip(middle, source.shape[1:], strict=True))
    return answer[(slice(None), *crop)]


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "same"])
@pytest.mark.parametrize("tile", [1, 7, 16, 64])
@pytest.mark.parametrize("shape", [(1, 1), (1, 7), (3, 5), (33, 50)])
def test_tiled_equals_whole_2d(shape, tile, valid):
    fn, source = net(2, valid=valid), image(2, *shape)
    got = run(fn, source, halo=2, runtime=Runtime(device="cpu", tile=tile), out_channels=3)
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=1e-5)


@pytest.mark.parametrize("valid", [True, False], ids=["valid", "same"])
@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 9, 4), (7, 20, 23)])
def test_tiled_equals_whole_3d(shape, valid):
    fn, source = net(3, valid=valid), image(2, *shape)
    got = run(fn, source, halo=2, runtime=Runtime(device="cpu"), tile=(4, 9, 8))
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=1e-5)


def test_a_network_that_is_valid_along_one_axis_only():
    torch.manual_seed(0)
    fn = nn.Conv3d(1, 1, 3, padding=(0, 1, 1)).eval()
    source = image(1, 6, 15, 14)
    got = run(fn, source, halo=1, runtime=Runtime(device="cpu", tile=6), tile=(2, 6, 6))
    np.testing.assert_allclose(got, whole(fn, source, 1), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (50, 37)])
def test_tiled_equals_whole_for_a_network_with_strides(shape):
    torch.manual_seed(0)
    fn = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.MaxPool2d(4), nn.Conv2d(4, 4, 3, padding=1),
        nn.Upsample(scale_factor=4), nn.Conv2d(4, 1, 3, padding=1),
    ).eval()  # fmt: skip
    source = image(1, *shape)
    # Receptive field: 1 + 4 + 3 + 1 voxels; 12 is a multiple of 4, 10 is not.
    for halo in (10, 12):
        one = run(fn, source, halo=halo, multiple=4, runtime=Runtime(device="cpu", tile=999))
        many = run(fn, source, halo=halo, multiple=4, runtime=Runtime(device="cpu", tile=14))
        np.testing.assert_allclose(many, one, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 1), (5, 3), (40, 41)])
def test_constant_in_is_constant_out(shape):
    source = np.full((1, *shape), 0.7, dtype=np.float32)
    runtime = Runtime(device="cpu", tile=9)
    got = run(lambda x: nn.functional.avg_pool2d(x, 7, 1), source, halo=3, runtime=runtime)
    assert abs(got - 0.7).max() < 1e-5


@pytest.mark.parametrize("batch", [1, 3, 8, None])
def test_batches_change_nothing(batch):
    fn, source = net(2, valid=False), image(2, 60, 45)
    got = run(fn, source, halo=2, runtime=Runtime(device="cpu", tile=11), batch=batch)
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 4, 16, 16)])
def test_the_source_is_untouched_by_a_fn_that_computes_in_place(shape):
    source = image(*shape)
    kept = source.copy()
    source.setflags(write=False)
    got = run(lambda x: x.add_(1), source, halo=0, runtime=Runtime(device="cpu"))
    np.testing.assert_array_equal(source, kept)
    np.testing.assert_array_equal(got, kept + 1)


def test_a_stochastic_fn_follows_the_seed_and_leaves_the_users_generator_alone():
    source = image(1, 30, 30)

    def noisy(seed):
        return run(lambda x: x + torch.randn_like(x), source, halo=1, runtime=Runtime(device="cpu", tile=9, seed=seed))

    before = torch.random.get_rng_state()
    np.testing.assert_array_equal(noisy(1), noisy(1))
    assert abs(noisy(1) - noisy(2)).max() > 0.1
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_computes_in_half_and_answers_in_float32(precision):
    fn, source, seen = net(2, valid=False), image(2, 24, 24), []

    def watched(x):
        answer = fn(x)
        seen.append(answer.dtype)
        return answer

    got = run(watched, source, halo=2, runtime=Runtime(device="cpu", precision=precision))
    assert set(seen) == {{"bf16": torch.bfloat16, "fp16": torch.float16}[precision]}
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=0.05)


@pytest.mark.parametrize(("axes", "layout"), [(2, torch.channels_last), (3, torch.channels_last_3d)])
def test_tiles_and_weights_are_channels_last_and_nothing_is_recorded(axes, layout):
    fn, seen = net(axes, valid=False), []
    fn.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    run(fn, image(2, *(8,) * axes), halo=2, runtime=Runtime(device="cpu"))
    assert seen[0].is_contiguous(memory_format=layout)
    assert fn[0].weight.is_contiguous(memory_format=layout)
    assert seen[0].is_inference()


def test_progress_counts_every_tile():
    calls = []
    runtime = Runtime(device="cpu", tile=8, progress=lambda *call: calls.append(call))
    run(lambda x: x, image(1, 32, 16), halo=1, runtime=runtime, batch=3)
    assert calls == [(n, 8, "tiles") for n in range(9)]


def test_cancel_stops_before_the_next_tile():
    token, computed = CancelToken(), []

    def fn(x):
        computed.append(len(x))
        if len(computed) == 3:
            token.cancel()
        return x

    with pytest.raises(Cancelled):
        run(fn, image(1, 64, 64), halo=0, runtime=Runtime(device="cpu", tile=8, cancel=token), batch=1)
    assert len(computed) == 3


def test_cancel_before_the_start_computes_nothing():
    token = CancelToken()
    token.cancel()
    with pytest.raises(Cancelled):
        run(lambda x: pytest.fail("computed"), image(1, 8, 8), halo=0, runtime=Runtime(device="cpu", cancel=token))


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
    ids=["torch", "python", "allocator"],
)
def test_out_of_memory_takes_smaller_tiles_and_says_so(error):
    fn, source, notes = net(2, valid=False), image(2, 130, 140), []

    def hungry(x):
        if x.numel() > 2 * 70 * 70:
            raise error
        return fn(x)

    runtime = Runtime(device="cpu", tile=128, note=notes.append)
    got = run(hungry, source, halo=2, runtime=runtime, batch=1)
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=1e-5)
    assert notes == ["out of memory on cpu: smaller tiles, 64 x 64 instead of 128 x 128 px"]


def test_out_of_memory_half_way_keeps_what_is_finished():
    fn, source, notes, sizes = net(2, valid=False), image(2, 256, 64), [], []

    def fails_late(x):
        sizes.append(x.shape[2])
        if len(sizes) == 4:
            raise MemoryError
        return fn(x)

    runtime = Runtime(device="cpu", note=notes.append)
    got = run(fails_late, source, halo=2, runtime=runtime, tile=64, batch=1)
    np.testing.assert_allclose(got, whole(fn, source, 2), atol=1e-5)
    assert len(notes) == 1
    # The 64 px tiles had done more than a third; the 32 px tiles do the rest only.
    again = plan((256, 64), (32, 32), (2, 2))
    assert len(sizes) - 4 < 0.75 * len(again)


def test_a_batch_that_is_too_large_is_taken_apart_first():
    notes = []

    def hungry(x):
        if len(x) > 1:
            raise MemoryError
        return x

    source = image(1, 64, 64)
    got = run(hungry, source, halo=0, runtime=Runtime(device="cpu", tile=32, note=notes.append), batch=4)
    np.testing.assert_array_equal(got, source)
    assert notes == ["out of memory on cpu: computing one tile at a time instead of 4"]


def test_when_nothing_fits_the_user_gets_one_line():
    def hopeless(x):
        raise MemoryError

    with pytest.raises(MemoryError, match=r"out of memory on cpu, even with tiles of 32 x 32 px"):
        run(hopeless, image(1, 200, 200), halo=0, runtime=Runtime(device="cpu"))


def test_other_errors_are_not_taken_for_memory():
    def broken(x):
        raise RuntimeError("shapes differ")

    with pytest.raises(RuntimeError, match="shapes differ"):
        run(broken, image(1, 8, 8), halo=0, runtime=Runtime(device="cpu"))


def test_a_fn_that_answers_another_size_is_a_mistake():
    with pytest.raises(ValueError, match="twice the halo"):
        run(lambda x: x[..., 1:], image(1, 8, 8), halo=1, runtime=Runtime(device="cpu"))
    with pytest.raises(ValueError, match="answered 1 channels, promised 2"):
        run(lambda x: x, image(1, 8, 8), halo=1, runtime=Runtime(device="cpu"), out_channels=2)


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"runtime": Runtime(tile=0)}, "tile 0 px is below the limit of 1 px"),
        ({"runtime": Runtime(device="tpu")}, "device 'tpu' is not one of"),
        ({"runtime": Runtime(precision="int8")}, "precision 'int8' is not one of"),
        ({"halo": (1, 2, 3)}, "halo (1, 2, 3) has 3 numbers, needs 2"),
        ({"halo": -1}, "halo -1 voxels is below the limit of 0"),
    ],
)
def test_nonsense_is_refused_before_anything_is_computed(more, words):
    arguments = {"halo": 0, "runtime": Runtime(device="cpu")} | more
    with pytest.raises(InputError) as refused:
        run(lambda x: pytest.fail("computed"), image(1, 8, 8), **arguments)
    assert words in str(refused.value)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA GPU")
def test_cuda_equals_cpu():
    fn, source = net(2, valid=False), image(2, 300, 500)
    cpu = run(fn, source, halo=2, runtime=Runtime(device="cpu", tile=64))
    gpu = run(fn, source, halo=2, runtime=Runtime(device="cuda", precision="fp32", tile=64), batch=3)
    np.testing.assert_allclose(gpu, cpu, atol=2e-3)  # TensorFloat-32 has 10 bits
