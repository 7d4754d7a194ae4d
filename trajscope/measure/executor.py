"""Where dask runs the pass: threads here, processes here, or a cluster that is already there."""

import asyncio
import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from typing import Any, Final

from trajscope.errors import OptionError, printable
from trajscope.measure.blas import one_blas_thread

# Under a nanny, dask returns every freed page to the system at once, and code that allocates
# scratch runs three times slower; these thresholds let a worker keep what it will use again.
_ALLOCATOR: Final = {
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}


_PATIENCE: Final = 10
"""Seconds that a scheduler may take to answer, and a first worker to appear."""


_UNGUARDED: Final = 3
"""Exit code of a worker that would start workers of its own."""
_LOOK: Final = 5
"""Seconds between two looks at a cluster that computes."""
_ALONE: Final = 60
"""Seconds that it may be without workers, which a batch system may start anew."""


OnDone = Callable[[str, Any], None]


@dataclass(frozen=True)
class Executor:
    """A way to compute delayed values.

    Attributes
    ----------
    compute :
        ``(delayed values, at once, on_done) -> results`` in the same order, no more tasks at once
        in one process than told; `on_done` is called with the key and the result of each task that
        ends, where that can be seen, and at least of every delayed value.
    n_workers, per_process :
        How many tasks run at once, in all and in one process.
    shares_memory :
        Whether they run in this process, so that their memory is this process's.
    """

    compute: Callable[[Sequence[Any], int, OnDone], Sequence[Any]]
    n_workers: int
    per_process: int
    shares_memory: bool


@contextmanager
def executor(workers: int | None, scheduler: str | None) -> Iterator[Executor]:
    """The executor asked for, else the active dask client, else one thread per core.

    Parameters
    ----------
    workers :
        Start this many local worker processes.
    scheduler :
        Address of a running dask scheduler, such as "tcp://host:8786".

    Raises
    ------
    OptionError
        Both are given, the number is not positive, or no scheduler answers.
    """
    if workers is not None and scheduler is not None:
        raise OptionError("--workers and --scheduler were both given; one is expected.")
    if workers is not None:
        if workers < 1:
            raise OptionError(f"--workers is {workers}; a positive number is expected.")
        with _local_cluster(workers) as client:
            yield _on_client(client)
    elif scheduler is not None:
        with _connect(scheduler) as client:
            yield _on_client(client)
    elif (client := _active_client()) is not None:
        yield _on_client(client)
    else:
        from dask.system import CPU_COUNT

        yield _threads(CPU_COUNT)


def _threads(n_workers: int) -> Executor:
    def compute(values: Sequence[Any], at_once: int, on_done: OnDone) -> Sequence[Any]:
        import dask
        from dask.callbacks import Callback

        def posttask(key: Any, result: Any, *_: Any) -> None:
            on_done(str(key), result)

        # Around the tasks too, so that it is set once and not by each of them.
        with one_blas_thread(), Callback(posttask=posttask):
            results: Sequence[Any] = dask.compute(
                *values, scheduler="threads", num_workers=at_once, optimize_graph=False
            )
        return results

    return Executor(compute, n_workers, per_process=n_workers, shares_memory=True)


def _on_client(client: Any) -> Executor:  # distributed is untyped
    from distributed import KilledWorker

    def compute(values: Sequence[Any], at_once: int, on_done: OnDone) -> Sequence[Any]:
        futures = client.compute(list(values), optimize_graph=False)
        try:
            results: Sequence[Any] = _gathered(client, futures)
        except KilledWorker as error:
            raise OptionError(
                f"Worker processes died repeatedly on the same task ({printable(error)}). Were "
                "they out of memory? Lower --memory, or use fewer workers."
            ) from error
        except BaseException:
            client.cancel(futures)
            raise
        del at_once, on_done
        return results

    try:
        client.wait_for_workers(1, timeout=_PATIENCE)
    except TimeoutError as error:
        raise OptionError(
            f"The dask cluster at {printable(client.scheduler.address)} lacks workers; none "
            f"connected within {_PATIENCE} seconds. Start one with 'dask worker', or omit "
            "--scheduler."
        ) from error
    threads = client.nthreads().values()
    return Executor(
        compute, max(1, sum(threads)), per_process=max(threads, default=1), shares_memory=False
    )


