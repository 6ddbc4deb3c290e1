"""A device that is not the CPU, on a machine that has no other: what breaks on a GPU breaks here.

Inside :func:`second_device` the device ``"second"`` works as ``"cuda"`` would::

    with second_device() as counts:
        answer = es.align(stack, device="second")
    assert counts.back < 50

Its tensors (:class:`Second`) hold their values on the CPU, which computes them. Laws: answers are those of the CPU, bit
for bit; an operation on tensors of both devices is refused, but for single numbers and indices, as on a GPU; every
operation there is counted, every copy to it, and every copy back or wait for its values (a number read, a mask turned
into positions). Nothing is said of speed; but who takes many small operations, or waits often, starves a GPU.

PyTorch has one place for a device of another's making. It is taken for the rest of the process when the device is first
used; where another one has it already, this one is refused. What it is made with is experimental (seen with PyTorch
2.13): where it is missing, :data:`AVAILABLE` is False.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

import torch
from torch import Tensor
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

NAME = "second"
AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")

# What takes indices, which may lie on the CPU.
INDEXED = frozenset({"aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_"})
# What answers a number, or in a size that depends on the values: the CPU waits until all before it is computed.
WAITS = frozenset(
    {"aten::_local_scalar_dense", "aten::equal", "aten::nonzero", "aten::masked_select", "aten::_unique2",
     "aten::unique_dim", "aten::unique_consecutive"}
)  # fmt: skip
COMPOUND = torch._C.DispatchKey.CompositeImplicitAutograd

T = TypeVar("T")


@dataclass
class Counts:
    """What happened on the device.

    Args:
        operations: computed there, views included.
        there: copies of tensors to the device.
        back: copies from it, numbers read, and waits for a size that depends on values.
    """

    operations: int = 0
    there: int = 0
    back: int = 0


_counts = Counts()


@contextmanager
def second_device() -> Iterator[Counts]:
    """Let the device work in this thread; yields what is counted meanwhile.

    Raises:
        RuntimeError: this PyTorch has no room for it, or another device has taken it.
    """
    global _counts
    register()
    before, _counts = _counts, Counts()
    try:
        with _Watch():
            yield _counts
    finally:
        _counts = before


def on_both(run: Callable[[str], T]) -> tuple[T, T, Counts]:
    """Return what ``run`` answers on the CPU and on this device, and what was counted there.

    Args:
        run: given the device's name.
    """
    register()
    here = run("cpu")
    with second_device() as counts:
        return here, run(NAME), counts


def register() -> None:
    """Tell PyTorch of the device, once a process, before it computes its first gradient: later, none can be had there.

    A test module calls this at its head: modules are imported before any test runs.

    Raises:
        RuntimeError: this PyTorch has no room for it, or another device has taken it.
    """
    if hasattr(torch, NAME):
        return
    taken = torch._C._get_privateuse1_backend_name()
    if not AVAILABLE or taken != "privateuseone":
        why = f"device {taken!r} has its place" if AVAILABLE else "it has no devices that are made in Python"
        raise RuntimeError(f"device {NAME!r} cannot be had with PyTorch {torch.__version__}: {why}")
    backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_module())
    # It gave every module a method of this name, which would hide a part that a network calls so.
    delattr(torch.nn.Module, NAME)
    for name, kernel in KERNELS.items():
        LIBRARY.impl(name, kernel, "PrivateUse1")  # type: ignore[no-untyped-call]


def _module() -> Any:
    """Return what stands where ``torch.cuda`` does for CUDA."""

    class Module(backend_registration._DummyBackendModule):
        def get_amp_supported_dtype(self) -> list[torch.dtype]:
            return [torch.bfloat16, torch.float16]

    return Module()


class Second(Tensor):
    """A tensor on the device.

    Args:
        held: its values, on the CPU.
        requires_grad: as of any tensor.
    """

    held: Tensor
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @staticmethod
    def __new__(cls, held: Tensor, requires_grad: bool = False) -> Second:
        """Make a tensor of the values' size and layout that says it lies on the device."""
        # A view of a tensor that autograd may know of is such a tensor itself, in inference mode too.
        with torch.inference_mode(held.is_inference()):
            made: Second = Tensor._make_wrapper_subclass(
                cls, held.shape, strides=held.stride(), storage_offset=held.storage_offset(),
                dtype=held.dtype, device=torch.device(NAME, 0), requires_grad=requires_grad,
            )  # fmt: skip
        made.held = held
        return made

    def __init__(self, held: Tensor, requires_grad: bool = False) -> None:
        pass

    def __repr__(self) -> str:  # type: ignore[override]
        return f"Second({self.held!r})"

    @property
    def data(self) -> Tensor:
        """The tensor without its history; what is assigned takes its place."""
        return self.detach()

    @data.setter
    def data(self, other: Tensor) -> None:
        assert isinstance(other, Second), "a tensor stays on its device"
        Tensor.data.__set__(self, other)  # type: ignore[attr-defined]
        self.held = other.held

    def tolist(self) -> Any:
        """Return the values as numbers; a copy back."""
        return self.cpu().tolist()

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        return ["held"], None

    @staticmethod
    def __tensor_unflatten__(inner: dict[str, Tensor], *_: Any) -> Second:
        return Second(inner["held"])

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _computed(func, args, kwargs or {})


