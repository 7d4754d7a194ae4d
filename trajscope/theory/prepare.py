"""The test of the theory, step by step: refused or ready, H and D, the pass, the comparison."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from trajscope.arrays import Source
from trajscope.errors import OptionError
from trajscope.kernels.gram import Floats
from trajscope.measure.directions import PROJECTION
from trajscope.model.checkpoints import open_checkpoints
from trajscope.model.compute import Compute
from trajscope.model.problem import Problem, load_problem
from trajscope.model.samples import n_samples_of
from trajscope.optimizer import Optimizer
from trajscope.schema import DYNAMICS, STEP
from trajscope.theory.compare import compared
from trajscope.theory.curvature import Curvature, curvature
from trajscope.theory.guards import prevented, told
from trajscope.theory.result import (
    as_dataset,
    curvature_attributes,
    curvature_of,
    curvature_variables,
    projection_variables,
    settings_attributes,
    settings_of,
    stability_variables,
)
from trajscope.theory.subject import Subject, refusal, subject_of
from trajscope.theory.unpredicted import unpredicted
from trajscope.theory.window import Window, window_of

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Tested:
    """A comparison for which the weights have still to be gone through."""

    prepared: "Prepared"
    found: Curvature | None

    @property
    def directions(self) -> Floats | None:
        """(direction, weight), along which the trajectory has to be projected."""
        return None if self.found is None else self.found.vectors

    def measured(self, reductions: xr.Dataset, withheld: str) -> xr.Dataset:
        """The Dataset that `dynamics` describes, from the sums of the pass.

        Parameters
        ----------
        withheld :
            Why the audit allows no verdict on the run, else empty.
        """
        projection = reductions.get(PROJECTION)
        return self.prepared.measured(self.found, projection, reductions, withheld)

    def add_to(self, results: xr.DataTree) -> None:
        """Put the comparison into a result, and the projection with it."""
        reductions = results["reductions"].to_dataset()
        results[DYNAMICS] = xr.DataTree(self.measured(reductions, _withheld(results)))
        if PROJECTION in reductions:
            results["reductions"] = xr.DataTree(reductions.drop_vars(PROJECTION))


@dataclass(frozen=True)
class Prepared:
    """A comparison that is about to begin: nothing of it is refused any more.

    Attributes
    ----------
    subject :
        `None` where there can be no prediction.
    spoken :
        Guards that have spoken, with their details.
    """

    trajectory: xr.Dataset
    window: Window
    subject: Subject | None
    seed: int
    spoken: dict[str, str]

    def with_curvature(self, progress: Progress) -> Tested:
        """With eigenvectors of H and the noise along them, where there can be a prediction."""
        return Tested(self, self.curvature(progress))

    def curvature(self, progress: Progress) -> Curvature | None:
        """Eigenvectors of H and the noise along them; `None` where there is no prediction."""
        if self.subject is None:
            return None
        done, expected = 0, 200

        def advance(count: int) -> None:
            nonlocal done, expected
            done += count
            expected = max(expected, done + count)
            progress(done, expected)

        try:
            found = curvature(self.subject, advance)
        except FloatingPointError as error:
            self.spoken["no_noise"] = str(error)
            return None
        progress(1, 1)
        return found

    def measured(
        self,
        found: Curvature | None,
        projection: xr.DataArray | None,
        reductions: xr.Dataset,
        withheld: str,
    ) -> xr.Dataset:
        """The Dataset that `dynamics` describes.

        Parameters
        ----------
        projection : (step, direction)
            Of the trajectory on the eigenvectors, with its steps.
        reductions :
            Sums of the pass: what there is without a prediction comes from these.
        withheld :
            As in `Tested.measured`.
        """
        spoken = dict(self.spoken) | ({"spoilt": withheld} if withheld else {})
        spoken["single_run_free_energy"] = ""
        variables: dict[str, Any] = {}
        steps: Floats | None = None
        attributes = settings_attributes(self.window) | {"seed": self.seed}
        if found is not None and projection is not None:
            steps = projection[STEP].values
            variables = curvature_variables(found) | projection_variables(projection)
            variables |= stability_variables(found, self.window.optimizer)
            attributes |= curvature_attributes(found)
            if found.mode == "eval" and found.modes_differ:
                spoken["wrong_mode"] = found.modes_differ
        if not prevented(spoken):
            assert found is not None
            assert projection is not None
            rng = np.random.default_rng([self.seed, 3])
            variables |= compared(self.window, found, projection, spoken, rng)
        elif not withheld:
            rng = np.random.default_rng([self.seed, 4])
            variables |= unpredicted(reductions, self.window.optimizer, spoken, rng)
        return as_dataset(variables, steps, attributes | {"guards": told(spoken)})


def prepare(
    source: Source,
    problem: Problem | str,
    optimizer: Optimizer,
    options: Compute,
    *,
    by: str | None = None,
) -> Prepared:
    """Everything that can be refused is refused here, before anything is measured.

    Raises
    ------
    TrajscopeError
        As `dynamics`.
    """
    problem = load_problem(problem) if isinstance(problem, str) else problem
    checkpoints = open_checkpoints(source, problem.model, by=by)
    spoken: dict[str, str] = {}
    window = window_of(checkpoints.trajectory, optimizer, n_samples_of(problem.data), spoken)
    subject = None
    if not prevented(spoken):
        subject = subject_of(
            problem, checkpoints, options,
            rows=window.rows, batch_size=window.optimizer.b,
            weight_decay=window.optimizer.weight_decay or 0.0,
        )  # fmt: skip
        refused = refusal(subject)
        if refused:
            spoken[refused[0]] = refused[1]
            subject = None
    return Prepared(checkpoints.trajectory, window, subject, options.seed, spoken)


def without_problem(trajectory: xr.Dataset, optimizer: Optimizer, seed: int) -> Prepared:
    """The same where there is no problem: what needs neither H nor D."""
    spoken = {"problem_missing": ""}
    window = window_of(trajectory, optimizer, 0, spoken)
    return Prepared(trajectory, window, None, seed, spoken)


def of_result(result: xr.DataTree, optimizer: Optimizer, seed: int) -> xr.Dataset:
    """The Dataset that `dynamics` describes, as far as a finished result holds what it needs.

    Parameters
    ----------
    optimizer :
        What it does not say is as in the result.

    Raises
    ------
    OptionError
        H and D of the result are of batches or a weight decay that are not those of `optimizer`.
    """
    trajectory, reductions = (result[name].to_dataset() for name in ("trajectory", "reductions"))
    if DYNAMICS not in result.children:
        return without_problem(trajectory, optimizer, seed).measured(
            None, None, reductions, _withheld(result)
        )
    stored = result[DYNAMICS].to_dataset()
    settings, n_samples = settings_of(stored, optimizer), int(stored.attrs.get("n_samples", 0))
    found = curvature_of(stored)
    if found is None:
        return without_problem(trajectory, settings, seed).measured(
            None, None, reductions, _withheld(result)
        )
    for name in ("batch_size", "weight_decay"):
        known, said = stored.attrs[name], getattr(settings, name)
        if (known or 0) != (said or 0):
            raise OptionError(
                f"{name}={said} was given, and H and D of the finished result are of {name}="
                f"{known}. Give the folder of the checkpoints and the problem to compute them anew."
            )
    spoken: dict[str, str] = {}
    window = window_of(trajectory, settings, n_samples, spoken)
    return Prepared(trajectory, window, None, seed, spoken).measured(
        found, stored[PROJECTION], reductions, _withheld(result)
    )


def _withheld(result: xr.DataTree) -> str:
    """Why a result has no verdict."""
    return str(result["verdict"].attrs.get("reason", ""))
