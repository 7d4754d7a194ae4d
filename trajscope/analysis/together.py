"""Several runs measured in one pass, without what is spoilt in them."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Final

import xarray as xr

from trajscope.analysis.audited import MOST_ROUNDS, judged, told_nonfinite
from trajscope.analysis.finite import Engine, check_squares, without_nonfinite
from trajscope.analysis.laws import Paths, paths_along
from trajscope.analysis.meeting import joint_dataset
from trajscope.analysis.shared import Shared, shared
from trajscope.analysis.sources import Compared, measurement_of
from trajscope.analysis.unchanged import check_read, unchanged
from trajscope.inference.audit.rules import audit
from trajscope.inference.comparison.pair import pairs_of
from trajscope.measure.executor import Executor
from trajscope.measure.found import Measurement
from trajscope.measure.groups import size_of
from trajscope.measure.measurement import pass_over, tensor_ends
from trajscope.measure.plan import make_plan
from trajscope.measure.span import NonFiniteError
from trajscope.schema import AUDIT, STEP

_NO_WEIGHTS: Final = (
    "Finished results do not contain weights: distances and joint components cover only the runs "
    "given as checkpoints."
)


@dataclass(frozen=True)
class Measured:
    """A run that has been measured, of the shared tensors."""

    label: str
    trajectory: xr.Dataset
    measurement: Measurement
    result: xr.DataTree | None = None
    paths: Paths = field(default_factory=dict)


def measured_together(
    runs: Sequence[Compared], engine: Engine, start: Callable[[], AbstractContextManager[Executor]]
) -> tuple[list[Measured], list[xr.Dataset], list[dict[str, object]]]:
    """Every run; what is seen of them in one space; and what was not compared."""
    at_hand = [each for each in runs if each.result is None]
    found = {
        each.label: Measured(each.label, each.trajectory, measurement_of(each.result), each.result)
        for each in runs
        if each.result is not None
    }
    joint: list[xr.Dataset] = []
    guards: list[dict[str, object]] = []
    if at_hand:
        with start() as running:
            _check(shared(at_hand)[0], running, engine)

            def go(
                trajectories: Sequence[xr.Dataset],
            ) -> tuple[list[Measured], list[xr.Dataset], list[dict[str, object]]]:
                pairs = zip(at_hand, trajectories, strict=True)
                some = [replace(run, trajectory=trajectory) for run, trajectory in pairs]
                done = _sound(some, running, engine)
                for each in trajectories:
                    check_read(each)
                return done

            opened = [each.trajectory for each in at_hand]
            told, joint, guards = unchanged(opened, go, strict=engine.strict)
        guards.extend(_guards(told))
        found |= {each.label: each for each in told}
    if len(at_hand) < len(runs):
        results = [each.label for each in runs if each.result is not None]
        guards.append({"code": "no_weights", "runs": results, "group": "", "reason": _NO_WEIGHTS})
    return [found[each.label] for each in runs], joint, guards


def _sound(
    at_hand: Sequence[Compared], running: Executor, engine: Engine
) -> tuple[list[Measured], list[xr.Dataset], list[dict[str, object]]]:
    """Runs that are at hand, without what is spoilt in them, as `_measured`."""
    for _ in range(MOST_ROUNDS):
        together, guards = shared(at_hand)
        try_again = at_hand
        with suppress(NonFiniteError):
            measured, joint = _passed(together, at_hand, running, engine)
            try_again = []
        if try_again:
            finite = [_finite(each, running, engine) for each in at_hand]
            check_squares(*([each.trajectory for each in run] for run in (at_hand, finite)))
            at_hand = finite
            continue
        left = [_audited(*each, engine) for each in zip(at_hand, measured, strict=True)]
        if all(map(_equally_long, at_hand, left)):
            break
        at_hand = left
    along = paths_along(together, [each.measurement for each in measured], engine.memory)
    measured = [replace(each, paths=own) for each, own in zip(measured, along, strict=True)]
    return [_told(*each) for each in zip(measured, left, strict=True)], joint, guards


def _check(together: Shared, running: Executor, engine: Engine) -> None:
    """Refuse a memory limit that is too small; reads nothing."""
    size = size_of(together.stack, together.groups, running, engine.memory, runs=together.rows)
    make_plan(size, together.groups.segments)


def _passed(
    together: Shared, runs: Sequence[Compared], running: Executor, engine: Engine
) -> tuple[list[Measured], list[xr.Dataset]]:
    pairs = [together.meetings(*pair) for pair in pairs_of(len(runs))]
    size = size_of(together.stack, together.groups, running, engine.memory, runs=together.rows)
    found, sums, trace = pass_over(
        together.stack, together.groups, size, running,
        runs=together.rows, joint=together.joint(pairs) if len(runs) > 1 else None,
        ends=tensor_ends(together.runs[0]), seed=engine.seed, progress=engine.progress,
    )  # fmt: skip
    measured = [
        Measured(
            run.label,
            own,
            each.measurement(own[STEP].values, run.unit, each.evidence(trace, number)),
        )
        for number, (run, own, each) in enumerate(zip(runs, together.runs, found, strict=True))
    ]
    if len(runs) < 2:
        return measured, []
    observables = [each.measurement.observables for each in measured]
    return measured, [joint_dataset(together, [run.label for run in runs], sums, observables)]


def _audited(run: Compared, measured: Measured, engine: Engine) -> Compared:
    """The run without what the audit finds spoilt in the tensors that are compared."""
    evidence = measured.measurement.evidence
    assert evidence is not None
    found = audit(measured.trajectory.assign_attrs(run.trajectory.attrs), evidence)
    return replace(run, trajectory=judged(run.trajectory, found, strict=engine.strict))


def _equally_long(one: Compared, other: Compared) -> bool:
    return one.trajectory.sizes[STEP] == other.trajectory.sizes[STEP]


def _told(measured: Measured, audited: Compared) -> Measured:
    """What was measured, and what the audit said of it."""
    return replace(measured, trajectory=measured.trajectory.assign_attrs(audited.trajectory.attrs))


def _guards(runs: Sequence[Measured]) -> list[dict[str, object]]:
    """What the audit found, run by run."""
    return [
        {"code": AUDIT, "runs": [run.label], "group": "", "reason": finding["detail"]}
        for run in runs
        for finding in run.trajectory.attrs[AUDIT]
    ]


def _finite(run: Compared, running: Executor, engine: Engine) -> Compared:
    """The run without its checkpoints that are not finite, if it has any."""
    finite = without_nonfinite(run.trajectory, running, engine)
    return replace(run, trajectory=told_nonfinite(run.trajectory, finite))