class _Watch(TorchDispatchMode):
    """Sees what no tensor of the device is part of: tensors made there, and copied to it."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _computed(func, args, kwargs or {})


def _computed(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer one operation."""
    tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)]
    place = kwargs.get("device")
    if not _is_second(place) and not any(isinstance(x, Second) for x in tensors):
        return func(*args, **kwargs)
    if torch.is_inference_mode_enabled() and _is_compound(func.name()):
        # Where nothing is recorded for autograd, PyTorch leaves it to us to take compound operations apart.
        with _Watch():
            return func._op_dk(COMPOUND, *args, **kwargs)
    name = func._schema.name
    _counts.operations += 1
    if name in ("aten::_to_copy", "aten::copy_"):
        return _copied(func, args, kwargs)
    _check_together(name, tensors)
    _check_generator(args, kwargs)
    _counts.back += name in WAITS or (name in INDEXED and any(_is_mask(x) for x in tree_leaves(args[1])))
    if place is not None:
        kwargs = kwargs | {"device": torch.device("cpu")}
    out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
    if place is not None and not _is_second(place):
        return out
    return return_and_correct_aliasing(func, args, kwargs, tree_map(_wrapped, out))  # type: ignore[no-untyped-call]


def _copied(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Answer a copy: to the device, back, or within it."""
    if func._schema.name == "aten::copy_":
        to, source = args[:2]
        _count_copy(source, to_second=isinstance(to, Second))
        func(*tree_map(_held, args), **kwargs)
        return to
    (source,), place = args, kwargs.get("device")
    to_second = isinstance(source, Second) if place is None else _is_second(place)
    _count_copy(source, to_second=to_second)
    kept = {k: v for k, v in kwargs.items() if k not in ("device", "non_blocking", "pin_memory")}
    out = func(_held(source), **kept)
    return _wrapped(out) if to_second else out


def _count_copy(source: Tensor, *, to_second: bool) -> None:
    from_second = isinstance(source, Second)
    _counts.there += to_second and not from_second
    _counts.back += from_second and not to_second


def _check_together(name: str, tensors: list[Tensor]) -> None:
    """Refuse an operation on tensors of both devices; count indices that are copied to this one.

    Raises:
        RuntimeError: as PyTorch does for any two devices.
    """
    strangers = [x for x in tensors if not isinstance(x, Second) and x.dim() > 0]
    if not strangers:
        return
    if name in INDEXED and not any(x.is_floating_point() for x in strangers):
        _counts.there += len(strangers)
        return
    shapes = ", ".join(str(tuple(x.shape)) for x in strangers)
    raise RuntimeError(
        f"Expected all tensors to be on the same device, but found at least two devices, {NAME}:0 and cpu: "
        f"{name} was given {shapes} on the cpu"
    )


def _check_generator(args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Refuse to draw there by a generator of the CPU.

    Raises:
        RuntimeError: as PyTorch does.
    """
    if any(isinstance(x, torch.Generator) for x in (*args, *kwargs.values())):
        raise RuntimeError(f"Expected a {NAME!r} device type for generator but found 'cpu'")


@cache
def _is_compound(name: str) -> bool:
    return torch._C._dispatch_has_kernel_for_dispatch_key(name, COMPOUND)


def _is_second(place: Any) -> bool:
    return place is not None and torch.device(place).type == NAME


def _is_mask(x: Any) -> bool:
    return isinstance(x, Tensor) and x.dtype in (torch.bool, torch.uint8)


def _held(x: Any) -> Any:
    return x.held if isinstance(x, Second) else x


def _wrapped(x: Any) -> Any:
    return Second(x) if isinstance(x, Tensor) and not isinstance(x, Second) else x


# ``torch.tensor(values, device=...)`` is seen by no mode; it asks the device itself for these.


def _empty(size: Any, *, dtype: Any = None, memory_format: Any = None, **_: Any) -> Second:
    return Second(torch.empty(size, dtype=dtype, memory_format=memory_format or torch.contiguous_format))


def _empty_strided(size: Any, stride: Any, *, dtype: Any = None, **_: Any) -> Second:
    return Second(torch.empty_strided(size, stride, dtype=dtype))


def _copy_from(source: Tensor, to: Tensor, non_blocking: bool = False) -> Tensor:  # noqa: ARG001 - as PyTorch calls it
    _count_copy(source, to_second=isinstance(to, Second))
    _held(to).copy_(_held(source))
    return to


LIBRARY = torch.library.Library("aten", "IMPL")  # type: ignore[no-untyped-call]
KERNELS = {"empty.memory_format": _empty, "empty_strided": _empty_strided, "_copy_from": _copy_from}
