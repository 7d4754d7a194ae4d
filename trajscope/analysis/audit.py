"""The audit alone: what is wrong with the checkpoints of a run, without tests and curves."""

from collections.abc import Callable, Sequence
from typing import Any

import xarray as xr

from trajscope.analysis.audited import inspected
from trajscope.analysis.finite import Engine
from trajscope.analysis.settings import memory_limit, opened
from trajscope.analysis.unchanged import check_read, unchanged
from trajscope.arrays import Source
from trajscope.measure.executor import executor
from trajscope.progress import shown
from trajscope.schema import AUDIT


def audit(  # noqa: PLR0913
    source: Source,
    *,
    run: str | None = None,
    burn_in: int | str | None = None,
    steps: str | slice | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    by: str | None = None,
    order: str | None = None,
    weights: str | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    stall: float | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> list[dict[str, Any]]:
    """What is wrong with the checkpoints of a run; `analyze` finds the same in its own pass.

    Equal checkpoints and tensors are found by checksums of all their bits, outliers by squared
    distances between neighbours, ``d(k-1,k) + d(k,k+1) - d(k-1,k+1)``; docs/calibration.md says how
    often a run in order raises an alarm.

    Parameters
    ----------
    source, run, burn_in, steps, include, exclude, by, order, weights, memory, workers, scheduler,
    stall :
        As in `analyze`.
    strict :
        Fail at the first finding for which `analyze` would leave out a checkpoint, or give no
        verdict.
    progress :
        Called with (tasks done, total number of tasks).

    Returns
    -------
    list of dict
        ``{"kind", "steps", "tensors", "detail"}`` each, empty if nothing is found; no tensors are
        listed where all are meant.

    Raises
    ------
    TrajscopeError
        The source cannot be read; or something is found and `strict` is set.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> x = np.random.default_rng(0).normal(size=(40, 500)).cumsum(axis=0).astype("float32")
    >>> x[30] = x[5]
    >>> [(found["kind"], found["steps"]) for found in trajscope.audit(x)]
    [('identical', [5, 30])]
    """
    selection = {
        "run": run, "burn_in": burn_in, "steps": steps, "by": by, "order": order,
        "weights": weights,
        "include": include or None, "exclude": exclude or None, "strict": strict or None,
    }  # fmt: skip
    trajectory = opened(source, selection)
    engine = Engine(memory_limit(memory), 0, strict, shown(progress, "one pass over the weights"))
    with executor(workers, scheduler, stall=stall) as running:

        def go(some: Sequence[xr.Dataset]) -> xr.Dataset:
            done = inspected(some[0], running, engine)
            check_read(some[0])
            return done

        return list(unchanged([trajectory], go, strict=strict).attrs[AUDIT])
