"""What a cluster computes: sent a few tasks at a time, taken in order, given up when it is lost."""

import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from trajscope.errors import OptionError, printable
from trajscope.measure.cluster import FROZEN, PATIENCE

TASKS_PER_WORKER: Final = 10
"""That a cluster is given at once."""
_FEW: Final = 40
"""Tasks that a cluster is given at once even where that is more: two workers share them evenly."""
_LOOK: Final = 5
"""Seconds between two looks at a cluster that computes."""
_ALONE: Final = 60
"""Seconds that it may be without workers, which a batch system may start anew."""


def most_at_once(n_workers: int) -> int:
    """Tasks that so many workers are given at once."""
    return max(TASKS_PER_WORKER * n_workers, _FEW)


@dataclass
class Awaited:
    """Delayed values on a cluster.

    Attributes
    ----------
    stall :
        Seconds without a finished value after which the cluster is given up.
    running :
        Futures, and the number of the value of each.
    found :
        Results by number, until it is their turn.
    patience :
        Seconds that a worker may be silent while others are not.
    """

    client: Any
    n_workers: int
    stall: float
    running: dict[Any, int] = field(default_factory=dict)
    found: dict[int, Any] = field(default_factory=dict)
    patience: float = field(default_factory=lambda: FROZEN)

    def results(self, values: Sequence[Any], on_done: Any, shared: Any = None) -> Iterator[Any]:
        """The results in order; `on_done` is called with key and result of each as it comes.

        What they all share is on every worker first.

        Raises
        ------
        OptionError
            The scheduler is gone or silent, no worker has been there for a while, nothing was
            finished for `stall` seconds, or workers died repeatedly.
        """
        from distributed import KilledWorker

        waiting = deque(enumerate(values))
        everywhere = None if shared is None else self._spread(shared)  # held until the end
        try:
            for number in range(len(values)):
                while number not in self.found:
                    self._send(waiting)
                    for future in self._finished():
                        place = self.running.pop(future)
                        self.found[place] = future.result()
                        on_done(str(future.key), self.found[place])
                yield self.found.pop(number)
        except KilledWorker as error:
            raise OptionError(
                f"Worker processes died repeatedly on the same task ({printable(error)}). Were "
                "they out of memory? Lower --memory, or use fewer workers."
            ) from error
        finally:
            del everywhere
            with suppress(Exception):  # a lost cluster has nothing to cancel
                self.client.cancel(list(self.running))

    def _spread(self, shared: Any) -> Any:
        """The future of a value, of which every worker has a copy, if it can be had soon.

        A task is given to a worker that has what it needs, even where others are idle.
        """
        from distributed import wait

        future = self.client.compute(shared, optimize_graph=False)
        with suppress(Exception):  # else one of them reads it, and hands it on
            with self.client.as_current():
                wait(future, PATIENCE)
            self.client.sync(
                self.client.scheduler.replicate, keys=[future.key], callback_timeout=PATIENCE
            )
        return future

    def _send(self, waiting: "deque[tuple[int, Any]]") -> None:
        """As many values as the workers are given tasks at once; never none."""
        limit = most_at_once(self.n_workers)
        while waiting:
            number, value = waiting[0]
            held = (len(self.running) + len(self.found)) * len(value.dask)
            if self.running and held + len(value.dask) > limit:
                return
            waiting.popleft()
            self.running[self.client.compute(value, optimize_graph=False)] = number

    def _finished(self) -> list[Any]:
        """The futures that have ended, of which there is at least one."""
        from distributed import wait
        from distributed.client import FuturesCancelledError

        quiet_since = begun = time.monotonic()
        while True:
            try:
                with self.client.as_current():
                    ended = wait(list(self.running), _LOOK, return_when="FIRST_COMPLETED").done
                if any(each.cancelled() for each in ended):
                    raise CancelledError
                return list(ended)
            except TimeoutError:
                pass
            except (CancelledError, FuturesCancelledError, OSError):
                if self.client.status == "running" and self._workers():
                    raise
                raise self._lost("the scheduler or its last worker is gone") from None
            if workers := self._workers():
                quiet_since = time.monotonic()
                self._drop_frozen(workers)
            elif time.monotonic() - quiet_since > _ALONE:
                why = f"it has had no worker, or has not answered, for {_ALONE} seconds"
                raise self._lost(why)
            if time.monotonic() - begun > self.stall:
                raise self._lost(f"none of its tasks ended for {self.stall:g} seconds (--stall)")

    def _workers(self) -> dict[str, float]:
        """When each worker gave a sign of life; none where the scheduler does not answer."""
        try:
            told = self.client.sync(
                self.client.scheduler.identity, n_workers=-1, callback_timeout=PATIENCE
            )
            return {name: float(each["last_seen"]) for name, each in told["workers"].items()}
        except Exception:  # of many kinds, depending on how the connection ended
            return {}

    def _drop_frozen(self, workers: dict[str, float]) -> None:
        """Have the tasks of workers that are silent, while most are not, done elsewhere.

        A machine with too little processor time makes many silent, and some again and again: what
        they had begun would be lost each time, and workers without a nanny do not come back. So
        more than half of them are never given up, and patience doubles each time.
        """
        latest = max(workers.values())
        frozen = [name for name, seen in workers.items() if latest - seen > self.patience]
        if frozen and 2 * len(frozen) <= len(workers):
            self.patience *= 2
            with suppress(Exception):  # it came back, or is gone by now
                self.client.restart_workers(frozen, timeout=PATIENCE, raise_for_error=False)

    def _lost(self, why: str) -> OptionError:
        address = printable(self.client.scheduler.address)
        return OptionError(
            f"The dask cluster at {address} was lost: {why}. What it had not finished is lost too; "
            "'trajscope analyze' has kept the rest. Start the cluster again and repeat the "
            "command, or go on with --workers."
        )
