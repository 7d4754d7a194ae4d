"""The sentence of each verdict of the first procedure."""

from typing import Final

import numpy as np

from trajscope.errors import printable
from trajscope.inference.decision.order import (
    FEWEST_BLOCKS,
    FEWEST_CHECKPOINTS,
    FEWEST_CORRELATION_TIMES,
)
from trajscope.inference.decision.settings import Decision
from trajscope.inference.decision.words import Detail, Run, number, p_text

_ONE_VERDICT: Final = "One verdict does not fit both parts."


def sentence(decision: Decision, detail: Detail, run: Run) -> str:
    """One or two sentences that state the verdict, with the numbers that decided it."""
    said = _SENTENCES[decision.code](decision, detail, run)
    if not decision.flips or decision.code == "noise_scale_changes":
        return said
    p = decision.evidence
    return (
        f"{said} The noise variance changes slightly at {run.place(round(p['change']))}, by a "
        f"factor of {number(p['noise_ratio'])}; the null therefore uses sign flips instead of "
        "permutations."
    )


def stands_still(run: Run, span: tuple[int, int]) -> str:
    """At which ends of the run a layer does not move, which moves within this span."""
    first, stop = span
    ends = [
        *([f"until {run.place(first)}"] if first > 0 else []),
        *([f"from {run.place(stop - 1)} on"] if stop < len(run.steps) else []),
    ]
    return f"Stands still {' and '.join(ends)}." if ends else ""


def _too_short(decision: Decision, detail: Detail, run: Run) -> str:  # noqa: ARG001
    return _REASONS[decision.reason](decision, run)


def _few(decision: Decision, run: Run) -> str:
    n = len(run.steps)
    p = decision.evidence
    missing = (
        f"Too short: {n} checkpoints; at least {FEWEST_CHECKPOINTS} are needed "
        f"({FEWEST_CHECKPOINTS - n} more)."
    )
    if "constant_drift" not in p:
        return missing
    drift = (
        f"squared displacement {number(p['displacement_ratio'])} times that of a walk "
        f"(p = {p_text(p['constant_drift'])}, the smallest possible is {p_text(p['least_p'])})"
    )
    return f"{missing} Exact at this length: {drift}; {_neighbours(decision)}; {_trend(decision)}."


def _neighbours(decision: Decision) -> str:
    p = decision.evidence
    return (
        f"correlation of successive increments {number(p['neighbour_correlation'], 2)} "
        f"(p = {p_text(p['neighbours'])})"
    )


def _trend(decision: Decision) -> str:
    p = decision.evidence
    growth = p["noise_growth"]
    way, by = ("grows", growth) if growth > 1 else ("falls", 1 / max(growth, 1e-300))
    return f"the noise variance {way} {number(by, 2)}-fold (p = {p_text(p['noise_trend'])})"


def _still(decision: Decision, run: Run) -> str:
    n_moves = int(decision.evidence["moves"])
    if n_moves == 0:
        return "Not tested: the weights are identical in every checkpoint."
    return (
        f"Not tested: the weights change in {n_moves} of {len(run.steps) - 1:,} intervals, and "
        f"{FEWEST_CHECKPOINTS - 1} changes are needed. Checkpoints that repeat the one before can "
        "be left out (--steps); what is left is tested as a short run."
    )


def _few_correlation_times(decision: Decision, run: Run) -> str:
    n, time = len(run.steps), decision.evidence["correlation_time"]
    missing = int(np.ceil(FEWEST_CORRELATION_TIMES * time - n))
    return (
        f"Too short: mean-reverting with a correlation time of {run.length(time)}; the window "
        f"spans {number(n / time, 2)} correlation times and {FEWEST_CORRELATION_TIMES} are "
        f"needed (about {missing:,} more checkpoints)."
    )


def _uneven(decision: Decision, run: Run) -> str:
    return (
        "Not Brownian, but the checkpoints are too unevenly spaced for further tests: "
        f"{_even(decision, run)} and {FEWEST_CHECKPOINTS} are needed."
    )


def _uneven_noise(decision: Decision, run: Run) -> str:
    ratio = decision.evidence["noise_ratio"]
    return (
        "Too unevenly spaced: where checkpoints are farther apart, the squared movement per time "
        f"changes by a factor of {number(ratio)}. Paths that are confined or persist, and noise "
        f"that changes, cannot be told apart on this grid. {_even(decision, run)}."
    )


def _uneven_memory(decision: Decision, run: Run) -> str:
    return (
        "Too short: increments stay autocorrelated, and those of unevenly spaced checkpoints "
        f"cannot be averaged into equal blocks. {_even(decision, run)}."
    )


def _rounding(decision: Decision, run: Run) -> str:  # noqa: ARG001
    return (
        "Not tested further: rounding of the stored weights alone could explain the mean "
        "reversion. Save checkpoints in float32."
    )


def _memory(decision: Decision, run: Run) -> str:  # noqa: ARG001
    return (
        "Too short: increments stay autocorrelated even after averaging into "
        f"{FEWEST_BLOCKS} blocks; a slow course and noise that persists as long cannot be told "
        "apart. Several times as many checkpoints are needed."
    )


_REASONS: Final = {
    "few": _few,
    "still": _still,
    "correlation_time": _few_correlation_times,
    "uneven": _uneven,
    "uneven_memory": _uneven_memory,
    "uneven_noise": _uneven_noise,
    "rounding": _rounding,
    "memory": _memory,
}


def _even(decision: Decision, run: Run) -> str:
    even, n = decision.evidence["evenly_spaced"], len(run.steps)
    return f"{even:.0f} of {n:,} checkpoints are evenly spaced"


