"""The top of a report: the headline, the detection limits, four key numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr

from trajscope.errors import ResultsError, printable
from trajscope.report.content.numbers import Window, counted, decimal, number, percent, window
from trajscope.report.content.verdict import (
    UNUSED,
    Verdict,
    exponent_in_words,
    verdict,
)
from trajscope.schema import GROUP, STEP

_LIMIT = 600


@dataclass(frozen=True)
class Headline:
    """The verdict in a word and in a sentence, its evidence, and advice.

    Attributes
    ----------
    tested :
        Whether the word is that of a verdict.
    """

    word: str
    sentence: str
    detail: str
    caution: str
    tested: bool


@dataclass(frozen=True)
class KeyNumber:
    """One number of the run, and its reference value."""

    name: str
    value: str
    reference: str


def headline(results: xr.DataTree) -> Headline:
    """The verdict; without one, a summary of the measured numbers."""
    decided = verdict(results)
    if decided is None:
        return _measured(results)
    first, stop, rest = decided.sentence.partition(". ")
    exponent = exponent_in_words(results["tests"].to_dataset(), decided.alpha)
    basis = f"{decided.basis[0].upper()}{decided.basis[1:]}." if decided.evidence else ""
    return Headline(
        word=decided.word,
        sentence=f"{first}." if stop else first,
        detail=" ".join(part for part in (rest, exponent, basis) if part),
        caution=decided.proposal,
        tested=True,
    )


def key_numbers(results: xr.DataTree) -> tuple[KeyNumber, ...]:
    """Four numbers: from the tests, or without tests from the curves, each with its reference."""
    decided = verdict(results)
    if decided is None or "brownian" not in decided.evidence:
        return _measured_numbers(results)
    told = results["tests"].attrs.get("summary", {})
    whole = results["tests"].to_dataset().isel({GROUP: 0})
    low, high = (float(whole[f"diffusion_exponent_{edge}"]) for edge in ("low", "high"))
    return (
        _p_number("Brownian null", decided, "brownian"),
        KeyNumber(
            "diffusion exponent",
            number(float(whole["diffusion_exponent"]), 2),
            f"Brownian motion of this length: {number(low, 2)} to {number(high, 2)}",
        ),
        _p_number("no-drift null", decided, "slow_drift", "drift"),
        _turning(results, decided, told.get("circulation", {})),
    )


def blind_spots(results: xr.DataTree) -> tuple[str, ...]:
    """The detection limits of the window, from its tests and from its spacing.

    Raises
    ------
    ResultsError
        There are not two to four: a report must always state its detection limits.
    """
    seen = window(results["trajectory"].to_dataset())
    decided = verdict(results)
    known = decided.unseen if decided else tuple(spot(seen) for spot in UNTESTED)
    spots = (*known, *(spot(seen) for spot in ALWAYS))
    if not known or not 2 <= len(spots) <= 4:
        raise ResultsError(
            f"The result states {len(spots)} detection limits of its window; two to four are "
            "expected. This is a bug in trajscope: please report it."
        )
    return spots


def all_weights(results: xr.DataTree) -> xr.Dataset:
    """The observables of all weights together."""
    return results["observables"].to_dataset().isel({GROUP: 0})


def _measured(results: xr.DataTree) -> Headline:
    whole = all_weights(results)
    n_steps = results["trajectory"].sizes[STEP]
    path, moved = float(whole["path_length"]), float(whole["displacement"][-1])
    exponent = float(whole["diffusion_exponent"])
    if path == 0:
        sentence = f"No weight changes in {counted(n_steps, 'checkpoint')}."
    elif not math.isfinite(path):
        sentence = f"The path length of {counted(n_steps, 'checkpoint')} is not finite."
    else:
        sentence = (
            f"{counted(n_steps, 'checkpoint')}: path length {number(path)}, displacement "
            f"{number(moved)} from the first to the last."
        )
    growth = (
        f"The mean squared displacement grows as lag to the power {number(exponent, 2)} "
        "(random walk: 1, straight line: 2)."
        if math.isfinite(exponent)
        else ""
    )
    why = printable(results["verdict"].attrs.get("reason", ""), limit=_LIMIT)
    return Headline(
        word="no verdict",
        sentence=sentence,
        detail=growth,
        caution=why or "This result contains no tests: run 'trajscope analyze' again.",
        tested=False,
    )


def _measured_numbers(results: xr.DataTree) -> tuple[KeyNumber, ...]:
    whole = all_weights(results)
    n_increments = results["trajectory"].sizes[STEP] - 1
    path, moved = float(whole["path_length"]), float(whole["displacement"][-1])
    turns = np.asarray(whole["increment_cosine"].values, dtype=np.float64)
    turns = turns[np.isfinite(turns)]
    first = whole["explained_variance"].values[:1]
    walk = np.asarray(results["observables"]["explained_variance_brownian"].values)[:1]
    return (
        _between("diffusion exponent", number(float(whole["diffusion_exponent"]), 2), "1", "2"),
        _between(
            "path / displacement",
            number(path / moved if moved else math.nan, 2),
            # E|sum of n independent increments|^2 = n E|increment|^2, many weights.
            f"about {number(math.sqrt(n_increments), 2)}",
            "1",
        ),
        _between(
            "variance in first component",
            percent(float(first[0]) if first.size else math.nan),
            percent(float(walk[0]) if walk.size else math.nan),
            "100%",
        ),
        _between(
            "mean increment cosine",
            decimal(float(turns.mean()) if turns.size else math.nan),
            "0",
            "1",
        ),
    )


def _between(name: str, value: str, random_walk: str, straight_line: str) -> KeyNumber:
    return KeyNumber(name, value, f"random walk: {random_walk}; straight line: {straight_line}")


def _p_number(name: str, decided: Verdict, *tests: str) -> KeyNumber:
    for test in tests:
        for gate in decided.gates:
            if gate.test == test and gate.finding.startswith(UNUSED):
                return KeyNumber(name, UNUSED, gate.finding.removeprefix(f"{UNUSED}: "))
        if test in decided.evidence:
            p_value = decided.evidence[test]
            kept = "rejected" if p_value <= decided.alpha else "not rejected"
            return KeyNumber(name, f"p = {p_value:.2g}", f"{kept} at α = {decided.alpha:g}")
    return KeyNumber(name, "not tested", f"the verdict is {decided.word}")


_OF_REST: Final = "rest circulating?"
"""The question of the decision path about a window without its course."""


def _turning(results: xr.DataTree, decided: Verdict, told: Mapping[str, object]) -> KeyNumber:
    found = _p_number("reversible null", decided, "circulation")
    about = next((gate for gate in decided.gates if gate.question == _OF_REST), None)
    if about is not None and about.answer:
        verb = "rejected" if about.spoke else "not rejected"
        where = f"{verb} at α = {decided.alpha:g}, about the course"
        return KeyNumber(found.name, about.finding, where)
    period = told.get("period")
    if decided.code != "circulating" or not isinstance(period, (int, float)):
        return found
    seen = window(results["trajectory"].to_dataset())
    turn = (
        f"{number(period)} {seen.unit}s"
        if seen.unit != "index"
        else f"{number(period)} checkpoints"
    )
    return KeyNumber(found.name, found.value, f"{found.reference}; period {turn}")


def _too_slow(seen: Window) -> str:
    # The mean of a process with correlation time tau over T samples has the variance 2 tau / T of
    # the process: at tau = T/10 the level that a curve settles at is known to sqrt(0.2) = 45%.
    slowest = seen.checkpoints // 10
    if slowest < 2:
        return (
            f"relaxation or rotation at any rate: {counted(seen.checkpoints, 'checkpoint')} are "
            "too few; the fastest need about 20"
        )
    return (
        f"relaxation slower than about {seen.length(slowest)}: the window spans fewer than ten "
        "such times, and a plateau is then uncertain by 45% or more"
    )


def _too_fast(seen: Window) -> str:
    return f"oscillations with a period below {seen.length(2)}: seen as slower ones (aliasing)"


def _untested(seen: Window) -> str:
    return (
        f"rotation: the {counted(seen.checkpoints, 'checkpoint')} were not tested for circulation, "
        "and an arch in the plane of principal components is no evidence of it"
    )


UNTESTED: tuple[Callable[[Window], str], ...] = (_too_slow, _untested)
"""Detection limits of a result without tests."""
ALWAYS: tuple[Callable[[Window], str], ...] = (_too_fast,)
"""Detection limits of every test."""
