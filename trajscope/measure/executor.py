"""Where dask runs the pass: threads here, processes here, or a cluster that is already there."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from trajscope.errors import OptionError, printable
from trajscope.measure.awaiting import Awaited
from trajscope.measure.blas import one_blas_thread
from trajscope.measure.cluster import PATIENCE, active_client, connected, local_cluster

STALL: Final = 1800.0
"""Seconds without a finished task after which a cluster is given up, unless told otherwise."""

OnDone = Callable[[str, Any], None]


class Compute(Protocol):
    """How delayed values become their results."""

    def __call__(
        self, values: Sequence[Any], at_once: int, on_done: OnDone, shared: Any = None
    ) -> Iterator[Any]:
        """The results in the order of `values`, `at_once` tasks at a time in one process.

        Parameters
        ----------
        on_done :
            Called with the key and the result of each task that ends, where that can be seen, and
            at least of every one of `values`.
        shared :
            A delayed value that all of them need.
        """


@dataclass(frozen=True)
class Executor:
    """A way to compute delayed values.

    Attributes
    ----------
    n_workers, per_process :
        How many tasks run at once, in all and in one process.
    shares_memory :
        Whether they run in this process, so that their memory is this process's.
    """

    compute: Compute
    n_workers: int
    per_process: int
    shares_memory: bool


@contextmanager
def executor(
    workers: int | None, scheduler: str | None, *, stall: float | None = None
) -> Iterator[Executor]:
    """The executor asked for, else the active dask client, else one thread per core.

    Parameters
    ----------
    workers :
        Start this many local worker processes.
    scheduler :
        Address of a running dask scheduler, such as "tcp://host:8786", the name of its scheduler
        file, or "slurm".
    stall :
        Seconds without a finished task after which processes or a cluster are given up.

    Raises
    ------
    OptionError
        Both are given, a number is not positive, or no scheduler answers.
    """
    if workers is not None and scheduler is not None:
        raise OptionError("--workers and --scheduler were both given; one is expected.")
    if stall is not None and not stall > 0:
        raise OptionError(f"--stall is {stall:g}; a positive number of seconds is expected.")
    patience = STALL if stall is None else stall
    if workers is not None:
        if workers < 1:
            raise OptionError(f"--workers is {workers}; a positive number is expected.")
        with local_cluster(workers) as client:
            yield _on_client(client, patience)
    elif scheduler is not None:
        with connected(scheduler) as client:
            yield _on_client(client, patience)
    elif (client := active_client()) is not None:
        yield _on_client(client, patience)
    else:
        from dask.system import CPU_COUNT

        yield _threads(CPU_COUNT)


def _threads(n_workers: int) -> Executor:
    def compute(
        values: Sequence[Any], at_once: int, on_done: OnDone, shared: Any = None
    ) -> Iterator[Any]:
        del shared
        import dask
        from dask import threaded
        from dask.callbacks import Callback

        def posttask(key: Any, result: Any, *_: Any) -> None:
            on_done(str(key), result)

        # Around the tasks too, so that it is set once and not by each of them.
        with one_blas_thread(), Callback(posttask=posttask):
            # By its name, dask would import distributed to look for a cluster.
            results: Sequence[Any] = dask.compute(
                *values, scheduler=threaded.get, num_workers=at_once, optimize_graph=False
            )
        return iter(results)

    return Executor(compute, n_workers, per_process=n_workers, shares_memory=True)


def _on_client(client: Any, stall: float) -> Executor:  # distributed is untyped
    try:
        client.wait_for_workers(1, timeout=PATIENCE)
    except TimeoutError as error:
        raise OptionError(
            f"The dask cluster at {printable(client.scheduler.address)} lacks workers; none "
            f"connected within {PATIENCE} seconds. Start one with 'dask worker', or omit "
            "--scheduler."
        ) from error
    threads = client.nthreads().values()
    n_workers = max(1, sum(threads))

    def compute(
        values: Sequence[Any], at_once: int, on_done: OnDone, shared: Any = None
    ) -> Iterator[Any]:
        del at_once
        return Awaited(client, n_workers, stall).results(values, on_done, shared)

    return Executor(compute, n_workers, per_process=max(threads, default=1), shares_memory=False)
