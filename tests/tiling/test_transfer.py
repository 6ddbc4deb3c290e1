"""The CUDA transfer's order of events, replayed without a GPU; and the CPU transfer's promise to the source."""

import importlib
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from napari_emsynth.spec import Runtime
from napari_emsynth.tiling import run
from napari_emsynth.tiling.transfer import CudaTransfer, DeviceTransfer


class Stream:
    def __init__(self, log, name):
        self.log, self.name = log, name

    def wait_event(self, event):
        self.log.append(("wait", self.name, event))

    def wait_stream(self, other):
        self.log.append(("wait", self.name, other.name))


class Event:
    def __init__(self, log):
        self.log = log

    def record(self, stream):
        self.log.append(("record", stream.name, self))

    def synchronize(self):
        self.log.append(("synchronize", "host", self))


@pytest.fixture
def log(monkeypatch):
    """Pretend to have a GPU whose memory is the CPU's; the order of events is written down."""
    log, names = [], iter(["up", "down"] * 9)

    @contextmanager
    def on(stream):
        log.append(("enter", stream.name, None))
        yield

    monkeypatch.setattr(torch.cuda, "Stream", lambda device: Stream(log, next(names)))
    monkeypatch.setattr(torch.cuda, "Event", lambda: Event(log))
    monkeypatch.setattr(torch.cuda, "stream", on)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: Stream(log, "compute"))
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda self, stream: log.append(("used by", stream.name, None)))
    monkeypatch.setattr(CudaTransfer, "_empty", lambda self, shape: torch.empty(shape))
    return log


def test_computing_waits_for_the_upload_and_the_download_for_computing(log):
    transfer = CudaTransfer(torch.device("cpu"))
    transfer.buffer((1, 1, 4, 4))[:] = 3
    there = transfer.upload()
    ticket = transfer.download(there * 2)
    assert (ticket() == 6).all()
    kinds = [(what, where) for what, where, _ in log]
    assert kinds == [
        ("synchronize", "host"),  # the buffer's last upload has left it
        ("enter", "up"), ("record", "up"), ("wait", "compute"), ("used by", "compute"),
        ("wait", "down"), ("enter", "down"), ("record", "down"), ("used by", "down"),
        ("synchronize", "host"),
    ]  # fmt: skip
    uploaded = log[2][2]
    assert log[3][2] is uploaded
    assert log[5][2] == "compute"
    assert log[9][2] is log[7][2]


def test_a_buffer_is_filled_again_only_after_its_upload(log):
    transfer = CudaTransfer(torch.device("cpu"))
    for _ in range(3):
        transfer.buffer((1, 1, 2, 2))
        transfer.upload()
    waits = [event for what, where, event in log if (what, where) == ("synchronize", "host")]
    records = [event for what, where, event in log if (what, where) == ("record", "up")]
    assert waits[2] is records[0]
    assert waits[1] is not waits[2]


def test_the_whole_engine_runs_through_the_double_buffers(log, monkeypatch):
    source = np.random.default_rng(0).normal(size=(1, 50, 60)).astype(np.float32)
    # The package exports the function under the module's name.
    module = importlib.import_module("napari_emsynth.tiling.run")
    monkeypatch.setattr(module, "transfer_for", CudaTransfer)
    got = run(lambda x: x * 2, source, halo=3, runtime=Runtime(device="cpu", tile=8), batch=3)
    np.testing.assert_allclose(got, source * 2, atol=1e-5)
    assert any(what == "record" for what, _, _ in log)


def test_an_answer_stays_valid_while_the_next_batch_is_filled():
    transfer = DeviceTransfer(torch.device("cpu"))
    transfer.buffer((1, 1, 2, 2))[:] = 1
    ticket = transfer.download(transfer.upload())
    transfer.buffer((1, 1, 2, 2))[:] = 2
    assert (ticket() == 1).all()


def test_buffers_are_reused():
    transfer = DeviceTransfer(torch.device("cpu"))
    first, second, third = (transfer.buffer((1, 1, 2, 2)) for _ in range(3))
    assert np.shares_memory(first, third)
    assert not np.shares_memory(first, second)
    assert transfer.buffer((2, 1, 2, 2)).shape == (2, 1, 2, 2)
