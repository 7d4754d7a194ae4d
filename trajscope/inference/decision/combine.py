"""The verdicts on a run: of all its weights and of every layer, and what goes with them."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from trajscope.inference.decision.order import FEWEST_CHECKPOINTS, leading_path
from trajscope.inference.decision.settings import Judgement, Question
from trajscope.inference.decision.verdict import judge, judge_together
from trajscope.inference.decision.words import Detail, Run, strongest
from trajscope.inference.statistics.current import Current, describe_current
from trajscope.inference.statistics.power import least_circulation, slowest_well
from trajscope.inference.statistics.window import Window

_CUTS: Final = (0.1, 0.2, 1 / 3, 0.5)
"""Shares of the window that are tried as a burn-in."""
_SETTLED: Final = ("brownian", "confined", "circulating", "oscillating")
_FEWER_SURROGATES: Final = 199


@dataclass(frozen=True)
class Judged:
    """Everything that was found of the groups of a run, all weights first.

    Attributes
    ----------
    current :
        Of all weights, where they were asked for a circulation.
    proposal :
        A burn-in, in words; empty where none helps.
    """

    run: Run
    names: Sequence[str]
    windows: Sequence[Window]
    found: Sequence[Judgement]
    question: Question
    details: Sequence[Detail]
    current: Current | None
    proposal: str


def judge_run(
    run: Run, names: Sequence[str], windows: Sequence[Window], question: Question
) -> Judged:
    """The verdicts on all weights and on every layer, and what goes with that on all weights.

    Layers are judged together, by p-values for all of them; all weights on their own.

    Parameters
    ----------
    names, windows :
        Of all weights, then of every layer.
    """
    beside = ThreadPoolExecutor(1)
    try:
        waited = beside.submit(judge, windows[0], question)
        layers = judge_together(windows[1:], question) if len(windows) > 1 else []
        whole = waited.result()
    finally:
        beside.shutdown(wait=False)  # an interruption need not see the end of it
    found = [whole, *layers]
    current = _current(windows[0], whole, question)
    drifts = {
        name: each.evidence.get("drift", 1.0) for name, each in zip(names[1:], layers, strict=True)
    }
    details = [_detail(*each, question) for each in zip(windows, found, strict=True)]
    details[0] = replace(details[0], drifting_layers=strongest(drifts, question.alpha))
    if current is not None and whole.code == "circulating":
        details[0] = replace(
            details[0],
            period=2 * np.pi / current.angular_velocity,
            entropy_production=current.entropy_production,
        )
    proposal = _proposal(run, windows[0], whole, question)
    return Judged(run, names, windows, found, question, details, current, proposal)


def _current(window: Window, found: Judgement, question: Question) -> Current | None:
    if "circulation" not in found.evidence:
        return None
    return describe_current(leading_path(window), question.seed)


def _detail(window: Window, found: Judgement, question: Question) -> Detail:
    if found.draws is None:
        return Detail()
    alpha, n = question.alpha, window.n_exchangeable
    least = None
    if "circulation" in found.asked:
        time = found.evidence["correlation_time"]
        null = found.asked["circulation"][1:]
        least = least_circulation(null, len(window.path), time, alpha)
    return Detail(
        slowest_well=slowest_well(found.draws.variance_ratio[1:, -1], n, alpha),
        least_circulation=least,
        ringing=question.ringing,
        drift_strength=float(found.asked["constant_drift"][0]),
    )


def _proposal(run: Run, window: Window, found: Judgement, question: Question) -> str:
    """The shortest of a few burn-ins after which the rest is one steady state, in words."""
    if found.code not in ("drifting", "noise_scale_changes"):
        return ""
    n = window.n_steps
    cuts = [round(share * n) for share in _CUTS]
    if found.code == "noise_scale_changes":
        cuts = sorted({round(found.evidence["change"]) + 1, *cuts})
    fewer = replace(question, n_surrogates=min(question.n_surrogates, _FEWER_SURROGATES))
    for cut in cuts:
        if n - cut < FEWEST_CHECKPOINTS:
            break
        rest = judge(window.after(cut), fewer)
        if rest.code in _SETTLED:
            return (
                f"Leave out the first {cut} of {n} checkpoints (--steps {run.steps[cut].item()}:): "
                f"the rest is {rest.code}."
            )
    return ""
