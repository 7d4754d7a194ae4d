"""One window by itself: its limits, and its noise, course and rest."""

from typing import Final

import numpy as np

from trajscope.inference.course.apart import Found, take_apart
from trajscope.inference.course.rest import Draws
from trajscope.inference.decision.parts import is_told_already, is_worth_taking_apart
from trajscope.inference.decision.settings import Decision, DecisionSettings
from trajscope.inference.decision.words import Detail, Run
from trajscope.inference.statistics.power import slowest_relaxation, slowest_rotation
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats

FEWER_SURROGATES: Final = 199


def taken_apart(
    run: Run, window: Window, decision: Decision, settings: DecisionSettings
) -> Found | None:
    """Noise, course and rest.

    `None` where nothing was tested, where checkpoints are uneven, and where they show no more than
    the decision does.
    """
    if not is_worth_taking_apart(decision) or window.lengths is not None:
        return None
    changes = "change" in decision.evidence
    found = take_apart(
        window.increments,
        draws_of(settings),
        noise_changes=changes,
        rate=rate_of(run),
        rounding=window.rounding,
    )
    return None if is_told_already(decision, found) else found


def draws_of(settings: DecisionSettings) -> Draws:
    """How many are drawn where a window is taken apart."""
    count = min(settings.n_surrogates, FEWER_SURROGATES)
    return Draws(count, settings.alpha, settings.seed, settings.most_numbers)


def rate_of(run: Run) -> Floats | None:
    """The learning rate of every interval, (interval,), where it is known."""
    rate = run.learning_rate
    if rate is None:
        return None
    # It holds from each checkpoint on; where a warm-up begins at zero, up to the next one.
    return np.where(rate[:-1] > 0, rate[:-1], (rate[:-1] + rate[1:]) / 2)


def detail_of(window: Window, decision: Decision, settings: DecisionSettings) -> Detail:
    """Its detection limits, and what else a sentence needs."""
    if decision.draws is None:
        return Detail()
    alpha, n = settings.alpha, window.n_exchangeable
    least = None
    if "slow_planes" in decision.statistics:
        time = decision.evidence["correlation_time"]
        null = decision.statistics["slow_planes"][1:]
        least = slowest_rotation(null, len(window.path), time, alpha / 2)
    return Detail(
        slowest_relaxation=slowest_relaxation(decision.draws.variance_ratio[1:, -1], n, alpha),
        slowest_rotation=least,
        ringing=settings.ringing,
        drift_strength=float(decision.statistics["constant_drift"][0]),
    )
