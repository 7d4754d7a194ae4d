"""The front door: `trajscope.dynamics`."""

from collections.abc import Callable

import xarray as xr

from trajscope.analysis.audited import audited
from trajscope.analysis.finite import Engine
from trajscope.analysis.settings import memory_limit, opened
from trajscope.analysis.sources import finished
from trajscope.arrays import Source
from trajscope.errors import OptionError
from trajscope.inference.audit.rules import withheld
from trajscope.measure.directions import Directions
from trajscope.measure.executor import executor
from trajscope.model.compute import Compute
from trajscope.model.problem import Problem
from trajscope.optimizer import Optimizer
from trajscope.progress import shown
from trajscope.theory.prepare import of_result, prepare, without_problem

Progress = Callable[[int, int], None]


def dynamics(  # noqa: PLR0913 - a front door: its options are the command line's
    source: Source | xr.DataTree,
    problem: Problem | str | None = None,
    optimizer: Optimizer | None = None,
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
        `trajscope.diffusion`. The window should be in the steady state. Or a finished result, a
        DataTree or the place of one: where it was made with a problem, its H and D are compared
        again, as of `optimizer`.
    problem :
        As in `trajscope.diffusion`. Without one there is what needs neither H nor D.
    optimizer :
        What is known of it, with its weight decay and how batches are sampled; the rest is taken
        from the trainer's own files, or from the finished result.
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
        what was refused, with ``code``, ``reason`` and ``remedy``. Without H and D:
        ``p_reversible``, ``angular_velocity``, ``entropy_production`` along principal directions of
        the first half of the window, measured in the second, and ``principal_variance``.

    Raises
    ------
    TrajscopeError
        The checkpoints do not fit the problem; or a finished result, which has no weights, is
        given with a problem, or with a batch size or a weight decay that its H and D are not of.

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
    optimizer = Optimizer() if optimizer is None else optimizer
    options = Compute(
        mode=mode, device=device, dtype=dtype, memory=memory, samples=samples, seed=seed
    )
    result = finished(source, "the source")
    if result is not None:
        if problem is not None:
            raise OptionError(
                "A finished result has no weights, at which H and D of the problem could be "
                "computed. Give the folder of its checkpoints, or leave the problem out."
            )
        return of_result(result, optimizer, seed)
    if problem is None:
        prepared = without_problem(opened(source, {"by": by}), optimizer, seed)
    else:
        prepared = prepare(source, problem, optimizer, options, by=by)
    tested = prepared.with_curvature(shown(progress, "eigenvectors of the Hessian"))
    along = None if tested.directions is None else Directions(tested.directions)
    engine = Engine(memory_limit(memory), seed, strict=False, progress=_silence, directions=along)
    with executor(None, None) as running:
        trajectory, _, (whole, *_) = audited(prepared.trajectory, running, engine, [])
    return tested.measured(whole.reductions, withheld(trajectory))


def _silence(done: int, total: int) -> None:
    """Show nothing."""
