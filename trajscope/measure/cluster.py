"""Dask clusters: started here, joined at an address, or inside an allocation of Slurm."""

import asyncio
import json
import logging
import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, Final

from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.readers.files import beginning

# Under a nanny, dask returns every freed page to the system at once, and code that allocates
# scratch runs three times slower; these thresholds let a worker keep what it will use again.
_ALLOCATOR: Final = {
    "MALLOC_TRIM_THRESHOLD_": str(128 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
}
_CALM: Final = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.system-monitor.interval": "10s",
}
"""What nobody looks at here, and takes a tenth of the processor time of a pass."""
_PRELOADED: Final = ["trajscope.trajectory", "trajscope.measure.span"]
"""What tasks need, imported by all workers while they start, and not in their first task."""


PATIENCE: Final = 10
"""Seconds that a scheduler may take to answer, and a first worker to appear."""


_UNGUARDED: Final = 3
"""Exit code of a worker that would start workers of its own."""
FROZEN: Final = 120
"""Seconds without a sign of life after which a worker is given up."""
SLURM: Final = "slurm"
_FEWEST_TASKS: Final = 3
_START: Final = 60
"""Seconds in which the tasks of a Slurm step come together."""


@contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """A client of so many worker processes that are started here, of one thread each."""
    import dask
    from distributed import Client, LocalCluster

    environment = {
        "distributed.nanny.pre-spawn-environ": _ALLOCATOR,
        "distributed.scheduler.worker-ttl": f"{FROZEN} s",
        "distributed.worker.preload": _PRELOADED,
        **_CALM,
    }
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
def connected(scheduler: str) -> Iterator[Any]:
    """A client of the cluster that `scheduler` names.

    Parameters
    ----------
    scheduler :
        The address of a dask scheduler, the name of its scheduler file, or "slurm".

    Raises
    ------
    OptionError
        No scheduler answers there, or there is no such file or allocation.
    """
    if scheduler == SLURM:
        with slurm_client() as client:
            yield client
        return
    address, told = scheduler, scheduler
    if scheduler.endswith(".json") or Path(scheduler).is_file():
        address = _address_in(scheduler)
        told = f"{scheduler}, which names {address}"
    with _connect(address, told) as client:
        yield client


@contextmanager
def slurm_client() -> Iterator[Any]:
    """A client of the cluster that the tasks of this Slurm step make up.

    All of them run the same command: the first becomes the scheduler, the second goes on from
    here, and the others become workers, which end when it does. Who has joined may join again.

    Raises
    ------
    OptionError
        This is no Slurm step of at least three tasks, or dask-jobqueue is missing.
    """
    if _joined:
        yield _joined[-1]
        return
    n_tasks = os.environ.get("SLURM_NTASKS", "")
    if "SLURM_PROCID" not in os.environ or not n_tasks.isdecimal() or int(n_tasks) < _FEWEST_TASKS:
        raise OptionError(
            "--scheduler slurm: this is expected to be a step of a Slurm job with at least "
            f"{_FEWEST_TASKS} tasks, one of them the scheduler and one the command itself; found "
            f"{printable(n_tasks) or 'none'}. Start the command with 'srun -n 10 trajscope ...' in "
            "a job; on one node use --workers."
        )
    interrupts = signal.getsignal(signal.SIGINT)
    try:
        from dask_jobqueue.slurm import SLURMRunner
    except ImportError as error:
        raise OptionError(
            "--scheduler slurm needs dask-jobqueue: pip install 'trajscope[slurm]'."
        ) from error
    from distributed import Client

    step = os.environ.get("SLURM_STEP_ID", "0")  # a second srun of a job must not find the first's
    threads = os.environ.get("SLURM_CPUS_PER_TASK", "1")
    with (
        SLURMRunner(  # type: ignore[no-untyped-call] # in which all processes but this one stay
            scheduler_file=f"trajscope-{{job_id}}-{step}.json",
            scheduler_options={"dashboard_address": ":0"},
            worker_options={"nthreads": int(threads), "memory_limit": 0},
        ) as runner,
        Client(runner.scheduler_address, timeout=_START, set_as_default=False) as client,
    ):
        signal.signal(signal.SIGINT, interrupts)  # which the import has set
        with suppress(TimeoutError):
            client.wait_for_workers(runner.n_workers, timeout=_START)
        _joined.append(client)
        try:
            yield client
        finally:
            _joined.remove(client)


_joined: list[Any] = []
"""The client of the Slurm step that this process has joined."""


def _address_in(name: str) -> str:
    """The address that a scheduler file names."""
    try:
        known = json.loads(beginning(Path(name), 1 << 20))
        address = known["address"]
        if not isinstance(address, str):
            raise TypeError
    except (CheckpointError, OSError, ValueError, TypeError, KeyError) as error:
        raise OptionError(
            f"--scheduler {printable(name)}: a scheduler file was expected, which 'dask scheduler "
            "--scheduler-file FILE' writes, but it is missing or names no address. Has the "
            "scheduler been started, and is the folder shared?"
        ) from error
    return address


@contextmanager
def _connect(address: str, told: str) -> Iterator[Any]:
    from distributed import Client
    from distributed.comm import resolve_address

    try:
        resolve_address(address)
        # A client that finds something else there waits for ever, and holds up the process's end.
        with ThreadPoolExecutor(1) as aside:  # this thread may have a loop of its own
            found = aside.submit(asyncio.run, _role_at(address)).result()
    except Exception as error:  # each kind of connection has its own
        why = printable(error) or f"silent for {PATIENCE} seconds"
        raise OptionError(
            f"--scheduler {printable(told)}: no dask scheduler answered ({why}). Is it the port "
            "of a dashboard, or of another server? Start one with 'dask scheduler', or omit the "
            "option."
        ) from error
    if found != "Scheduler":
        raise OptionError(
            f"--scheduler {printable(told)}: a dask {printable(found, limit=40)} answered. Give "
            "the address of the scheduler, which 'dask scheduler' shows when it starts."
        )
    # Not the default: one that failed would stay so, and meet the next call.
    with Client(address, timeout=PATIENCE, set_as_default=False) as client:
        yield client


async def _role_at(address: str) -> str:
    """What a process of dask says that it is."""
    from distributed.comm import connect
    from distributed.security import Security

    async def ask() -> Any:
        secure = Security().get_connection_args("client")
        comm = await connect(address, timeout=PATIENCE, **secure)
        try:
            await comm.write({"op": "identity", "reply": True, "close": True})
            return await comm.read()
        finally:
            comm.abort()

    told = await asyncio.wait_for(ask(), PATIENCE)
    return str(told.get("type")) if isinstance(told, dict) else "process of another version"


def active_client() -> Any | None:
    """The user's current `distributed.Client`, without importing distributed for its absence."""
    if "distributed" not in sys.modules:
        return None
    from distributed import get_client

    try:
        return get_client()
    except ValueError:
        return None
