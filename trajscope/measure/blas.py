"""How many threads BLAS takes: one per task, since more cost time and give other bits."""

import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any


class _Limit(threading.Thread):
    """Keeps the process's BLAS at one thread while it runs.

    A thread of its own, since threadpoolctl lets only the thread that set a limit lift it, and
    the first task to begin need not be the last to end.
    """

    def __init__(self) -> None:
        super().__init__(name="one-blas-thread", daemon=True)
        self.begun, self.over = threading.Event(), threading.Event()

    def run(self) -> None:
        with blas_threads(1):
            self.begun.set()
            self.over.wait()


def blas_threads(count: int) -> AbstractContextManager[Any]:
    """Keep BLAS at `count` threads: on shared machines the library's own guess is slow."""
    limit: AbstractContextManager[Any] = _controller().limit(limits=count, user_api="blas")
    return limit


@cache
def _controller() -> Any:  # threadpoolctl is untyped
    """The libraries of this process, looked for once: that takes some milliseconds."""
    import scipy.linalg  # noqa: F401 - brings the library that is meant
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()


class _Shared:
    """The limit in force, and how many count on it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.holders = 0
        self.limit = _Limit()


_SHARED = _Shared()


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS at one thread until the last of this process that asks for it is done.

    The limit is the process's, so tasks on several threads share one: if each set and restored
    its own, the first to end would take it from the others.
    """
    with _SHARED.lock:
        if _SHARED.holders == 0:
            _SHARED.limit = _Limit()
            _SHARED.limit.start()
            _SHARED.limit.begun.wait()
        _SHARED.holders += 1
    try:
        yield
    finally:
        with _SHARED.lock:
            _SHARED.holders -= 1
            if _SHARED.holders == 0:
                _SHARED.limit.over.set()
                _SHARED.limit.join()
