"""What a comparison found, in sentences: first in one, then pair by pair, and all runs pooled."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import xarray as xr

from trajscope.errors import printable
from trajscope.report.content.cases import Difference, Guard, differences, guards
from trajscope.report.content.numbers import counted, listed, number
from trajscope.schema import ALL_WEIGHTS, PAIR, cases_of


@dataclass(frozen=True)
class PairFound:
    """Two runs: what tells them apart, in all weights and in which layers.

    Attributes
    ----------
    who :
        "seed-2 against seed-1".
    sentence :
        Follows on `who` and a colon.
    differs :
        Whether a null hypothesis of all weights is rejected, or one of a layer.
    tested :
        Whether any was tested.
    """

    who: str
    sentence: str
    differs: bool
    tested: bool


@dataclass(frozen=True)
class Opening:
    """The comparison in one sentence, what it rests on, and what keeps it from seeing anything."""

    sentence: str
    detail: str
    caution: str


@dataclass(frozen=True)
class NotCompared:
    """What was not compared for one reason.

    Attributes
    ----------
    who, groups :
        The runs or pairs, and the groups; "all" groups where none is named.
    """

    reason: str
    who: str
    groups: str
    remedy: str = ""


_MOST_NAMED = 3
"""Pairs named in one sentence."""
_PHRASES: Mapping[str, tuple[str, str]] = {
    "increment_variance": ("increment variance {} times as large", ""),
    "variance_ratio": ("variance ratio over the longest time {} times as large", ""),
    "spectrum_shape": (
        "spectrum shape, with relative power at the lowest frequencies {} times as large",
        "",
    ),
    "drift": (
        "squared drift over increment variance higher by {}",
        "squared drift over increment variance lower by {}",
    ),
}
"""What a difference is, in words; and where it is negative, if it is no ratio."""


def pairs_found(results: xr.DataTree) -> tuple[PairFound, ...]:
    """A sentence for every pair of runs; those that differ first."""
    by_pair: dict[tuple[str, str], list[Difference]] = {}
    for each in differences(results):
        by_pair.setdefault((each.first, each.second), []).append(each)
    reasons: dict[tuple[str, ...], str] = {}
    for guard in guards(results):
        if guard.group in {"", ALL_WEIGHTS}:
            reasons.setdefault(guard.runs, guard.reason)  # those of the laws come last
    found = [
        _pair(pair, by_pair.get(pair, []), reasons.get(pair, ""))
        for pair in _pairs(results["compare"].to_dataset())
    ]
    return tuple(sorted(found, key=lambda one: (not one.differs, not one.tested)))


def _pairs(compared: xr.Dataset) -> list[tuple[str, str]]:
    """The pairs of runs that were to be compared, by their labels."""
    if PAIR not in compared.sizes:
        return []
    first, second = (
        [printable(label, limit=80) for label in compared[name].values]
        for name in ("first", "second")
    )
    return list(zip(first, second, strict=True))


def alike(found: Sequence[PairFound]) -> tuple[PairFound, ...]:
    """One sentence for all pairs of which the same is said, where no difference was seen."""
    by_sentence: dict[str, list[PairFound]] = {}
    for one in found:
        # Two pairs that differ are two findings, even in the same words.
        by_sentence.setdefault(f"{one.who}: " if one.differs else one.sentence, []).append(one)
    return tuple(
        replace(same[0], who=listed([one.who for one in same], _MOST_NAMED))
        for same in by_sentence.values()
    )


def opening(results: xr.DataTree) -> Opening:
    """How many pairs differ, and what the tests rest on."""
    found = pairs_found(results)
    n_runs, told = len(cases_of(results)), results["compare"].attrs
    tested = [one for one in found if one.tested]
    differ = [one for one in tested if one.differs]
    if not tested:
        return Opening(f"{counted(n_runs, 'run')} side by side; no pair could be tested.", "", "")
    draws, alpha = int(told.get("n_surrogates", 0)), float(told.get("alpha", math.nan))
    caution = _too_few_draws(len(tested), draws, alpha)
    if caution:
        sentence = f"{counted(n_runs, 'run')} side by side; too few draws to see a difference."
    elif len(found) == 1:
        sentence = "The two runs differ." if differ else "No difference between the two runs seen."
    elif differ:
        sentence = f"{len(differ):,} of {len(tested):,} tested pairs of {n_runs} runs differ."
    else:
        sentence = (
            f"No difference seen between {n_runs} runs, in {counted(len(tested), 'tested pair')}."
        )
    basis = (
        f"{draws:,} exchanges of blocks of increments, α = {alpha:g}. Where nothing is seen, the "
        "runs may still differ by as much as the intervals in the table say."
    )
    if "ensemble" in results.children:
        verdicts = f"{counted(n_runs, 'replica')}: {verdicts_in_words(results)}."
        return Opening(verdicts, f"{sentence} {basis}", caution)
    return Opening(sentence, basis, caution)


def _too_few_draws(n_pairs: int, draws: int, alpha: float) -> str:
    """That no p-value can reach the level, since it is corrected for so many pairs."""
    smallest = n_pairs / (1 + draws)
    if not smallest > alpha:
        return ""
    return (
        f"Nothing can be seen with so few draws: corrected for {counted(n_pairs, 'pair')}, the "
        f"smallest p of {draws:,} draws is {min(smallest, 1.0):.2g}, above the level. Compare "
        f"again with at least {math.ceil(n_pairs / alpha) - 1:,} surrogates."
    )


def not_compared(results: xr.DataTree) -> tuple[NotCompared, ...]:
    """What was not compared, by its reason."""
    by_reason: dict[str, list[Guard]] = {}
    for guard in guards(results):
        by_reason.setdefault(guard.reason, []).append(guard)
    found = []
    for reason, same in by_reason.items():
        who = list(dict.fromkeys(" and ".join(guard.runs) for guard in same))
        groups = list(dict.fromkeys(guard.group for guard in same if guard.group))
        found.append(
            NotCompared(reason, listed(who, 6), listed(groups, 6) or "every group", same[0].remedy)
        )
    return tuple(found)


def verdicts_in_words(results: xr.DataTree) -> str:
    """How many runs got which verdict, of all weights: "brownian 4 of 5, confined 1 of 5"."""
    cases = cases_of(results)
    counts = Counter(
        printable(case["verdict"].attrs.get("code") or "no verdict", limit=40).replace("_", " ")
        for case in cases
    )
    return ", ".join(f"{code} {count} of {len(cases)}" for code, count in counts.most_common())


def p_in_words(p_value: float) -> str:
    """A p-value as everywhere: "p = 0.001"."""
    return f"p\u00a0=\u00a0{p_value:.2g}"


def effect_in_words(one: Difference) -> str:
    """The effect and its interval: "4.01 (3.97 to 4.06)"."""
    return f"{number(one.effect)} ({number(one.low)} to {number(one.high)})"


def _pair(pair: tuple[str, str], found: Sequence[Difference], reason: str) -> PairFound:
    who = f"{pair[1]} against {pair[0]}"
    if not found:
        why = reason[:1].lower() + reason[1:].removesuffix(".") if reason else "see below"
        return PairFound(who, f"not compared: {why}.", differs=False, tested=False)
    whole = [one for one in found if one.group == ALL_WEIGHTS]
    said = [f"{_phrase(one)}, {p_in_words(one.p_value)}" for one in whole if one.rejects]
    same = [one.label for one in whole if not one.rejects]
    if same:
        said.append(f"no difference seen in {', '.join(same)}")
    layers = dict.fromkeys(one.group for one in found if one.group != ALL_WEIGHTS and one.rejects)
    if layers:
        n_layers = len({one.group for one in found if one.group != ALL_WEIGHTS})
        said.append(f"{len(layers):,} of {n_layers:,} layers differ: {listed(list(layers), 3)}")
    differs = any(one.rejects for one in found)
    return PairFound(who, f"{'; '.join(said)}.", differs, tested=True)


def _phrase(one: Difference) -> str:
    positive, negative = _PHRASES.get(one.quantity, (f"{one.label}: {one.meaning}, {{}}", ""))
    if one.effect < 0 and negative:
        ends = f"{number(-one.effect)} ({number(-one.high)} to {number(-one.low)})"
        return negative.format(ends)
    return positive.format(effect_in_words(one))
