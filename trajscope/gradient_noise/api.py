"""The front door: `trajscope.diffusion`."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import xarray as xr

from trajscope.arrays import Source
from trajscope.gradient_noise.options import Options
from trajscope.gradient_noise.prepare import Work, check, computing, planned
from trajscope.gradient_noise.run import run
from trajscope.gradient_noise.spectrum.resume import Ledger
from trajscope.model.checkpoints import open_checkpoints
from trajscope.model.problem import Problem, load_problem
from trajscope.model.samples import n_samples_of
from trajscope.progress import shown


def diffusion(  # noqa: PLR0913 - the one front door: its options are the command line's
    source: Source,
    problem: Problem | str,
    *,
    at: str | Sequence[int | float | str] = ("20%", "40%", "100%"),
    samples: int | None = None,
    device: str = "auto",
    dtype: str = "float32",
    memory: int | str | None = None,
    chunk: int | str = "auto",
    mode: str = "eval",
    by: str | None = None,
    every: int | None = None,
    lr: float | None = None,
    batch_size: int | None = None,
    momentum: float | None = None,
    nesterov: bool = False,
    sampling: str | None = None,
    sketch: int | None = None,
    seed: int = 0,
    work_dir: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> xr.Dataset:
    """The covariance of per-sample gradients at chosen checkpoints: its spectrum and its numbers.

    ``D = (1/N) sum_k g_k g_k' - gbar gbar'``, g_k the gradient of the loss of sample k with respect
    to all d trained weights (arXiv:1710.11029). Exact: gradients in `dtype`, everything else in
    float64.

    Parameters
    ----------
    source :
        A directory of checkpoints; a Dataset from `open_trajectory`; or an array ("step",
        "weight") as in `analyze`, whose weights are the model's parameters in their order.
    problem :
        A `Problem`, or the place of a function that returns one: ``"module:function"``,
        ``"file.py:function"``.
    at :
        Steps, or percentages of the last step ("20%": the nearest checkpoint).
    samples :
        N, drawn without replacement; all by default. In train mode the number of batches, 500 by
        default.
    device :
        "auto" (a GPU if available), "cpu", "cuda", "cuda:1".
    dtype :
        Precision of the network: "float32" or "float64". Close to a loss of zero, float32 limits
        the accuracy of gradients.
    memory :
        Memory limit of this process (on a GPU, of its tensors), in bytes or as "2GiB"; by
        default a quarter of the free memory, on a GPU half.
    chunk :
        Samples per pass; "auto" from `memory`.
    mode :
        "eval": gradients of single samples with the network in eval mode, as in the paper. "train":
        gradients of batches of `batch_size` with the network in train mode (batch norm and dropout
        active), as during training.
    by :
        The groups of a directory's tensors, as in `open_trajectory`; by layer by default.
    every :
        Measure loss and gradient norm at every n-th checkpoint; 0 for never, by default at up to
        200.
    lr, batch_size :
        For the temperature, and for train mode.
    momentum, nesterov :
        Of plain SGD (0), heavy ball or Nesterov. With it, `lr` and `batch_size` there is a noise
        budget: measured increments compared with those predicted from gradient noise.
    sampling :
        "replacement", or "shuffle": every epoch contains each sample once. By default, or if
        "unknown", the budget has both predictions.
    sketch :
        Number of random directions onto which gradients are projected first: approximate, but with
        little memory for any d and N. The errors are measured and reported.
    seed :
        The same seed gives the same samples and batches.
    work_dir :
        Folder for intermediate results: after an interruption the same call resumes. Finished
        results stay there, since nothing is written elsewhere; remove the folder when you have
        saved the result.
    progress :
        Called with (samples done, total number of samples), counting repeated passes.

    Returns
    -------
    Dataset
        ``eigenvalue(step, component)``, descending, without the d - min(N-1, d) eigenvalues that
        are zero by construction; and at every step ``eigenvalue_mean``, ``eigenvalue_std`` (over
        all d), ``trace``, ``lambda_max``, ``rank_eps32``, ``rank_eps64``, ``participation_ratio``,
        ``stable_rank``, ``directions_90``, ``directions_99``, ``gradient_norm`` (over sqrt(d)),
        ``signal_to_noise``, ``gradient_noise_scale`` (with ``_low`` and ``_high``, its interval
        over samples), ``gradient_diversity``, ``score``, ``loss``. The same with
        ``group_`` before the name and a dimension ``group``, "all" first. With several steps
        ``spectrum_distance(step, step_other)`` and ``eigenspace_overlap(step, step_other)``. With a
        curve ``checkpoint_loss(checkpoint)``, ``checkpoint_gradient_norm(checkpoint)`` and
        ``loss_trend_...``, ``gradient_norm_trend_...``. With `lr` and `batch_size` ``temperature``,
        ``temperature_without_replacement``, ``noise_scale(step)``. With the momentum too
        ``budget_ratio(sampling)`` and its interval ``budget_ratio_low``, ``budget_ratio_high``,
        ``budget_measured_trace``, ``budget_predicted_trace(sampling)``,
        ``budget_angle(direction)``, ``budget_cosine``, both with ``_expected``; why a budget is
        missing is in the attributes ``budget_guard`` (codes) and ``budget_words``, and the mode of
        the network in ``budget_mode``. With `sketch` the relative errors
        ``sketch_trace_error(step)`` and ``sketch_lambda_max_error(step)``. Units: those of the loss
        and of the weights.

    Raises
    ------
    TrajscopeError
        The checkpoints do not fit the model, the engine fails its check against plain backward
        passes, or the memory does not suffice; the message says what to try.

    Warns
    -----
    TrajscopeWarning
        A number is right and says little; also kept in the attribute ``warnings``.

    Examples
    --------
    >>> import torch, trajscope
    >>> torch.manual_seed(0)  # doctest: +ELLIPSIS
    <torch...
    >>> model = torch.nn.Linear(4, 1)
    >>> inputs = torch.randn(50, 4)
    >>> for step in (0, 100):
    ...     path = trajscope.save_checkpoint("runs/noise", model, step=step)
    >>> def loss(model, batch):
    ...     return ((model(batch[0]) - batch[1]) ** 2).mean()
    >>> problem = trajscope.Problem(model, (inputs, inputs[:, :1]), loss)
    >>> found = trajscope.diffusion("runs/noise", problem, at="100%", every=0)
    >>> found["eigenvalue"].sizes["component"], bool((found["trace"] > 0).all())
    (5, True)
    """
    options = Options(
        at=at,
        samples=samples,
        device=device,
        dtype=dtype,
        memory=memory,
        chunk=chunk,
        mode=mode,
        every=every,
        lr=lr,
        batch_size=batch_size,
        momentum=momentum,
        nesterov=nesterov,
        sampling=sampling,
        sketch=sketch,
        seed=seed,
        work_dir=work_dir,
    )
    return prepare(source, problem, options, by=by).measure(progress)


def prepare(
    source: Source, problem: Problem | str, options: Options, *, by: str | None = None
) -> "Prepared":
    """Everything that can be refused is refused here, before anything is measured.

    Parameters
    ----------
    source, problem, by :
        As in `diffusion`.

    Raises
    ------
    TrajscopeError
        As `diffusion`.
    """
    problem = load_problem(problem) if isinstance(problem, str) else problem
    return Prepared(check(problem, open_checkpoints(source, problem.model, by=by), options))


@dataclass(frozen=True)
class Prepared:
    """A measurement that is about to begin."""

    work: Work
    kept: list[Ledger] = field(default_factory=list)

    def measure(self, progress: Callable[[int, int], None] | None = None) -> xr.Dataset:
        """The Dataset that `diffusion` describes."""
        return run(self.work.reporting(shown(progress, "gradients per sample")), self.kept)

    @property
    def updates_per_epoch(self) -> float | None:
        """N/b, where the batch size was given."""
        batch_size = self.work.subject.options.batch_size
        n_samples = n_samples_of(self.work.subject.problem.data)
        return None if batch_size is None else n_samples / batch_size

    def again(self) -> "Prepared":
        """The same, cut to the memory that is left now."""
        with computing(self.work.subject.problem, self.work.subject.options):
            return Prepared(planned(self.work.subject))

    def clear(self) -> None:
        """Remove what was kept of finished work, once the result is kept elsewhere."""
        for ledger in self.kept:
            ledger.clear()
