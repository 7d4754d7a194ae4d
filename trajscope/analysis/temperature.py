"""How each of several runs was trained, given or recorded, and the ratio of their temperatures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import xarray as xr

from trajscope.analysis.schedule import as_told, with_schedule
from trajscope.checkpoints.training import Recorded, batch_on_a_process, recorded
from trajscope.errors import OptionError, printable
from trajscope.inference.comparison.law_guards import refusal
from trajscope.optimizer import SAMPLINGS, Optimizer
from trajscope.schema import LEARNING_RATE
from trajscope.trajectory import checkpoint_files

Given = float | Sequence[float] | None
"""One number for all runs, or one for each."""

_SAME: Final = 0.05
"""Relative: by so much a learning rate may change while it is called the same."""


@dataclass(frozen=True)
class Training:
    """Settings of the training of one run.

    Attributes
    ----------
    optimizer :
        `None` in a field for what nothing says.
    changes :
        Span of the learning rate where it changes within the window, else "".
    """

    optimizer: Optimizer
    changes: str = ""


def told_optimizers(
    n_runs: int, lr: Given, batch_size: Given, momentum: float | None, sampling: str | None
) -> list[Optimizer]:
    """What the user says of every run.

    Raises
    ------
    OptionError
        As many values as runs, or one, were expected; or one is out of range.
    """
    if sampling is not None and sampling not in SAMPLINGS:
        raise OptionError(
            f"sampling is {printable(sampling)!r}: one of {', '.join(SAMPLINGS)} expected."
        )
    rates = _for_each(n_runs, lr, "--lr")
    batches = _for_each(n_runs, batch_size, "--batch-size")
    for batch in batches:
        if batch is not None and batch != int(batch):
            raise OptionError(f"--batch-size {batch:g}: a whole number of samples expected.")
    return [
        Optimizer(
            learning_rate=rate,
            batch_size=None if batch is None else int(batch),
            momentum=momentum,
            with_replacement=SAMPLINGS[sampling or "unknown"],
        )
        for rate, batch in zip(rates, batches, strict=True)
    ]


def training_of(trajectory: xr.Dataset, told: Optimizer) -> Training:
    """The settings of a run: the user's word, else what the trainer's own files say."""
    scheduled = with_schedule(trajectory, as_told(None, None))
    rates = np.array([])
    if LEARNING_RATE in scheduled.coords:
        rates = scheduled[LEARNING_RATE].values
        rates = rates[np.isfinite(rates) & (rates > 0)]
    changes = ""
    if len(rates) and rates.max() - rates.min() > _SAME * rates.max():
        changes = f"{rates.min():.3g} to {rates.max():.3g}"
    own = replace(
        told, learning_rate=told.learning_rate or (float(rates[-1]) if len(rates) else None)
    )
    found, batch = _recorded(trajectory)
    if own.batch_size is None:
        own = replace(own, batch_size=batch)
    if found is not None:
        own = replace(
            own,
            momentum=found.momentum if own.momentum is None else own.momentum,
            nesterov=found.nesterov,
            dampening=found.dampening,
            kind=found.kind,
            learning_rate=own.learning_rate or found.lr,
        )
    return Training(own, changes)


def expected_ratio(
    labels: tuple[str, str], first: Training, second: Training
) -> tuple[float, list[dict[str, object]]]:
    """Ratio of the temperatures, second over first, and the guards that speak.

    1 where a guard withholds it. Where learning rate, batch size and momentum are the same, laws
    are the same however batches were drawn.
    """
    both = (first, second)
    unknown = [
        f"The {what} of '{label}'"
        for label, each in zip(labels, both, strict=True)
        for what, value in (
            ("learning rate", each.optimizer.learning_rate),
            ("batch size", each.optimizer.batch_size),
        )
        if value is None
    ]

    def refused(code: str, detail: str) -> tuple[float, list[dict[str, object]]]:
        return 1.0, [refusal(code, detail, list(labels))]

    for label, each in zip(labels, both, strict=True):
        if each.optimizer.is_adaptive:
            return refused("adaptive_optimizer", f"'{label}' was trained by {each.optimizer.kind}")
        if each.changes:
            return refused("rate_changes", f"'{label}' ({each.changes})")
    temperatures = [each.optimizer.temperature for each in both]
    if None in temperatures:
        return refused("temperature_unknown", f"{' and '.join(unknown)} {_be(unknown)}")
    ratio = float(temperatures[1] / temperatures[0])  # type: ignore[operator]
    if math.isclose(ratio, 1.0, rel_tol=1e-9):
        return 1.0, []
    sampled = [each.optimizer.with_replacement for each in both]
    detail = f"η/b differ by a factor of {ratio:.3g}"
    if None in sampled:
        return ratio, [refusal("sampling_unknown", detail, list(labels))]
    return ratio, ([] if all(sampled) else [refusal("shuffled", detail, list(labels))])


def _be(unknown: Sequence[str]) -> str:
    return "is" if len(unknown) == 1 else "are"


def _recorded(trajectory: xr.Dataset) -> tuple[Recorded | None, int | None]:
    """What the files of the last checkpoint say, and samples of a batch on each process."""
    paths, own = checkpoint_files(trajectory)
    if not paths:
        return None, None
    return recorded(paths[-1], own_folder=own), batch_on_a_process(paths[-1]) if own else None


def _for_each(n_runs: int, given: Given, option: str) -> list[float | None]:
    if given is None:
        return [None] * n_runs
    values = [given] if isinstance(given, int | float) else list(given)
    if not values:
        return [None] * n_runs
    if len(values) not in (1, n_runs):
        raise OptionError(
            f"{option} is given {len(values)} times for {n_runs} runs: once for all of them, or "
            "once for each, was expected. Give one value for each run, in their order."
        )
    return [float(value) for value in (values * n_runs if len(values) == 1 else values)]
