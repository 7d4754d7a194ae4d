"""The noise budget of a run: inner products of gradients and increments, and what they say."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from trajscope.gradient_noise.budget.alignment import Aligned, expected_alignment
from trajscope.gradient_noise.budget.grams import budget_grams
from trajscope.gradient_noise.budget.guards import as_attributes, withheld
from trajscope.gradient_noise.budget.noise_gain import (
    gain_with_replacement,
    gain_without_replacement,
    overlap,
)
from trajscope.gradient_noise.budget.plan import BudgetPlan
from trajscope.gradient_noise.budget.ratio import (
    Grams,
    Ratio,
    doubling,
    measured,
    rate_change,
    ratio,
    without_means,
)
from trajscope.gradient_noise.options import Options
from trajscope.kernels.gram import Floats
from trajscope.model.checkpoints import Checkpoints
from trajscope.schema import DIRECTION

SAMPLING = "sampling"
_DIRECTIONS: Final = 10
_COARSE: Final = 0.95
"""Of the noise's growth over two intervals: below, `m r > 0.1` for a rate r per update."""
_MOSTLY_DRIFT: Final = 0.5
_EPOCH_PART: Final = 0.25
"""Of an epoch, in updates between checkpoints and of momentum's memory: up to there the shuffled
prediction is right to 2%, whatever the phases of the checkpoints."""


@dataclass(frozen=True)
class Found:
    """Variables and attributes of a result."""

    variables: dict[str, Any]
    attributes: dict[str, Any]


def budget(
    plan: BudgetPlan | None, checkpoints: Checkpoints, options: Options, spoken: dict[str, str]
) -> Found:
    """The noise budget, or the guards that refuse it.

    Parameters
    ----------
    spoken :
        Guards that have spoken already, with their details; more may.
    """
    if plan is None:
        return Found({}, as_attributes(spoken))
    grams = budget_grams(plan, checkpoints, spoken)
    if not withheld(spoken) and not (grams.noise().mean() > 0):
        spoken["no_noise"] = "all gradients are equal"
    if not withheld(spoken) and not np.trace(grams.increments) > 0:
        spoken["no_noise"] = "the weights do not move"
    attributes = {
        "budget_mode": options.mode,
        "budget_updates": plan.updates,
        "budget_momentum": plan.optimizer.momentum,
        "budget_lr": plan.optimizer.learning_rate,
        "budget_batch_size": plan.optimizer.batch_size,
        "budget_optimizer": plan.words,
        "budget_steps": [place.step for place in plan.places],
    }
    if withheld(spoken):
        return Found({}, attributes | as_attributes(spoken))
    variables = _variables(grams, plan, options, spoken)
    return Found(variables, attributes | as_attributes(spoken))


def _variables(
    grams: Grams, plan: BudgetPlan, options: Options, spoken: dict[str, str]
) -> dict[str, Any]:
    """Everything that the inner products say; more guards may speak."""
    optimizer = plan.optimizer
    once, twice = (overlap(count * plan.updates, optimizer) for count in (1, 2))
    traces, drift = measured(grams, once)
    if drift > _MOSTLY_DRIFT:
        spoken["drifting"] = f"{drift:.0%}"
    drawn = options.optimizer.with_replacement
    ways = ["with", "without"] if drawn is None else ["with" if drawn else "without"]
    if len(ways) > 1:
        spoken["sampling_unknown"] = ""
    unit = optimizer.eta**2 / optimizer.b * grams.noise()
    change = rate_change(traces / unit)
    if change:
        spoken["rate_changes"] = change
    predicted, ratios = [], []
    for way in ways:
        single = traces, unit * _gain(way, plan, once)
        double = measured(grams, twice, together=2)[0], unit * _gain(way, plan, twice)
        is_there = not withheld(spoken) and _speaks(way, plan, single, double, spoken)
        predicted.append(float(single[1].mean()))
        ratios.append(ratio(*single) if is_there else Ratio(*[float("nan")] * 3))
    return {
        **_ratio_variables(ways, ratios, predicted),
        "budget_measured_trace": ((), float(traces.mean()), {
            "units": "weight^2",
            "long_name": "trace of the covariance of the increments, without drift",
        }),
        "budget_drift": ((), drift, {
            "units": "1", "long_name": "share of drift in the mean squared increment",
        }),
        **_alignment_variables(without_means(grams) if drift else grams, once, options.seed),
    }  # fmt: skip


def _gain(way: str, plan: BudgetPlan, overlaps: Floats) -> float:
    if way == "with":
        return gain_with_replacement(overlaps)
    return gain_without_replacement(overlaps, plan.n_samples, plan.optimizer.b)


def _speaks(
    way: str,
    plan: BudgetPlan,
    single: tuple[Floats, Floats],
    double: tuple[Floats, Floats],
    spoken: dict[str, str],
) -> bool:
    """Whether the prediction for batches with or without replacement holds at this interval."""
    per_epoch = plan.n_samples / plan.optimizer.b
    reach = plan.updates + plan.optimizer.memory
    if way == "without" and reach > _EPOCH_PART * per_epoch:
        spoken["shuffled"] = f"{plan.updates}, of {per_epoch:g} in an epoch,"
        return False
    factor = doubling(single, double)
    if factor.value < _COARSE and not factor.high >= 1:
        spoken["lag_too_coarse"] = (
            f"for batches {way} replacement: a second interval adds {2 * factor.value - 1:.0%}"
        )
        return False
    return True


def _ratio_variables(
    ways: Sequence[str], ratios: Sequence[Ratio], predicted: Sequence[float]
) -> dict[str, Any]:
    words = "measured over predicted trace of the covariance of the increments"
    series: tuple[tuple[str, Callable[[Ratio], float], str], ...] = (
        ("budget_ratio", lambda r: r.value, words),
        ("budget_ratio_low", lambda r: r.low, f"{words}: lower end of the 95% interval"),
        ("budget_ratio_high", lambda r: r.high, f"{words}: upper end of the 95% interval"),
    )
    return {
        SAMPLING: list(ways),
        **{
            name: (SAMPLING, [part(each) for each in ratios], {"units": "1", "long_name": words})
            for name, part, words in series
        },
        "budget_predicted_trace": (SAMPLING, list(predicted), {
            "units": "weight^2",
            "long_name": "trace of the covariance of the increments predicted from gradient noise",
        }),
    }  # fmt: skip


def _alignment_variables(grams: Grams, overlaps: Floats, seed: int) -> dict[str, Any]:
    aligned = Aligned.of(grams)
    angles = aligned.angles(_DIRECTIONS)
    expected, expected_cosine = expected_alignment(
        aligned, grams, overlaps, n_directions=_DIRECTIONS, seed=seed
    )
    least = min(len(angles), len(expected))
    what = f"principal angles between the {least} leading directions of increments and noise"
    known = "expected for as many increments drawn from the predicted noise"
    return {
        "budget_angle": (DIRECTION, angles[:least], {"units": "degree", "long_name": what}),
        "budget_angle_expected": (
            DIRECTION, expected[:least], {"units": "degree", "long_name": f"{what}, {known}"},
        ),
        "budget_cosine": (
            (), aligned.cosine(), {"units": "1", "long_name": "tr(D C) / (|D| |C|)"},
        ),
        "budget_cosine_expected": (
            (), expected_cosine, {"units": "1", "long_name": f"tr(D C) / (|D| |C|), {known}"},
        ),
    }  # fmt: skip
