"""The start of every run: a few samples by plain backward passes, and the engine held to them."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from trajscope.errors import OptionError, printable
from trajscope.model.gradients import Gradients, State, gradients_of
from trajscope.model.mapping import Arrays, Fit, Parameter, filled
from trajscope.model.problem import Problem
from trajscope.model.samples import Samples

if TYPE_CHECKING:
    from torch import Tensor

_SAMPLES: Final = 3
_AT_ONCE: Final = 10_000_000
"""Weights whose gradients are compared together: all of a large model may not fit in memory."""
_RELATIVE, _ABSOLUTE = 1e-3, 1e-5
"""Of the parameter's gradient and of the largest: some models compute in float32 whatever they
are given. What is wrong is wrong by a factor."""


def checked_gradients(problem: Problem, fit: Fit, arrays: Arrays, samples: Samples) -> Gradients:
    """The way to per-sample gradients, after it gave those of a few samples rightly.

    Samples from the start, the middle and the end are passed backward one by one, in float64 where
    the model can. A layer whose factors do not give its gradient goes the general way.

    Raises
    ------
    OptionError
        A parameter's gradients differ.
    """
    import torch

    last = len(samples) - 1
    positions = sorted({0, last // 2, last})[:_SAMPLES]
    state, batch = _precise(problem, fit, arrays, samples, positions)
    gradients = gradients_of(problem, fit, state, batch)
    for parameters in _parts(fit.parameters):
        names = [parameter.name for parameter in parameters]
        expected, _ = gradients.one_by_one(state, batch, names)
        wrong = _differing(gradients, state, batch, expected)
        sites = [site for site in gradients.sites if not {site.weight, site.bias} & set(wrong)]
        gradients = replace(gradients, sites=tuple(sites))
        wrong = _differing(gradients, state, batch, expected) if wrong else []
        if wrong:
            raise OptionError(
                f"The gradients of single samples by parameter {printable(wrong[0])!r} are not "
                "what a backward pass over that sample alone gives. Does the model, in eval mode, "
                "draw random numbers, keep something between calls, or mix the samples of a batch?"
            )
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return gradients


def _precise(
    problem: Problem, fit: Fit, arrays: Arrays, samples: Samples, positions: Sequence[int]
) -> tuple[State, Any]:
    """State and batch in float64, or in the dtype of the run where the model refuses that."""
    import torch

    smallest = min(fit.parameters, key=lambda parameter: parameter.size).name
    for dtype in (torch.float64, samples.dtype):
        batch = replace(samples, dtype=dtype).picked(positions)
        state = filled(problem.model, fit, arrays, samples.device, dtype)
        try:
            Gradients(problem, fit).one_by_one(state, batch, [smallest])
        except RuntimeError:
            if dtype == samples.dtype:
                raise
        else:
            break
    return state, batch


def _parts(parameters: Sequence[Parameter]) -> Iterator[list[Parameter]]:
    """The parameters in parts that are small together."""
    part: list[Parameter] = []
    for parameter in parameters:
        if part and sum(each.size for each in part) + parameter.size > _AT_ONCE:
            yield part
            part = []
        part.append(parameter)
    yield part


def _differing(
    gradients: Gradients, state: State, batch: Any, expected: "dict[str, Tensor]"
) -> list[str]:
    """Parameters whose gradients are not as expected; those that are not numbers are let pass."""
    factored = {site.weight for site in gradients.sites if site.is_factored} & set(expected)
    piece = gradients.piece(state, batch, list(expected), factored)
    largest = max(rows.norm(dim=1).max() for rows in expected.values())
    wrong = []
    for name, rows in expected.items():
        if name in piece.factors:
            entered, returned = piece.factors[name]
            found = (returned.mT @ entered).flatten(1)
        else:
            found = piece.rows[name]
        bound = _RELATIVE * rows.norm(dim=1) + _ABSOLUTE * largest
        if bool(((found - rows).norm(dim=1) > bound).any()):
            wrong.append(name)
    return wrong
