"""How a batch of tiles gets to the device and back.

One interface, two hands: :class:`DeviceTransfer` is for the CPU (and mps), where a copy is a copy;
:class:`CudaTransfer` does the same through two pinned buffers and one side stream each way, so that copies run beside
the computation.

Laws: the fn never sees the source's memory, so it may compute in place; an answer is valid until the second
upload after it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from napari_emsynth.volume import Float

Ticket = Callable[[], Float]
"""Waits for a download and returns it, [b, c, *size] float32."""

# Two: while one buffer is in flight the other is filled.
SLOTS = 2


def memory_format(axes: int) -> torch.memory_format:
    """Return channels-last for 2 or 3 spatial axes."""
    return {2: torch.channels_last, 3: torch.channels_last_3d}.get(axes, torch.contiguous_format)


def channels_last(module: nn.Module) -> nn.Module:
    """Lay out a module's kernels channels-last, each by its own number of axes; returns the module."""
    with torch.no_grad():
        for tensor in module.parameters():
            if tensor.ndim in (4, 5):
                tensor.data = tensor.data.contiguous(memory_format=memory_format(tensor.ndim - 2))
    return module


def sent(images: Tensor, device: torch.device) -> Tensor:
    """Return images [b, c, *size] on a device, channels last; of equal images the layout is equal on every device."""
    there = images.contiguous().to(device, non_blocking=True)
    return there.contiguous(memory_format=memory_format(images.ndim - 2))


class DeviceTransfer:
    """Host buffers that torch shares: no copy on the CPU but that from the source.

    Attributes:
        ahead: answers that may still be on their way while the next batch is computed.
    """

    ahead = 0

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._turn = 0
        self._inputs: list[Tensor | None] = [None] * SLOTS

    def buffer(self, shape: tuple[int, ...]) -> Float:
        """Return a float32 buffer [b, c, *size] to fill for the next :meth:`upload`."""
        self._turn = (self._turn + 1) % SLOTS
        host = self._inputs[self._turn]
        if host is None or host.shape != shape:
            host = self._inputs[self._turn] = self._empty(shape)
        return host.numpy()

    def upload(self) -> Tensor:
        """Return the buffer filled last on the device, [b, c, *size] float32, channels last."""
        host = self._inputs[self._turn]
        assert host is not None
        return sent(host, self.device)

    def download(self, answer: Tensor) -> Ticket:
        """Start to bring an answer [b, c, *size] of any float type back."""

        def wait() -> Float:
            return np.asarray(answer.float().cpu().numpy(), dtype=np.float32)

        return wait

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape)


class CudaTransfer(DeviceTransfer):
    """Pinned, double-buffered, asynchronous copies on side streams."""

    ahead = 1

    def __init__(self, device: torch.device) -> None:
        super().__init__(device)
        # Two streams: an upload queued behind a download would wait for the computation it should run beside.
        self._up, self._down = (torch.cuda.Stream(device) for _ in range(2))  # type: ignore[no-untyped-call]
        self._uploaded = [torch.cuda.Event() for _ in range(SLOTS)]  # type: ignore[no-untyped-call]
        self._outputs: list[Tensor | None] = [None] * SLOTS

    def buffer(self, shape: tuple[int, ...]) -> Float:
        """Return a pinned buffer; waits until its last upload has left it."""
        self._uploaded[(self._turn + 1) % SLOTS].synchronize()
        return super().buffer(shape)

    def upload(self) -> Tensor:
        """Queue the copy on its stream and make the computing stream wait for it."""
        host = self._inputs[self._turn]
        assert host is not None
        compute = torch.cuda.current_stream(self.device)
        with torch.cuda.stream(self._up):
            there = host.to(self.device, non_blocking=True)
            self._uploaded[self._turn].record(self._up)
        compute.wait_event(self._uploaded[self._turn])
        # Else the allocator could hand the memory out again while the computing stream reads it.
        there.record_stream(compute)
        return there.contiguous(memory_format=memory_format(host.ndim - 2))

    def download(self, answer: Tensor) -> Ticket:
        """Queue the copy on its stream, behind the computation."""
        turn, answer = self._turn, answer.float().contiguous()
        host = self._outputs[turn]
        if host is None or host.shape != answer.shape:
            host = self._outputs[turn] = self._empty(tuple(answer.shape))
        self._down.wait_stream(torch.cuda.current_stream(self.device))
        with torch.cuda.stream(self._down):
            host.copy_(answer, non_blocking=True)
            arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
            arrived.record(self._down)
        answer.record_stream(self._down)

        def wait() -> Float:
            arrived.synchronize()
            return host.numpy()

        return wait

    def _empty(self, shape: tuple[int, ...]) -> Tensor:
        return torch.empty(shape, pin_memory=True)


def transfer_for(device: torch.device) -> DeviceTransfer:
    """Return the transfer for a device."""
    return CudaTransfer(device) if device.type == "cuda" else DeviceTransfer(device)
