"""Several runs from top to bottom: opened, measured in one pass, tested, and compared."""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import xarray as xr

from trajscope.analysis.energy import energy_of
from trajscope.analysis.finite import Engine
from trajscope.analysis.laws import laws_dataset
from trajscope.analysis.result import allowed, made, parts_of, with_cases
from trajscope.analysis.settings import Settings, memory_limit
from trajscope.analysis.sources import compared_sources, moves_of
from trajscope.analysis.temperature import Given, told_optimizers, training_of
from trajscope.analysis.together import Measured, measured_together
from trajscope.analysis.training_noise import noise_beside
from trajscope.arrays import Source
from trajscope.inference.comparison.differences import Run, differences
from trajscope.inference.comparison.ensemble import Member, ensemble
from trajscope.inference.decision.result import verdict_dataset
from trajscope.inference.decision.run import decide_measured_run
from trajscope.measure.executor import executor
from trajscope.optimizer import Optimizer
from trajscope.progress import shown
from trajscope.schema import STEP

Progress = Callable[[int, int], None]


def compare(  # noqa: PLR0913 - its options are the command line's
    *sources: Source | xr.DataTree,
    labels: Sequence[str] | None = None,
    replicas: bool = False,
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
    n_surrogates: int = 999,
    alpha: float = 0.01,
    seed: int = 0,
    momentum: float | None = None,
    lr: Given = None,
    batch_size: Given = None,
    sampling: str | None = None,
    strict: bool = False,
    progress: Progress | None = None,
) -> xr.DataTree:
    """Two or more runs, each analysed, and tests of their differences, as a DataTree.

    Parameters
    ----------
    sources :
        Each what `analyze` takes, or a finished result: a DataTree, or the path of results.zarr or
        of the folder of its report. The tensors that all of them share are compared.
    labels :
        Labels of the runs; by default the parts of their paths that differ.
    replicas :
        Whether the runs are repetitions of one training with different seeds, to be pooled as well.
    run, burn_in, steps, include, exclude, by, order, weights, strict :
        As in `open_trajectory`, for every folder.
    memory, workers, scheduler, stall, n_surrogates, alpha, seed, momentum, progress :
        As in `analyze`.
    lr, batch_size :
        Learning rate and batch size, one for all runs or one for each; by default as the trainer's
        files say. Their ratio is what stationary laws are expected to differ by.
    sampling :
        "replacement", "shuffle" (epochs) or "unknown": how batches were drawn.

    Returns
    -------
    DataTree
        ``/cases/1``, ``/cases/2``, ...: results as `analyze` gives them, of the shared tensors,
        their attribute ``label`` the run's. ``/compare``: p-values, effects and intervals of every
        pair (pair, group, quantity), distances and joint principal components where the weights
        are available; its attribute ``guards`` says what was not compared and why. With `replicas`,
        ``/ensemble``.

    Raises
    ------
    TrajscopeError
        The runs cannot be compared; the message says why and what to try.

    Examples
    --------
    >>> import numpy as np, trajscope
    >>> rng = np.random.default_rng(0)
    >>> one, other = rng.standard_normal((2, 200, 50)).cumsum(axis=1)
    >>> found = trajscope.compare(one, 2 * other, labels=["slow", "fast"])
    >>> round(float(found["compare/effect"].sel(group="all", quantity="increment_variance")[0]))
    4
    """
    selection = {
        "run": run, "burn_in": burn_in, "steps": steps, "by": by, "order": order,
        "weights": weights, "include": include or None, "exclude": exclude or None,
        "strict": strict or None,
    }  # fmt: skip
    settings = Settings(n_surrogates, alpha, seed, Optimizer(momentum=momentum))
    told_training = told_optimizers(len(sources), lr, batch_size, momentum, sampling)
    runs = compared_sources(sources, labels, selection)
    for each in runs:
        settings.for_decision(each.trajectory)  # refused before anything is read
    advance = shown(progress, "one pass over the weights")
    engine = Engine(memory_limit(memory), seed, strict, advance)
    started = time.perf_counter()
    measured, joint, guards = measured_together(
        runs, engine, partial(executor, workers, scheduler, stall=stall)
    )
    passed = time.perf_counter()
    members = [_member(each, settings) for each in measured]
    apart = differences(
        [Run(m.label, m.steps, moves_of(each.measurement)) for m, each in
         zip(members, measured, strict=True)],
        settings.for_decision(measured[0].trajectory),
    )  # fmt: skip
    groups = [str(name) for name in apart["group"].values]
    alike = _alike(measured, groups, told_training, settings)
    timings = {"pass_s": passed - started, "tests_s": time.perf_counter() - passed}
    config = {k: v for k, v in selection.items() if v is not None}
    told = made(settings.config(config, engine), timings)
    if replicas:
        starts = [str(each) for part in joint for each in part["start"].values]
        energy, spoken = energy_of(
            [each.label for each in measured],
            [each.trajectory for each in measured],
            [each.paths for each in measured],
            starts,
        )
        guards.extend(spoken)
    parts = {
        "/": xr.Dataset(attrs=told),
        "/compare": xr.merge(
            [apart, *alike, *joint], join="outer", combine_attrs="override"
        ).assign_attrs(
            apart.attrs
            | {
                "guards": [
                    *guards,
                    *(each for part in (apart, *alike) for each in part.attrs.get("guards", [])),
                ],
                "replicas": replicas,
            }
        ),
    }
    if replicas:
        parts["/ensemble"] = ensemble(members).assign(energy)
    return with_cases(parts, [_case(*each, told) for each in zip(measured, members, strict=True)])


def _alike(
    runs: Sequence[Measured],
    groups: Sequence[str],
    told: Sequence[Optimizer],
    settings: Settings,
) -> list[xr.Dataset]:
    """How alike the stationary laws are, and the gradient noise of the runs where it is known."""
    trainings = [training_of(run.trajectory, own) for run, own in zip(runs, told, strict=True)]
    labels = [run.label for run in runs]
    return [
        laws_dataset(
            labels,
            groups,
            [run.trajectory for run in runs],
            [run.paths for run in runs],
            trainings,
            settings.for_decision(runs[0].trajectory),
        ),
        noise_beside(labels, [run.result for run in runs], trainings),
    ]


def _member(run: Measured, settings: Settings) -> Member:
    decision_settings = settings.for_decision(run.trajectory)
    decided, tests = decide_measured_run(run.trajectory, run.measurement, decision_settings)
    return Member(
        run.label, run.trajectory[STEP].values, run.measurement.observables, decided, tests
    )


def _case(run: Measured, member: Member, told: Mapping[str, Any]) -> dict[str, xr.Dataset]:
    label = {"case": "run", "label": run.label}
    if run.result is not None:
        parts = {
            node.path.removeprefix(run.result.path.rstrip("/")) or "/": node.to_dataset(
                inherit=False
            )
            for node in run.result.subtree
            if "cases" not in node.path.removeprefix(run.result.path).split("/")
        }
        parts["/"] = parts["/"].assign_attrs(label)
        return parts
    decided = allowed(run.trajectory, (member.tests, verdict_dataset(member.decided)))
    return parts_of(run.trajectory, run.measurement, decided, {**told, **label})
