"""Tasks compute with the threads that their sections are worth; torch is not loaded for that."""

import subprocess
import sys

import dask.array as da
import numpy as np
import pytest
import torch

from napari_emsynth.methods import working as module
from napari_emsynth.methods.align.task import align
from napari_emsynth.methods.interpolate.task import interpolate
from napari_emsynth.methods.superres.task import superresolve
from napari_emsynth.methods.upsample.task import upsample
from napari_emsynth.methods.working import section_px, torch_is_here, working
from napari_emsynth.testing.phantoms import Phantom
from napari_emsynth.tiling import threads as policy
from napari_emsynth.tiling.threads import LARGE_PX

STACK = Phantom(shape=(7, 40, 48)).volume()


@pytest.fixture
def asked(monkeypatch):
    """Which numbers of threads were asked for."""
    seen = []
    threads = policy.threads

    def spy(number):
        seen.append(number)
        return threads(number)

    monkeypatch.setattr(policy, "threads", spy)
    monkeypatch.setattr(policy, "fitting", lambda pixels=None, spare=0: 1 if pixels < LARGE_PX else 7)
    return seen


@pytest.mark.parametrize(
    "task",
    [
        lambda v: interpolate(v, [3], method="linear"),
        lambda v: align(v, method="optical-flow", selfcheck=False),
        lambda v: upsample(v, 2, method="linear", selfcheck=False),
        lambda v: superresolve(v, 8, method="bicubic", selfcheck=False),
    ],
)
def test_every_task_asks_for_the_threads_of_its_sections(asked, task):
    task(STACK)
    assert asked[0] == 1
    asked.clear()
    task(STACK.data)  # arrays too
    assert asked[0] == 1


def test_lazy_results_ask_when_they_are_drawn(asked):
    lazy = upsample(da.from_array(STACK.data), 2, method="linear", selfcheck=False).volume.data
    mended = interpolate(da.from_array(STACK.data), [3], method="linear", selfcheck=False).volume.data
    asked.clear()
    lazy[1].compute(scheduler="synchronous")
    mended[3].compute(scheduler="synchronous")
    assert asked == [1, 1]


def test_sections_decide(asked):
    for shape in ((2, 64, 64), (2, 511, 512), (2, 512, 512), (900, 512, 600)):
        with working(section_px(np.broadcast_to(0, shape))):
            pass
    assert asked == [1, 1, 7, 7]
    assert section_px(None) == section_px(np.zeros((3, 3))) == 0


def test_torch_that_is_loaded_on_the_way_takes_the_number_and_gives_it_back(asked, monkeypatch):
    before = torch.get_num_threads()
    monkeypatch.delitem(sys.modules, "torch")
    with working(10):
        assert asked == []
        torch_is_here()
        assert asked == []  # it is not
        monkeypatch.setitem(sys.modules, "torch", torch)
        torch_is_here()
        torch_is_here()
        assert asked == [1]
    assert module._WAITING.work is None
    torch_is_here()
    assert asked == [1]
    assert torch.get_num_threads() == before


def test_a_method_without_a_network_loads_no_torch():
    program = (
        "import sys, numpy as np; from napari_emsynth.methods.interpolate.task import interpolate; "
        "interpolate(np.random.default_rng(0).integers(0, 255, (7, 40, 40)).astype(np.uint8), [3], method='linear'); "
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=120)
