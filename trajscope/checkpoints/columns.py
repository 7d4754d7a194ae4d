"""The numbers in the names of one family, by what all names together say that each of them is."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from trajscope.checkpoints.names import BATCH, EPOCH, METRIC, STEP, TIME, TOKENS, UNTAGGED, Name
from trajscope.checkpoints.numbers import value_of

FRACTION = "fraction"
"""The kind of a number with decimals, which only a whole family shows."""

_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])(\d{4}|\d{6})?", re.ASCII)
_SINCE_1970 = re.compile(r"1[0-9]\d{8}(\d{3}|\d{6})?|1[5-9]\d{17}", re.ASCII)
_YEAR = re.compile(r"(19|20)\d\d", re.ASCII)
_MONTH_OR_DAY = re.compile(r"0?[1-9]|[12]\d|3[01]", re.ASCII)
_OF_A_DAY = re.compile(r"[0-5]\d(\.\d+)?[mMsS]?", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-3])[0-5]\d([0-5]\d(\.\d+)?)?", re.ASCII)
_THOUSANDS = re.compile(r"\d{3}", re.ASCII)
_MINOR = re.compile(r"\d+\.(\d+)", re.ASCII)
_BETWEEN = re.compile(r"[-_.:Tt@ ]{1,2}|[hm]")
_NEVER_TIMES = frozenset((STEP, BATCH, EPOCH, METRIC))


@dataclass(frozen=True)
class Column:
    """One number of a pattern in every name of a family, in their order.

    `kind` is that of the slot, `TIME` or `FRACTION`.
    """

    kind: str
    word: str
    values: tuple[int | float, ...]

    @property
    def distinct(self) -> int:
        """How many values there are."""
        return len(set(self.values))

    @property
    def changes(self) -> bool:
        """Whether it is not the same in every name."""
        first = self.values[0]
        return any(value != first for value in self.values)

    def at(self, rows: Sequence[int]) -> "Column":
        """The same of some of the names."""
        return Column(self.kind, self.word, tuple([self.values[row] for row in rows]))


def columns_of(names: Sequence[Name]) -> list[Column]:
    """The numbers of names with one pattern.

    A number without a word is a time if in every name it looks like one, alone ("20260514",
    "1715680000") or with the numbers beside it ("2026-05-14_10-15"). One with decimals is a
    fraction, as a loss is, unless it is a version ("1.10"); a unit of billions in any name makes it
    count tokens. Three digits behind a step are its thousands ("15_000") if some begin with zero.
    """
    texts = list(zip(*(name.texts for name in names), strict=True))
    slots = list(zip(*dict.fromkeys(name.slots for name in names), strict=True))
    kinds, pieces = [own[0].kind for own in slots], names[0].pattern.split("*")
    times = _times(texts, kinds, pieces)
    columns = []
    for index, own in enumerate(slots):
        whole = _with_thousands(index, texts, kinds, pieces)
        values = tuple(map(value_of, _with_equal_minors(whole)))
        kind = TOKENS if any(slot.kind == TOKENS for slot in own) else own[0].kind
        word = next((slot.word for slot in own if slot.word), "")
        if index in times:
            kind = TIME
        elif kind == UNTAGGED and any(isinstance(value, float) for value in values):
            kind = FRACTION
        columns.append(Column(kind, word, values))
    return columns


def _with_thousands(
    index: int, texts: Sequence[Sequence[str]], kinds: Sequence[str], pieces: Sequence[str]
) -> Sequence[str]:
    """A number with the groups of three digits that underscores set apart from it."""
    found, last = texts[index], index + 1
    if kinds[index] != STEP or any(len(text) > 3 or text.startswith("0") for text in found):
        return found
    while (
        last < len(texts)
        and pieces[last] == "_"
        and all(map(_THOUSANDS.fullmatch, texts[last]))
        and any(text.startswith("0") for text in texts[last])
    ):
        found = ["".join(pair) for pair in zip(found, texts[last], strict=True)]
        last += 1
    return found


def _with_equal_minors(written: Sequence[str]) -> Sequence[str]:
    """Versions with as many digits behind the dot: "1.9" before "1.10" is "1.09".

    A fraction is written without a zero at its end, or with as many digits as all others.
    """
    minors = [_MINOR.fullmatch(text) for text in written]
    digits = [each[1] for each in minors if each is not None]
    longest = max(map(len, digits), default=0)
    ends_in_zero = any(len(own) > 1 and own.endswith("0") for own in digits)
    if len(digits) < len(written) or not ends_in_zero or min(map(len, digits)) == longest:
        return written
    majors = [text.partition(".")[0] for text in written]
    return [f"{major}.{own:0>{longest}}" for major, own in zip(majors, digits, strict=True)]


def _times(
    texts: Sequence[Sequence[str]], kinds: Sequence[str], pieces: Sequence[str]
) -> frozenset[int]:
    """Positions of the numbers that are dates or times of day."""

    def all_are(index: int, what: re.Pattern[str]) -> bool:
        free = 0 <= index < len(texts) and kinds[index] not in _NEVER_TIMES
        return free and all(what.fullmatch(text) for text in texts[index])

    def beside(index: int) -> bool:
        return index < len(texts) and _BETWEEN.fullmatch(pieces[index]) is not None

    found: set[int] = set()
    for index in range(len(texts)):
        if all_are(index, _DATE) or all_are(index, _SINCE_1970):
            found.add(index)
        dated = all_are(index, _YEAR) and all(
            beside(index + more) and all_are(index + more, _MONTH_OR_DAY) for more in (1, 2)
        )
        if dated:
            found.update((index, index + 1, index + 2))
        clocked = all(all_are(index + more, _OF_A_DAY) for more in range(3)) and all(
            beside(index + more) for more in (1, 2)
        )
        if clocked and all(text < "24" for text in texts[index]):
            found.update((index, index + 1, index + 2))
        if all_are(index, _OF_A_DAY) and all_are(index + 1, _OF_A_DAY):
            found.update((index, index + 1) if pieces[index + 1] == "h" else ())
    for before, index in pairwise(range(len(texts))):
        timed = all_are(index, _CLOCK) or all_are(index, _OF_A_DAY)
        if before in found and beside(index) and timed:
            found.add(index)
    return frozenset(found)