def _gathered(client: Any, futures: Sequence[Any]) -> Sequence[Any]:
    """The results, or an error once nobody is left to compute them.

    Raises
    ------
    OptionError
        The scheduler is gone or silent, or no worker has been there for a while.
    """
    from concurrent.futures import CancelledError

    from distributed import wait
    from distributed.client import FuturesCancelledError

    address, quiet_since = client.scheduler.address, time.monotonic()
    lost = ""
    while not lost:
        try:
            with client.as_current():
                wait(futures, timeout=_LOOK)
            results: Sequence[Any] = client.gather(futures)
            return results
        except TimeoutError:
            pass
        except (CancelledError, FuturesCancelledError, OSError):
            if client.status == "running" and _workers(client):
                raise
            lost = "the scheduler or its last worker is gone"
            break
        if _workers(client):
            quiet_since = time.monotonic()
        elif time.monotonic() - quiet_since > _ALONE:
            lost = f"it has had no worker, or has not answered, for {_ALONE} seconds"
    raise OptionError(
        f"The dask cluster at {printable(address)} was lost: {lost}. What was read is lost too. "
        "Start it again and repeat the command; with --history always, or on local processes with "
        "--workers, less is read again."
    )


def _workers(client: Any) -> int:
    """How many workers a cluster has; none where its scheduler does not answer."""
    try:
        return len(client.sync(client.scheduler.ncores, callback_timeout=_PATIENCE))
    except Exception:  # of many kinds, depending on how the connection ended
        return 0


@contextmanager
def _local_cluster(workers: int) -> Iterator[Any]:
    import dask
    from distributed import Client, LocalCluster

    environment = {"distributed.nanny.pre-spawn-environ": _ALLOCATOR}
    with dask.config.set(environment), ExitStack() as running:
        with _interrupts_blocked(), _start_told():
            cluster = running.enter_context(
                LocalCluster(
                    n_workers=workers,
                    threads_per_worker=1,
                    processes=True,
                    memory_limit=0,
                    dashboard_address=None,
                    # Its web server runs even so; at the usual port it would meet others'.
                    scheduler_kwargs={"dashboard_address": "127.0.0.1:0"},
                )
            )
        yield running.enter_context(Client(cluster, set_as_default=False))


@contextmanager
def _start_told() -> Iterator[None]:
    """Tell in words why worker processes could not start.

    Each runs the script of this process from its beginning, up to here where nothing guards it.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        os._exit(_UNGUARDED)  # without a word: the first process says it once for all
    loggers = [logging.getLogger(name) for name in ("distributed.nanny", "tornado.application")]
    former = [each.level for each in loggers]
    for each in loggers:
        each.setLevel(logging.CRITICAL + 1)
    try:
        yield
    except RuntimeError:
        raise OptionError(
            "The worker processes ended while they started. A script that uses workers needs the "
            "line \"if __name__ == '__main__':\" around what it does, since each worker runs it "
            "from its beginning."
        ) from None
    finally:
        for each, level in zip(loggers, former, strict=True):
            each.setLevel(level)


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Let a terminal's interrupt wait, here to the end, and in processes that start now for good.

    A terminal sends it to all of them, and each would print a traceback; they end with this one.
    """
    resource_tracker.ensure_running()  # which would unblock it when it starts
    former = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, former)


@contextmanager
def _connect(address: str) -> Iterator[Any]:
    from distributed import Client
    from distributed.comm import resolve_address

    try:
        resolve_address(address)
        # A client that finds something else there waits for ever, and holds up the process's end.
        with ThreadPoolExecutor(1) as aside:  # this thread may have a loop of its own
            found = aside.submit(asyncio.run, _role_at(address)).result()
    except Exception as error:  # each kind of connection has its own
        why = printable(error) or f"silent for {_PATIENCE} seconds"
        raise OptionError(
            f"--scheduler {printable(address)}: no dask scheduler answered ({why}). Is it the port "
            "of a dashboard, or of another server? Start one with 'dask scheduler', or omit the "
            "option."
        ) from error
    if found != "Scheduler":
        raise OptionError(
            f"--scheduler {printable(address)}: a dask {printable(found, limit=40)} answered. Give "
            "the address of the scheduler, which 'dask scheduler' shows when it starts."
        )
    # Not the default: one that failed would stay so, and meet the next call.
    with Client(address, timeout=_PATIENCE, set_as_default=False) as client:
        yield client


async def _role_at(address: str) -> str:
    """What a process of dask says that it is."""
    from distributed.comm import connect
    from distributed.security import Security

    async def ask() -> Any:
        secure = Security().get_connection_args("client")
        comm = await connect(address, timeout=_PATIENCE, **secure)
        try:
            await comm.write({"op": "identity", "reply": True, "close": True})
            return await comm.read()
        finally:
            comm.abort()

    told = await asyncio.wait_for(ask(), _PATIENCE)
    return str(told.get("type")) if isinstance(told, dict) else "process of another version"


def _active_client() -> Any | None:
    """The user's current `distributed.Client`, without importing distributed for its absence."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
