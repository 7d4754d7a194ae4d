"""What is said first: the headline, what the window could not have shown, four key numbers."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from trajscope.errors import ResultsError
from trajscope.report.words import Window, counted, decimal, number, percent
from trajscope.schema import GROUP, STEP


@dataclass(frozen=True)
class Headline:
    """The word of the verdict, the finding in one sentence, its evidence, and what it is not."""

    word: str
    sentence: str
    detail: str
    caution: str


@dataclass(frozen=True)
class KeyNumber:
    """One number of the run beside what a random walk and a straight line would give."""

    name: str
    value: str
    random_walk: str
    straight_line: str


@dataclass(frozen=True)
class Gate:
    """One question on the way to a verdict.

    Attributes
    ----------
    finding :
        ``results -> str``: the number that answered it, or `None` where it was not tested.
    """

    question: str
    finding: Callable[[xr.DataTree], str | None]


def headline(results: xr.DataTree) -> Headline:
    """What the run did, from measured numbers alone; it claims nothing about a null."""
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
        caution="This version measures and draws; it does not test yet.",
    )


def key_numbers(results: xr.DataTree) -> tuple[KeyNumber, ...]:
    """Four numbers, each with the value it would have for two processes with known answers."""
    whole = all_weights(results)
    n_increments = results["trajectory"].sizes[STEP] - 1
    path, moved = float(whole["path_length"]), float(whole["displacement"][-1])
    turns = np.asarray(whole["increment_cosine"].values, dtype=np.float64)
    turns = turns[np.isfinite(turns)]
    first = whole["explained_variance"].values[:1]
    walk = np.asarray(results["observables"]["explained_variance_brownian"].values)[:1]
    return (
        KeyNumber("diffusion exponent", number(float(whole["diffusion_exponent"]), 2), "1", "2"),
        KeyNumber(
            "path / displacement",
            number(path / moved if moved else math.nan, 2),
            # E|sum of n independent increments|^2 = n E|increment|^2, many weights.
            f"about {number(math.sqrt(n_increments), 2)}",
            "1",
        ),
        KeyNumber(
            "variance in first component",
            percent(float(first[0]) if first.size else math.nan),
            percent(float(walk[0]) if walk.size else math.nan),
            "100%",
        ),
        KeyNumber(
            "mean cosine of a turn",
            decimal(float(turns.mean()) if turns.size else math.nan),
            "0",
            "1",
        ),
    )


def blind_spots(seen: Window) -> tuple[str, ...]:
    """What the window could not have shown, from its length and spacing alone.

    Raises
    ------
    ResultsError
        Not two to four are known: a report that does not say them must not be made.
    """
    spots = tuple(spot(seen) for spot in BLIND_SPOTS)
    if not 2 <= len(spots) <= 4:
        raise ResultsError(
            f"The report lists {len(spots)} things that its window could not have shown; two to "
            "four are expected. This is a mistake in trajscope: please report it."
        )
    return spots


def all_weights(results: xr.DataTree) -> xr.Dataset:
    """The observables of all weights together."""
    return results["observables"].to_dataset().isel({GROUP: 0})


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


BLIND_SPOTS: tuple[Callable[[Window], str], ...] = (_too_slow, _untested, _too_fast)


def _not_tested(results: xr.DataTree) -> None:  # noqa: ARG001 (one shape for all findings)
    return None


GATES = (
    Gate("long enough?", _not_tested),
    Gate("noise steady?", _not_tested),
    Gate("Brownian?", _not_tested),
    Gate("drifting?", _not_tested),
    Gate("circulating?", _not_tested),
)
"""The questions of the verdict in the order they are asked."""
