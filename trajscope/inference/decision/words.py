"""What a verdict says in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import printable
from trajscope.inference.decision.order import (
    FEWEST_BLOCKS,
    FEWEST_CHECKPOINTS,
    FEWEST_CORRELATION_TIMES,
)
from trajscope.inference.decision.settings import Judgement


@dataclass(frozen=True)
class Run:
    """How checkpoints are counted.

    Attributes
    ----------
    steps : (step,)
    unit :
        "step", "epoch", or "index".
    spacing :
        Between neighbouring checkpoints, `None` where they are unevenly spaced.
    """

    steps: NDArray[np.floating] | NDArray[np.integer]
    unit: str
    spacing: float | None

    def length(self, checkpoints: float) -> str:
        """A time of so many checkpoints, in steps or epochs where these are evenly spaced."""
        if self.spacing is None or self.unit == "index":
            time, unit = number(checkpoints), "checkpoint"
        else:
            time, unit = number(checkpoints * self.spacing), self.unit
        return f"{time} {unit}" if time == "1" else f"{time} {unit}s"

    def place(self, checkpoint: int) -> str:
        """The name of a checkpoint."""
        word = "checkpoint" if self.unit == "index" else self.unit
        return f"{word} {number(float(self.steps[checkpoint]), 9)}"


@dataclass(frozen=True)
class Detail:
    """Numbers of a verdict that are not p-values, times in checkpoints.

    Attributes
    ----------
    slowest_well, least_circulation :
        What would have been seen, `None` where nothing or not asked.
    period, entropy_production :
        Of a circulation.
    memory :
        Lengths of time below which increments persist.
    drifting_layers :
        Names.
    ringing :
        What is known of momentum's ringing, in a sentence.
    """

    slowest_well: float | None = None
    least_circulation: float | None = None
    period: float | None = None
    entropy_production: float | None = None
    drifting_layers: tuple[str, ...] = ()
    ringing: str = ""
    drift_strength: float | None = None


def sentence(found: Judgement, detail: Detail, run: Run) -> str:
    """One or two sentences that say what was found, with the numbers that decided."""
    said = _SENTENCES[found.code](found, detail, run)
    if not found.flips or found.code == "noise_scale_changes":
        return said
    p = found.evidence
    return (
        f"{said} The noise changed a little at {run.place(round(p['change']))}, its variance to "
        f"{number(p['noise_ratio'])} times what it was: signs were flipped instead of permuting."
    )


def _too_short(found: Judgement, detail: Detail, run: Run) -> str:  # noqa: ARG001
    n = len(run.steps)
    if found.reason == "few":
        return (
            f"Too short to be judged: {n} checkpoints, and at least {FEWEST_CHECKPOINTS} are "
            f"needed; {FEWEST_CHECKPOINTS - n} more."
        )
    if found.reason == "still":
        return "Nothing to be judged: the weights are the same in every checkpoint."
    if found.reason == "correlation_time":
        time = found.evidence["correlation_time"]
        missing = int(np.ceil(FEWEST_CORRELATION_TIMES * time - n))
        return (
            "Too short to be judged: displacements are taken back, over a correlation time of "
            f"{run.length(time)}, and the window holds {number(n / time, 2)} of these; "
            f"{FEWEST_CORRELATION_TIMES} are needed, about {missing:,} more checkpoints."
        )
    if found.reason == "uneven":
        return (
            "Not to be judged: the path is not Brownian, but checkpoints are too unevenly spaced "
            f"to say more; {FEWEST_CHECKPOINTS} evenly spaced ones are needed."
        )
    if found.reason == "rounding":
        return (
            "Not to be judged: the stored weights are rounded so coarsely that rounding alone may "
            "have taken displacements back. Log in float32."
        )
    return (
        "Too short to be judged: increments resemble their neighbours over so long a time that no "
        f"grid of {FEWEST_BLOCKS} blocks is free of it. Several times as many checkpoints are "
        "needed."
    )


def _noise_scale_changes(found: Judgement, detail: Detail, run: Run) -> str:  # noqa: ARG001
    p = found.evidence
    return (
        f"The noise changes its scale at {run.place(round(p['change']))}: its variance is "
        f"{number(p['noise_ratio'])} times as large afterwards (p = {p_text(p['noise_scale'])}). "
        "One verdict does not fit both parts."
    )


def _drifting(found: Judgement, detail: Detail, run: Run) -> str:  # noqa: ARG001
    p = found.evidence
    where = f", most clearly in {_listed(detail.drifting_layers)}" if detail.drifting_layers else ""
    strength = (
        f" The squared displacement is {number(detail.drift_strength)} times that of a random "
        "walk of the same increments."
        if detail.drift_strength
        else ""
    )
    if p.get("slow_drift", 1.0) <= p.get("constant_drift", 1.0) and "slow_drift" in p:
        return f"Drifts (p = {p_text(p['slow_drift'])}){where}.{strength}"
    if p["constant_drift"] <= min(p["relaxation"], p.get("early_excess", 1.0)):
        return f"Drifts in one direction (p = {p_text(p['constant_drift'])}){where}.{strength}"
    p_value = min(p["relaxation"], p.get("early_excess", 1.0))
    return (
        "Still relaxing: the run began away from where it then stayed "
        f"(p = {p_text(p_value)}){where}. It is not one steady state yet."
    )


def _brownian(found: Judgement, detail: Detail, run: Run) -> str:
    p = found.evidence
    well = (
        f" A well with a correlation time up to {run.length(detail.slowest_well)} would have been "
        "noticed."
        if detail.slowest_well
        else " Hardly any well would have been noticed."
    )
    if "brownian_beyond" in p:
        return (
            f"Brownian motion beyond {run.length(p['brownian_beyond'])}: increments resemble their "
            "neighbours over shorter times, as momentum makes them, and are independent over "
            f"longer ones.{well}"
        )
    p_value = p_text(p["brownian"])
    return f"Indistinguishable from Brownian motion on this window (p = {p_value}).{well}"


def _confined(found: Judgement, detail: Detail, run: Run) -> str:
    p = found.evidence
    if "circulation" not in p:
        looked = "With one component that moves, there is no plane to circulate in."
    elif detail.least_circulation:
        looked = (
            "Reversible as far as this window can tell: no circulation was found, and the slowest "
            "that would have been turns by "
            f"{number(detail.least_circulation)} radians per relaxation time."
        )
    else:
        looked = "No circulation was found, and hardly any could have been."
    return (
        f"Confined: displacements are taken back (p = {p_text(p['brownian'])}), with a correlation "
        f"time of {run.length(p['correlation_time'])}. {looked}"
    )


def _circulating(found: Judgement, detail: Detail, run: Run) -> str:
    p_value = p_text(found.evidence["circulation"])
    if detail.period is None or detail.entropy_production is None:
        return f"Circulates: the path turns one way more often than the other (p = {p_value})."
    per = "checkpoint" if run.spacing is None or run.unit == "index" else run.unit
    return (
        f"Circulates with a period of {run.length(detail.period)}, producing "
        f"{number(detail.entropy_production / (run.spacing or 1))} nats of entropy per {per} "
        f"(p = {p_value}): the path is confined, and turns one way more often than the other."
    )


def _oscillating(found: Judgement, detail: Detail, run: Run) -> str:
    p = found.evidence
    period = run.length(len(run.steps) / p["cycles"])
    return (
        f"Oscillates with a period of about {period}: two modes share one narrow line "
        f"(p = {p_text(p['line'])}). {detail.ringing}"
    )


_SENTENCES: Final = {
    "too_short": _too_short,
    "noise_scale_changes": _noise_scale_changes,
    "drifting": _drifting,
    "brownian": _brownian,
    "confined": _confined,
    "circulating": _circulating,
    "oscillating": _oscillating,
}


def strongest(p_values: Mapping[str, float], alpha: float) -> tuple[str, ...]:
    """Up to three names with the smallest p-values at or below alpha."""
    named = sorted((p, name) for name, p in p_values.items() if p <= alpha)
    return tuple(name for _, name in named[:3])


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(f"'{printable(name, limit=40)}'" for name in names)


def p_text(value: float) -> str:
    """A p-value, two significant digits."""
    return f"{value:.2g}"


def number(value: float | None, digits: int = 3) -> str:
    """A few significant digits, without an exponent where that can be read."""
    if value is None:
        return "unknown"
    rounded = float(f"{value:.{digits}g}")
    return f"{rounded:,.0f}" if 1000 <= abs(rounded) < 1e9 else f"{rounded:.{digits}g}"
