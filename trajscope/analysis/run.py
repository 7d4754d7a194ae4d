"""One run from top to bottom: a source becomes a trajectory, is measured, becomes a result."""

import logging
import os
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.analysis.audited import audited
from trajscope.analysis.finite import Engine
from trajscope.analysis.result import allowed, made, parts_of, with_cases
from trajscope.analysis.schedule import as_told, training_log, with_schedule
from trajscope.analysis.settings import Settings, memory_limit, opened
from trajscope.analysis.spectra import Asked, steps_of_spectra
from trajscope.analysis.spectra import spectra as spectra_of
from trajscope.analysis.unchanged import check_read, unchanged
from trajscope.analysis.windows import Window, Windows, rows_left, windows_of
from trajscope.arrays import Source
from trajscope.checkpoints.given import Given
from trajscope.errors import OptionError, TrajscopeWarning, printable
from trajscope.inference.decision.run import decide_trajectory
from trajscope.measure.directions import Directions
from trajscope.measure.executor import executor
from trajscope.measure.found import Measurement
from trajscope.measure.measurement import check_memory
from trajscope.measure.parts import clear_parts
from trajscope.optimizer import Optimizer
from trajscope.progress import shown
from trajscope.schema import LOG, SPECTRA, STEP, WEIGHT
from trajscope.units import labelled

_LOG: Final = logging.getLogger(__name__)
PHASES: Final = ("auto", "none")
_Read = tuple[xr.Dataset, list[Window], list[Measurement], xr.Dataset | None]
History = str | os.PathLike[str] | Callable[[xr.Dataset], AbstractContextManager[xr.Dataset]]


