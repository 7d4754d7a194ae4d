"""What is said first: the headline, what the window could not have shown, four key numbers."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import ResultsError
from trajscope.report.content.numbers import Window, counted, decimal, number, percent, window
from trajscope.report.content.verdict import Verdict, exponent_in_words, verdict
from trajscope.schema import GROUP, STEP


@dataclass(frozen=True)
class Headline:
    """The word of the verdict, the finding in one sentence, its evidence, and what it is not.

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
    """One number of the run, and what to hold it against."""

    name: str
    value: str
    reference: str


def headline(results: xr.DataTree) -> Headline:
    """The verdict; without one, what the run did, from measured numbers alone."""
    judged = verdict(results)
    if judged is None:
        return _measured(results)
    first, stop, rest = judged.sentence.partition(". ")
    exponent = exponent_in_words(results["tests"].to_dataset(), judged.alpha)
    basis = f"{judged.basis[0].upper()}{judged.basis[1:]}." if judged.evidence else ""
    return Headline(
        word=judged.word,
        sentence=f"{first}." if stop else first,
        detail=" ".join(part for part in (rest, exponent, basis) if part),
        caution=judged.proposal,
        tested=True,
    )


def key_numbers(results: xr.DataTree) -> tuple[KeyNumber, ...]:
    """Four numbers: of the tests, or without these of the run, each with its reference."""
    judged = verdict(results)
    if judged is None or "brownian" not in judged.evidence:
        return _measured_numbers(results)
    told = results["tests"].attrs.get("summary", {})
    whole = results["tests"].to_dataset().isel({GROUP: 0})
    low, high = (float(whole[f"diffusion_exponent_{edge}"]) for edge in ("low", "high"))
    return (
        _p_number("Brownian null", judged, "brownian"),
        KeyNumber(
            "diffusion exponent",
            number(float(whole["diffusion_exponent"]), 2),
            f"Brownian, this length: {number(low, 2)} to {number(high, 2)}",
        ),
        _p_number("no-drift null", judged, "slow_drift", "drift"),
        _turning(results, judged, told.get("circulation", {})),
    )


def blind_spots(results: xr.DataTree) -> tuple[str, ...]:
    """What the window could not have shown, as its tests know it, and from its spacing.

    Raises
    ------
    ResultsError
        Not two to four are known: a report that does not say them must not be made.
    """
    seen = window(results["trajectory"].to_dataset())
    judged = verdict(results)
    known = judged.unseen if judged else tuple(spot(seen) for spot in UNTESTED)
    spots = (*known, *(spot(seen) for spot in ALWAYS))
    if not known or not 2 <= len(spots) <= 4:
        raise ResultsError(
            f"The report lists {len(spots)} things that its window could not have shown; two to "
            "four are expected. This is a mistake in trajscope: please report it."
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
        sentence = f"Nothing moved in {counted(n_steps, 'checkpoint')}."
    elif not math.isfinite(path):
        sentence = f"{counted(n_steps, 'checkpoint')} were read, but their path has no length."
    else:
        sentence = (
            f"In {counted(n_steps, 'checkpoint')} the run walked a path of {number(path)} "
            f"and ended {number(moved)} from its start."
        )
    growth = (
        f"Squared displacement grows as lag to the power {number(exponent, 2)}: 1 is a random "
        "walk, 2 a straight line."
        if math.isfinite(exponent)
        else ""
    )
    return Headline(
        word="no verdict",
        sentence=sentence,
        detail=growth,
        caution="This result was made without tests: run 'trajscope analyze' again.",
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
            "mean cosine of a turn",
            decimal(float(turns.mean()) if turns.size else math.nan),
            "0",
            "1",
        ),
    )


def _between(name: str, value: str, random_walk: str, straight_line: str) -> KeyNumber:
    return KeyNumber(name, value, f"random walk: {random_walk}; straight line: {straight_line}")


def _p_number(name: str, judged: Verdict, *tests: str) -> KeyNumber:
    for test in tests:
        if test in judged.evidence:
            p_value = judged.evidence[test]
            kept = "rejected" if p_value <= judged.alpha else "kept"
            return KeyNumber(name, f"p = {p_value:.2g}", f"{kept} at α = {judged.alpha:g}")
    return KeyNumber(name, "not tested", f"the verdict is {judged.word}")


def _turning(results: xr.DataTree, judged: Verdict, told: Mapping[str, object]) -> KeyNumber:
    found = _p_number("reversible null", judged, "circulation")
    period = told.get("period")
    if judged.code != "circulating" or not isinstance(period, (int, float)):
        return found
    seen = window(results["trajectory"].to_dataset())
    turn = (
        f"{number(period)} {seen.unit}s"
        if seen.unit != "index"
        else f"{number(period)} checkpoints"
    )
    return KeyNumber(found.name, found.value, f"{found.reference}; one turn in {turn}")


def _too_slow(seen: Window) -> str:
    # The mean of a process with correlation time tau over T samples has the variance 2 tau / T of
    # the process: at tau = T/10 the level that a curve settles at is known to sqrt(0.2) = 45%.
    slowest = seen.checkpoints // 10
    if slowest < 2:
        return (
            f"a well or a cycle of any length: {counted(seen.checkpoints, 'checkpoint')} hold too "
            "few repetitions; from about 20 on the fastest can be seen"
        )
    return (
        f"a well slower than about {seen.length(slowest)}: the window holds fewer than ten such "
        "times, and a level is then uncertain by 45% or more"
    )


def _too_fast(seen: Window) -> str:
    return (
        f"an oscillation faster than {seen.length(2)} a turn: between checkpoints nothing was "
        "seen, and a faster one would appear as a slower one"
    )


def _untested(seen: Window) -> str:
    return (
        f"a loop: none of the {counted(seen.checkpoints, 'checkpoint')} was tested for one, and an "
        "arch in the plane of principal components is not a loop"
    )


UNTESTED: tuple[Callable[[Window], str], ...] = (_too_slow, _untested)
"""What is said where no test knows what it could have seen."""
ALWAYS: tuple[Callable[[Window], str], ...] = (_too_fast,)
"""What no test can see."""
