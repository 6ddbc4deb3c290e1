"""A Dask cluster: processes of this machine, or one that is running already."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from napari_emsynth.errors import InputError

# A scheduler that is there answers in milliseconds; a wrong address must not look like a long computation.
SECONDS_TO_ANSWER = 10


@contextmanager
def connect(*, workers: int | None = None, address: str | None = None) -> Iterator[Any]:
    """Yield a ``distributed.Client``; what was started here is stopped at the end.

    Args:
        workers: processes to start on this machine, which share its cores.
        address: of a running scheduler, such as tcp://host:8786. Its workers need this package, and must find
            lazy files under the same path. Excludes ``workers``.

    Raises:
        InputError: both or neither given, fewer than one worker, no scheduler at the address, or Dask's
            distributed scheduler is not installed.
    """
    if (workers is None) == (address is None):
        raise InputError("give either a number of workers or the address of a Dask scheduler")
    if workers is not None and workers < 1:
        raise InputError(f"workers = {workers} is below the limit of 1 worker")
    try:
        import distributed
    except ImportError:
        raise InputError('needs Dask\'s distributed scheduler: pip install "napari-emsynth[dask]"') from None
    if workers is not None:
        with (
            _own_environment(),
            _local(distributed, workers) as cluster,
            distributed.Client(cluster, set_as_default=False) as client,
        ):
            yield client
        return
    with _remote(distributed, str(address)) as client:
        yield client


def _local(distributed: Any, workers: int) -> Any:
    """Return a cluster of ``workers`` processes that share this machine's cores evenly."""
    import dask

    from napari_emsynth.tiling.threads import LIMIT, cores

    # One task at a time a process, with several threads inside: torch and NumPy use them, weights load once.
    share = str(max(1, cores() // workers))
    # Read when NumPy is loaded, which is before Dask sets a worker's own variables.
    early = {"OPENBLAS_NUM_THREADS": os.environ.get("OPENBLAS_NUM_THREADS", share)}
    with dask.config.set({"distributed.nanny.pre-spawn-environ": early}):
        return distributed.LocalCluster(
            n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None, silence_logs=50,
            env={LIMIT: share},
        )  # fmt: skip


@contextmanager
def _own_environment() -> Iterator[None]:
    """Take back what Dask sets in this process when it starts others: it would be taken for the user's decision."""
    before = dict(os.environ)
    try:
        yield
    finally:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)


def _remote(distributed: Any, address: str) -> Any:
    try:
        # Not the default of all Dask computations: a client that fails to connect would stay it.
        return distributed.Client(address, timeout=SECONDS_TO_ANSWER, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise InputError(f"no Dask scheduler answers at {address} within {SECONDS_TO_ANSWER} s: {reason}") from None