def analyze(  # noqa: PLR0913 - the one front door: its options are the command line's
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
    history: History | None = None,
    resume: str | os.PathLike[str] | None = None,
    memory: int | str | None = None,
    workers: int | None = None,
    scheduler: str | None = None,
    stall: float | None = None,
    n_surrogates: int = 999,
    alpha: float = 0.01,
    seed: int = 0,
    momentum: float | None = None,
    updates_per_epoch: float | None = None,
    phases: str = "auto",
    windows: Windows | None = None,
    lr_schedule: Given | None = None,
    epoch_steps: float | None = None,
    diffusion: xr.Dataset | None = None,
    directions: NDArray[np.floating] | None = None,
    exact: bool = False,
    spectra: Asked | None = None,
    strict: bool = False,
    progress: Callable[[int, int], None] | None = None,
) -> xr.DataTree:
    """Measurements, tests and verdict of the trajectory in `source`, as a DataTree.

    Parameters
    ----------
    source :
        A directory of checkpoints; a Dataset from `open_trajectory`; or an array with dimensions
        ("step", "weight"), lazy or not: of xarray, NumPy, dask or torch, a pandas DataFrame, a list
        of rows. The options up to `weights` apply to a directory, and are refused with other
        sources: a Dataset has its groups, and xarray selects.
    run, burn_in, steps, include, exclude, by, order, weights, strict :
        As in `open_trajectory`. With `strict`, a checkpoint with a NaN or infinite weight is an
        error too; otherwise it is left out with a warning.
    history :
        Folder that stores the weights read from a directory: a later analysis with the same folder
        reads only new or changed checkpoints, and gives the same result.
        Or a function of a trajectory that returns a context manager of the same trajectory, read
        from elsewhere; this is possible with a Dataset too.
    resume :
        Folder in which finished parts of the pass over checkpoint files are kept, if that takes no
        more than a twentieth of the time: the same call goes on from them if it was killed, with
        the same result. They are removed at the end.
    memory :
        Memory limit of this process (or of each worker), in bytes or as "2GiB"; by
        default a quarter of the free memory.
    workers :
        Local worker processes; by default, threads in this process, or the active dask client.
    scheduler :
        Address of a running dask scheduler, the name of its scheduler file, or "slurm" within a
        step of a Slurm job (`trajscope[slurm]`). By default the active dask client, if any.
    stall :
        Seconds without a finished task after which workers or a cluster are given up; by default
        1,800.
    n_surrogates :
        Permutations or surrogates per null hypothesis; the smallest p-value is
        1 / (n_surrogates + 1). Layers, and runs above 10,000 checkpoints, draw only as many as
        `alpha` requires: 199 at 0.01.
    alpha :
        Significance level of every test (false-positive rate).
    seed :
        The same seed gives the same numbers for any number of workers; a tight memory limit may
        change the last digits.
    momentum :
        Of the optimizer, if known: a spectral peak is then distinguished from ringing, and tested
        only in windows of at least seven ringing times.
    updates_per_epoch :
        For checkpoints that are numbered by epochs: needed to compute the remaining ringing.
    phases :
        "auto": changes of the learning rate, of the noise and of the drift are looked for, and
        each phase between two of them gets a verdict too; "none": they are not.
    windows :
        Parts of the run that are also analyzed separately, in the same pass: ``4`` equal ones,
        ``"0:1000,1000:2000"`` (or pairs of numbers), steps START <= step < STOP. Their tests draw
        no more than `alpha` requires, 199 at 0.01, and are not corrected for each other.
    lr_schedule :
        Learning rate, if the files of the trainer do not say it: ``"0:0.1,1000:0.01"``, the name of
        a CSV, JSON or JSONL file of steps and rates, or such pairs; each holds from its step on.
    epoch_steps :
        Steps of an epoch, if the files of the trainer do not say it.
    diffusion :
        Result of `trajscope.diffusion` for the same checkpoints, to be included.
    directions :
        (direction, weight): the reductions then hold ``projection(step, direction)``, the
        displacement from the first checkpoint along each.
    exact :
        Whether the standard deviation of the autocorrelation is that of all weights. By default, it
        is from a random sample where a group has more than 8,192, with its standard error; all
        else is of all weights in any case.
    spectra :
        Checkpoints at which singular values of every weight matrix are computed: ``"20%,100%"``
        (steps, or shares of the last step), ``"all"``; by default none.
    progress :
        Called with (tasks done, total number of tasks); by default a notebook shows a bar.

    Returns
    -------
    DataTree
        ``/trajectory`` (what was read), ``/reductions`` (the sums of the one pass),
        ``/observables`` (labelled curves and numbers per group), ``/tests`` (p-values and curves
        with their bands), ``/verdict`` (its code and sentence, of all weights in the attributes),
        ``/diffusion``, ``/spectra`` if it was asked for, and ``/log`` (loss and learning rate)
        where the trainer left one. With `windows`, ``/cases/1``, ``/cases/2``, ... are results of
        the same kind, without curves that are normalised per weight; their attribute ``label``
        names the window.

    Raises
    ------
    TrajscopeError
        The source cannot be analysed; the message says why and what to try.

    Examples
    --------
    >>> import trajscope
    >>> walk = trajscope.simulate.brownian(64, 20, seed=1)
    >>> results = trajscope.analyze(walk, n_surrogates=199)
    >>> results["verdict"].attrs["code"]
    'brownian'
    >>> results["observables"]["mean_squared_displacement"].sel(group="all").sizes["lag"]
    64
    """
    folder = None if resume is None else Path(resume)
    selection = {
        "run": run, "burn_in": burn_in, "steps": steps, "by": by, "order": order,
        "weights": weights, "include": include or None, "exclude": exclude or None,
        "strict": strict or None,
    }  # fmt: skip
    trajectory = opened(source, selection, history=None if callable(history) else history)
    optimizer = Optimizer(momentum=momentum)
    settings = Settings(n_surrogates, alpha, seed, optimizer, updates_per_epoch)
    settings.for_decision(trajectory)  # refused before anything is read
    if phases not in PHASES:
        raise OptionError(f"phases is {printable(phases)!r}: one of {', '.join(PHASES)} expected.")
    parts = windows_of(trajectory, windows)
    schedule = as_told(lr_schedule, epoch_steps)
    of_spectra = steps_of_spectra(trajectory, spectra)
    along = None if directions is None else Directions(np.asarray(directions))
    if along is not None:
        along.check(trajectory.sizes[WEIGHT])
    advance = shown(progress, "one pass over the weights")
    engine = Engine(memory_limit(memory), seed, strict, advance, folder, along, exact)
    started = time.perf_counter()
    with executor(workers, scheduler, stall=stall) as running:
        rows = [each.rows(trajectory[STEP].values) for each in parts]
        check_memory(trajectory, running, memory=engine.memory, windows=rows)

        def go(some: Sequence[xr.Dataset]) -> _Read:
            left, _ = rows_left(parts, some[0][STEP].values)
            with _from_history(some[0], history) as read:
                done = audited(read, running, engine, left)
                matrices = spectra_of(done[0], of_spectra, engine.memory) if of_spectra else None
                check_read(read)
            return *done, matrices

        trajectory, parts, found, matrices = unchanged([trajectory], go, strict=strict)
    passed = time.perf_counter()
    _LOG.info("one pass over %d checkpoints: %.1f s", len(trajectory[STEP]), passed - started)
    trajectory = with_schedule(trajectory, schedule)
    cases = [trajectory, *(part.of(trajectory) for part in parts)]
    whole_settings, *part_settings = (settings.for_decision(case) for case in cases)
    asked = [whole_settings, *(each.of_a_window for each in part_settings)]
    decided = [
        (case, each, allowed(case, decide_trajectory(case, each, own, in_phases=looked)))
        for case, each, own, looked in zip(
            cases, found, asked, [phases == "auto", *(False for _ in parts)], strict=True
        )
    ]
    timings = {"pass_s": passed - started, "tests_s": time.perf_counter() - passed}
    _LOG.info("tests of %d cases: %.1f s", len(cases), timings["tests_s"])
    config = settings.config(trajectory.attrs.get("selection", {}), engine)
    told = made(config | ({"windows": [p.name for p in parts]} if parts else {}), timings)
    whole, *others = (
        parts_of(*each, told | label)
        for each, label in zip(decided, [{}, *(p.label for p in parts)], strict=True)
    )
    result = with_cases(whole, others)
    unit = str(trajectory.attrs.get("step_unit", "index"))
    if matrices is not None:
        result[SPECTRA] = xr.DataTree(labelled(matrices, unit))
    if (log := training_log(trajectory)) is not None:
        result[LOG] = xr.DataTree(labelled(log, unit))
    if diffusion is not None:
        result["diffusion"] = xr.DataTree(diffusion)
    if folder is not None:
        clear_parts(folder)
    return result


@contextmanager
def _from_history(trajectory: xr.Dataset, history: History | None) -> Iterator[xr.Dataset]:
    """The trajectory, read from the history in a folder where one is named."""
    if history is None:
        yield trajectory
        return
    if callable(history):
        with history(trajectory) as elsewhere:
            yield elsewhere
        return
    from trajscope.history.kept import remembered  # most runs have no history

    with remembered(trajectory, history) as found:
        if not found.is_kept:
            warnings.warn(found.line, TrajscopeWarning, stacklevel=4)
        yield found.trajectory
