"""The front door: `trajscope.dynamics`."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from trajscope.arrays import Source
from trajscope.kernels.gram import Floats
from trajscope.measure.directions import PROJECTION, Directions
from trajscope.measure.executor import executor
from trajscope.measure.measurement import measure
from trajscope.model.checkpoints import open_checkpoints
from trajscope.model.problem import Problem, load_problem
from trajscope.model.samples import n_samples_of
from trajscope.optimizer import Optimizer
from trajscope.progress import shown
from trajscope.schema import DYNAMICS, STEP
from trajscope.theory.compare import compared
from trajscope.theory.curvature import Curvature, Subject, curvature, refusal, subject_of
from trajscope.theory.guards import prevented, told
from trajscope.theory.options import Options
from trajscope.theory.result import (
    as_dataset,
    curvature_variables,
    projection_variables,
    stability_variables,
)
from trajscope.theory.unpredicted import unpredicted
from trajscope.theory.window import Window, window_of

Progress = Callable[[int, int], None]


def dynamics(  # noqa: PLR0913 - a front door: its options are the command line's
    source: Source,
    problem: Problem | str,
    optimizer: Optimizer,
    *,
    mode: str | None = None,
    samples: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    memory: int | str | None = None,
    by: str | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> xr.Dataset:
    """Whether the stationary law of SGD is the one that linear theory predicts from H and D.

    Along the leading eigenvectors of the Hessian H of training, predicted from H, the gradient
    noise D, and the optimizer, against measured: the covariance of the weights, that over one
    checkpoint, and the currents. Nothing is fitted; every number has an interval from simulated
    windows of the predicted law. What cannot be said is refused: `guards`.

    Parameters
    ----------
    source :
        A directory of checkpoints, a Dataset from `open_trajectory`, or an array, as in
        `trajscope.diffusion`. The window should be in the steady state.
    problem :
        As in `trajscope.diffusion`.
    optimizer :
        What is known of it, with its weight decay and how batches are sampled; the rest is taken
        from the trainer's own files.
    mode :
        Of the network: "train" by default, as in training.
    samples :
        For the Hessian, over all checkpoints at which it is computed; 20,000 by default.
    device, dtype, memory, by :
        As in `trajscope.diffusion`.
    seed :
        The same seed gives the same numbers.
    progress :
        Called with (vectors multiplied by H, their expected number).

    Returns
    -------
    Dataset
        By `direction`, the leading eigenvectors of H: ``hessian_eigenvalue``, ``hessian_error``,
        ``hessian_residual``, ``correlation_time_predicted``; ``variance``, ``variance_predicted``,
        ``variance_ratio`` and its 95% interval ``_low``, ``_high``; the same of ``lag_covariance``
        and ``spread``. Numbers: ``volume_ratio``, ``budget_ratio``, ``current_slope``, each with
        its interval, ``current_slope_null``, ``p_current``. ``projection(step, direction)``,
        ``gradient_covariance_half(half, direction, direction_other)``. The attribute ``guards``:
        what was refused, with ``code``, ``reason`` and ``remedy``.

    Raises
    ------
    TrajscopeError
        The checkpoints do not fit the problem, its loss cannot be differentiated twice, or the
        memory does not suffice.

    Examples
    --------
    >>> import torch, trajscope
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...
    >>> model, inputs = torch.nn.Linear(3, 1), torch.randn(60, 3)
    >>> targets = inputs.sum(1, keepdim=True) + torch.randn(60, 1)
    >>> def loss(model, batch):
    ...     return ((model(batch[0]) - batch[1]) ** 2).mean() / 2
    >>> descent = torch.optim.SGD(model.parameters(), lr=0.1)
    >>> for step in range(400):
    ...     path = trajscope.save_checkpoint("runs/theory", model, step=step)
    ...     batch = torch.randint(60, (10,))
    ...     descent.zero_grad()
    ...     loss(model, (inputs[batch], targets[batch])).backward()
    ...     descent.step()
    >>> problem = trajscope.Problem(model, (inputs, targets), loss)
    >>> from trajscope.optimizer import Optimizer
    >>> told = Optimizer(0.1, 10, momentum=0.0, with_replacement=True, weight_decay=0.0)
    >>> run = trajscope.open_trajectory("runs/theory", burn_in=100)
    >>> found = trajscope.dynamics(run, problem, told)
    >>> bool(found["variance_ratio_low"][0] < 1.2), bool(found["variance_ratio_high"][0] > 0.8)
    (True, True)
    """
    options = Options(mode, device, dtype, memory, samples, seed)
    prepared = prepare(source, problem, optimizer, options, by=by)
    found = prepared.curvature(shown(progress, "eigenvectors of the Hessian"))
    along = None if found is None else Directions(found.vectors)
    with executor(None, None) as running:
        whole, *_ = measure(
            prepared.trajectory, running, memory=options.room(), seed=seed,
            directions=along, progress=lambda *_: None,
        )  # fmt: skip
    sums = whole.reductions
    return prepared.measured(found, sums.get(PROJECTION), sums)


@dataclass(frozen=True)
class Tested:
    """A comparison for which the weights have still to be gone through."""

    prepared: "Prepared"
    found: Curvature | None

    @property
    def directions(self) -> Floats | None:
        """(direction, weight), along which the trajectory has to be projected."""
        return None if self.found is None else self.found.vectors

    def add_to(self, results: xr.DataTree) -> None:
        """Put the comparison into a result, and the projection with it."""
        reductions = results["reductions"].to_dataset()
        projection = reductions.get(PROJECTION)
        results[DYNAMICS] = xr.DataTree(self.prepared.measured(self.found, projection, reductions))
        if projection is not None:
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
    options: Options
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

        found = curvature(self.subject, advance)
        progress(1, 1)
        return found

    def measured(
        self,
        found: Curvature | None,
        projection: xr.DataArray | None,
        reductions: xr.Dataset | None = None,
    ) -> xr.Dataset:
        """The Dataset that `dynamics` describes.

        Parameters
        ----------
        projection : (step, direction)
            Of the trajectory on the eigenvectors, with its steps.
        reductions :
            Sums of the pass: what there is without a prediction comes from these.
        """
        spoken = dict(self.spoken)
        spoken["single_run_free_energy"] = ""
        variables: dict[str, Any] = {}
        steps: Floats | None = None
        if found is not None and projection is not None:
            steps = projection[STEP].values
            variables = curvature_variables(found) | projection_variables(projection)
            variables |= stability_variables(found, self.window.optimizer)
            if not prevented(spoken):
                rng = np.random.default_rng([self.options.seed, 3])
                variables |= compared(self.window, found, projection, spoken, rng)
        elif reductions is not None:
            rng = np.random.default_rng([self.options.seed, 4])
            variables = unpredicted(reductions, spoken, rng)
        return as_dataset(variables, steps, self._attributes(found) | {"guards": told(spoken)})

    def _attributes(self, found: Curvature | None) -> dict[str, Any]:
        optimizer, subject = self.window.optimizer, self.subject
        attributes: dict[str, Any] = {
            "learning_rate": optimizer.learning_rate,
            "batch_size": optimizer.batch_size,
            "momentum": optimizer.momentum,
            "nesterov": optimizer.nesterov,
            "weight_decay": optimizer.weight_decay,
            "with_replacement": optimizer.with_replacement,
            "optimizer_words": self.window.words,
            "updates": self.window.updates,
            "seed": self.options.seed,
        }
        if subject is not None:
            attributes |= {"mode": subject.mode, "hessian_steps": subject.steps}
        if found is not None:
            attributes |= {
                "hessian_lowest": found.lowest,
                "hessian_products": found.n_products,
                "batch_sharpness": found.batch_sharpness,
            }
        return attributes


def prepare(
    source: Source,
    problem: Problem | str,
    optimizer: Optimizer,
    options: Options,
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
        if subject.differs and subject.mode == "eval":
            spoken["wrong_mode"] = subject.differs
        refused = refusal(subject)
        if refused:
            spoken[refused[0]] = refused[1]
            subject = None
    return Prepared(checkpoints.trajectory, window, subject, options, spoken)