def _noise_scale_changes(decision: Decision, detail: Detail, run: Run) -> str:  # noqa: ARG001
    p = decision.evidence
    return (
        f"The noise variance changes at {run.place(round(p['change']))}, by a factor of "
        f"{number(p['noise_ratio'])} (p = {p_text(p['noise_scale'])}). {_ONE_VERDICT}"
    )


def _drifting(decision: Decision, detail: Detail, run: Run) -> str:
    p = decision.evidence
    where = f", most clearly in {_listed(detail.drifting_layers)}" if detail.drifting_layers else ""
    strength = (
        f" The squared displacement is {number(detail.drift_strength)} times that of a random "
        "walk with the same increments."
        if detail.drift_strength
        else ""
    )
    if "least_p" in p:
        return (
            f"Drifts in one direction (p = {p_text(p['constant_drift'])}, the smallest possible "
            f"is {p_text(p['least_p'])}){where}. The squared displacement is "
            f"{number(p['displacement_ratio'])} times that of a walk; {_neighbours(decision)}; "
            f"{_trend(decision)}. {len(run.steps)} checkpoints are too few for walks, wells and "
            f"loops: {FEWEST_CHECKPOINTS} are needed."
        )
    if p.get("slow_drift", 1.0) <= p.get("constant_drift", 1.0) and "slow_drift" in p:
        return f"Drifts (p = {p_text(p['slow_drift'])}){where}.{strength}"
    if p["constant_drift"] <= min(p["relaxation"], p.get("early_excess", 1.0)):
        way = "" if detail.is_curved else " in one direction"
        return f"Drifts{way} (p = {p_text(p['constant_drift'])}){where}.{strength}"
    p_value = min(p["relaxation"], p.get("early_excess", 1.0))
    return (
        f"Still relaxing: the window contains an initial transient (p = {p_text(p_value)}){where}. "
        "It is not in one steady state."
    )


def _diverging(decision: Decision, detail: Detail, run: Run) -> str:  # noqa: ARG001
    p = decision.evidence
    doubled = run.length(np.log(2) / np.log(p["growth"]))
    turning = " and change their sign" if p["alternates"] else ""
    return (
        f"Diverges: increments grow {number(p['growth'], 4)}-fold from each checkpoint to the "
        f"next{turning}, and double in {doubled}; this explains "
        f"{100 * p['explained']:.0f}% of their squares."
    )


def _brownian(decision: Decision, detail: Detail, run: Run) -> str:
    p = decision.evidence
    limit = (
        " Mean reversion with a correlation time up to "
        f"{run.length(detail.slowest_relaxation)} would have been detected."
        if detail.slowest_relaxation
        else " Almost no mean reversion would have been detected."
    )
    if "brownian_beyond" in p:
        return (
            f"Brownian motion on time scales above {run.length(p['brownian_beyond'])}: increments "
            f"are autocorrelated over shorter times, as with momentum, and independent over longer "
            f"ones.{limit}"
        )
    p_value = p_text(p["brownian"])
    return f"Indistinguishable from Brownian motion in this window (p = {p_value}).{limit}"


def _confined(decision: Decision, detail: Detail, run: Run) -> str:
    p = decision.evidence
    if "circulation" not in p:
        rotation = "Only one component moves, so there is no plane to rotate in."
    elif detail.slowest_rotation:
        rotation = (
            "No circulation detected; the slowest detectable rotation in one plane is "
            f"{number(detail.slowest_rotation)} radians per relaxation time."
        )
    else:
        rotation = "No circulation detected, but almost none would have been."
    return (
        f"Confined: mean-reverting (p = {p_text(p['brownian'])}), with a correlation "
        f"time of {run.length(p['correlation_time'])}. {rotation}"
    )


def _circulating(decision: Decision, detail: Detail, run: Run) -> str:
    p_value = p_text(decision.evidence["circulation"])
    if detail.per_relaxation is None or detail.entropy_production is None:
        return f"Circulates: the path rotates in one direction on average (p = {p_value})."
    spacing = run.spacing or 1
    low, high = detail.entropy_interval

    def of(rate: float) -> str:
        return number(rate / spacing)

    per = "checkpoint" if run.spacing is None or run.unit == "index" else run.unit
    production = f"of {of(detail.entropy_production)} nats per {per} (95%: {of(low)} to {of(high)}"
    if low <= 0:  # the rotation is certain, its size is not
        production = f"of at most {of(high)} nats per {per} (95%"
    return (
        f"Circulates {_turn(detail, run)}, with an entropy production {production}; "
        f"p = {p_value}): the path is confined and rotates in one direction on average."
    )


def _turn(detail: Detail, run: Run) -> str:
    """How fast it turns: as a period only where it turns round and round."""
    if not detail.per_relaxation:
        return "(in no single plane more than reversible paths may by chance)"
    if detail.period is None or detail.period_interval is None:
        return f"by {number(detail.per_relaxation, 2)} radians per relaxation time"
    low, high = (run.length(each).partition(" ")[0] for each in detail.period_interval)
    return f"with a period of {run.length(detail.period)} (95%: {low} to {high})"


def _oscillating(decision: Decision, detail: Detail, run: Run) -> str:
    p = decision.evidence
    period = run.length(len(run.steps) / p["cycles"])
    return (
        f"Oscillates with a period of about {period}: two modes share one spectral peak "
        f"(p = {p_text(p['line'])}). {detail.ringing}"
    )


_SENTENCES: Final = {
    "too_short": _too_short,
    "noise_scale_changes": _noise_scale_changes,
    "diverging": _diverging,
    "drifting": _drifting,
    "brownian": _brownian,
    "confined": _confined,
    "circulating": _circulating,
    "oscillating": _oscillating,
}


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{printable(name, limit=40)}'" for name in names)
