"""Load torch and the methods away from the GUI thread, without holding the interpreter for long.

Importing torch maps 200 MB of shared libraries while it holds the interpreter lock: the window would stand
still for about 0.24 s (measured, two cores). Calling the C library's ``dlopen`` through ctypes releases the
lock, so the libraries are mapped first; what is left of the import then stalls the window for 25 ms at most.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import importlib.util
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from napari_emsynth.plugin.jobs.activity import LOADING
from napari_emsynth.plugin.jobs.queue import QueuedJob
from napari_emsynth.spec import MethodSpec, Task

# In the order in which they depend on each other; names that a build does not have are passed over.
LIBRARIES = ("libgomp", "libc10", "libtorch_cpu", "libtorch", "libshm", "libtorch_python")
# What a first repair needs beside torch, one a step so that a cancelled start ends soon.
MODULES = ("torch", "scipy.ndimage", "napari_emsynth.methods", "napari_emsynth.methods.interpolate")
RTLD_NOW = 2


@dataclass(frozen=True, kw_only=True)
class Engine:
    """What a form needs to know once the engine is loaded."""

    specs: tuple[MethodSpec, ...]
    devices: tuple[str, ...]
    why_no_gpu: str

    def of(self, task: Task) -> tuple[MethodSpec, ...]:
        """Return the methods of one task, its default first."""
        return tuple(spec for spec in self.specs if spec.task == task)

    def spec(self, method: str, task: Task = "interpolate") -> MethodSpec | None:
        """Return the method's description, None when there is no such method."""
        return next((spec for spec in self.of(task) if spec.id == method), None)


def load(check: Callable[[], None] = lambda: None) -> Engine:
    """Import torch and the methods, in a worker thread; ``check`` is called between steps and may raise."""
    with no_collection():
        preload_libraries(check)
        for name in MODULES:
            check()
            importlib.import_module(name)
        check()
        from napari_emsynth.methods import all_methods
        from napari_emsynth.tiling.device import choices, why_no_gpu

        return Engine(specs=tuple(all_methods()), devices=tuple(choices()), why_no_gpu=why_no_gpu())


@contextmanager
def no_collection() -> Iterator[None]:
    """Keep the garbage collector still: imports set it off again and again, 0.1 to 0.2 s each time (measured)."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def preload_libraries(check: Callable[[], None] = lambda: None) -> list[str]:
    """Map torch's shared libraries with the interpreter lock released; return the names that were mapped.

    Only a head start: on systems without ``dlopen`` nothing is done, and the import does it all.
    """
    if "torch" in sys.modules or not sys.platform.startswith(("linux", "darwin")):
        return []
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        return []
    dlopen = ctypes.CDLL(None).dlopen
    dlopen.restype, dlopen.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int)
    folder = Path(spec.submodule_search_locations[0]) / "lib"
    mapped = []
    for name in LIBRARIES:
        for file in sorted(folder.glob(f"{name}.*")) if folder.is_dir() else []:
            check()
            if dlopen(str(file).encode(), RTLD_NOW):
                mapped.append(file.name)
    return mapped


def ready(job: QueuedJob) -> None:
    """Load the engine before a job needs it: its own imports would hold the window up."""
    job.report(0, 0, LOADING)
    load(job.cancel.check)
    job.report(0, 0, "")
