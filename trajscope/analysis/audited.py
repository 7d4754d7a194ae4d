"""The measured run without its spoilt checkpoints: what the audit finds, and what follows."""

import warnings
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import numpy as np
import xarray as xr

from trajscope.analysis.finite import Engine, check_squares, measured, place_of, without_nonfinite
from trajscope.analysis.windows import Window, rows_left
from trajscope.errors import TrajectoryError, TrajscopeWarning, printable
from trajscope.inference.audit.rules import Audit, audit, told
from trajscope.measure.evidence import Evidence
from trajscope.measure.executor import Executor
from trajscope.measure.found import Measurement
from trajscope.measure.measurement import evidence_of
from trajscope.measure.span import NonFiniteError
from trajscope.schema import AUDIT, NO_VERDICT, STEP

MOST_ROUNDS: Final = 4
"""Passes over one run: what is left after so many is not judged."""
_ENDLESS: Final = (
    f"After {MOST_ROUNDS} rounds the audit still finds spoilt checkpoints, too many for a verdict "
    "on the others. The audit lists them."
)
NONFINITE: Final = "nonfinite"


def audited(
    trajectory: xr.Dataset,
    running: Executor,
    engine: Engine,
    windows: Sequence[Window] = (),
) -> tuple[xr.Dataset, list[Window], list[Measurement]]:
    """As `finite.measured`, of the run without the checkpoints that the audit finds spoilt.

    A run in which nothing is found is read once. What is found is kept in the attribute "audit" of
    the trajectory, why there can be no verdict in "no_verdict".

    Raises
    ------
    TrajectoryError
        A checkpoint is spoilt and `engine` is strict.
    """
    trajectory = trajectory.assign_attrs({AUDIT: [], NO_VERDICT: ""})
    for left in reversed(range(MOST_ROUNDS)):
        finite, windows, found = measured(trajectory, running, engine, windows)
        evidence = found[0].evidence
        assert evidence is not None
        checked = told_nonfinite(trajectory, finite)
        trajectory = judged(checked, audit(checked, evidence), strict=engine.strict)
        if trajectory.sizes[STEP] == checked.sizes[STEP]:
            break
        if not left:  # what was measured is what is told of
            told = {AUDIT: trajectory.attrs[AUDIT], NO_VERDICT: _ENDLESS}
            trajectory = checked.assign_attrs(told)
            break
        windows, _ = rows_left(windows, trajectory[STEP].values)
    return trajectory, list(windows), found


def inspected(trajectory: xr.Dataset, running: Executor, engine: Engine) -> xr.Dataset:
    """The run without its spoilt checkpoints, as `audited`, by a pass that sums little else.

    Raises
    ------
    TrajectoryError
        A checkpoint is spoilt and `engine` is strict.
    """
    trajectory = trajectory.assign_attrs({AUDIT: [], NO_VERDICT: ""})
    for _ in range(MOST_ROUNDS):
        finite, evidence = _watched(trajectory, running, engine)
        checked = told_nonfinite(trajectory, finite)
        trajectory = judged(checked, audit(checked, evidence), strict=engine.strict, warn=False)
        if trajectory.sizes[STEP] == checked.sizes[STEP]:
            break
    return trajectory


def _watched(
    trajectory: xr.Dataset, running: Executor, engine: Engine
) -> tuple[xr.Dataset, Evidence]:
    def go(some: xr.Dataset) -> Evidence:
        return evidence_of(some, running, memory=engine.memory, progress=engine.progress)

    with suppress(NonFiniteError):
        return trajectory, go(trajectory)
    finite = without_nonfinite(trajectory, running, engine)
    check_squares([trajectory], [finite])
    return finite, go(finite)


def told_nonfinite(before: xr.Dataset, finite: xr.Dataset) -> xr.Dataset:
    """The trajectory that is left, with what was not finite among the findings."""
    steps = before[STEP].values
    lost = steps[~np.isin(steps, finite[STEP].values)]
    if not len(lost):
        return finite
    first = finite.attrs["skipped"][len(before.attrs.get("skipped", []))]["reason"]
    unit = before.attrs.get("step_unit", "index")
    word = "checkpoint" if unit == "index" else unit
    until = f"s {lost[0]} to {lost[-1]}; at the first" if len(lost) > 1 else f" {lost[0]}"
    detail = (
        f"{len(lost)} of {len(steps)} checkpoints hold NaN or infinite weights and are left out: "
        f"{word}{until}, {first}."
    )
    finding = {"kind": NONFINITE, "steps": lost.tolist(), "tensors": [], "detail": detail}
    return finite.assign_attrs({AUDIT: [*finite.attrs.get(AUDIT, []), finding]})


def judged(trajectory: xr.Dataset, found: Audit, *, strict: bool, warn: bool = True) -> xr.Dataset:
    """The trajectory without what the audit found spoilt, and with the reasons noted.

    Raises
    ------
    TrajectoryError
        Something is spoilt, and `strict` is set.
    """
    steps = trajectory[STEP].values
    named = [
        {"path": place_of(trajectory, row), "reason": why.removesuffix(".")}
        for row, why in found.spoilt.items()
    ]
    if strict and (named or found.no_verdict):
        first = found.no_verdict
        if named:
            first = f"{printable(named[0]['path'])}: {named[0]['reason']}."
        raise TrajectoryError(
            f"{first} Analyze the checkpoints before or after it with --steps, or drop --strict."
        )
    attributes = {AUDIT: told(found, trajectory), NO_VERDICT: found.no_verdict}
    messages = [found.no_verdict] if found.no_verdict else []
    if named:
        verb = "is" if len(named) == 1 else "are"
        messages.append(
            f"{len(named)} of {len(steps)} checkpoints {verb} left out by the audit: "
            f"{printable(named[0]['path'])}: {named[0]['reason']}."
        )
    for message in messages if warn else ():
        warnings.warn(message, TrajscopeWarning, stacklevel=4)
    kept = np.setdiff1d(np.arange(len(steps)), list(found.spoilt))
    return trajectory.isel({STEP: kept}).assign_attrs(
        attributes,
        skipped=[*trajectory.attrs.get("skipped", []), *named],
    )
