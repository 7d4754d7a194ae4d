"""A number for some steps as the user gives it: pairs of a step and a number, or a file of them."""

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.readers.files import beginning

Given = str | os.PathLike[str] | Mapping[float, float] | Sequence[tuple[float, float]]
Pairs = list[tuple[float, float]]

MOST_FILE: Final = 64 << 20
"""Bytes of a file of rates."""


@dataclass(frozen=True)
class Kind:
    """What is given for every step.

    Attributes
    ----------
    option :
        That gives it.
    names :
        What it may be called in a file.
    expected :
        What was expected, in words.
    """

    option: str
    names: tuple[str, ...]
    expected: str


RATES: Final = Kind(
    "--lr-schedule",
    ("learning_rate", "lr", "rate"),
    "STEP:RATE,STEP:RATE,... or a CSV, JSON or JSONL file of steps and rates was expected, with "
    "rates from 0 on: for example 0:0.1,1000:0.01.",
)
SHARES: Final = Kind(
    "--weights",
    ("weight", "share"),
    "A CSV, JSON or JSONL file of steps and the weights of their checkpoints, or "
    "STEP:WEIGHT,STEP:WEIGHT,..., was expected, with weights from 0 on: for example 900:1,1000:2.",
)


def given_pairs(given: Given, kind: Kind = RATES) -> Pairs:
    """Steps and the numbers that are given for them, by rising step; of equal steps the last given.

    A rate holds from its step on.

    Raises
    ------
    OptionError
        It is neither pairs nor a file of them, or a number is not finite or is negative.
    """
    try:
        found = {_number(step): _number(value) for step, value in _raw(given, kind.names)}
    except (TypeError, ValueError, RecursionError, csv.Error, CheckpointError) as error:
        told = f"{kind.option} {printable(given)!r}: {kind.expected} ({error})"
        raise OptionError(told) from None
    if not found or min(found.values()) < 0:
        raise OptionError(f"{kind.option} {printable(given)!r}: {kind.expected}")
    return sorted(found.items())


def _raw(given: Any, names: tuple[str, ...]) -> Iterable[tuple[Any, Any]]:
    if isinstance(given, Mapping):
        return given.items()
    if not isinstance(given, str | os.PathLike):
        return [(step, value) for step, value in given]
    if isinstance(given, str) and not os.path.exists(given):  # noqa: PTH110 (any length of text)
        return [(step, value) for step, value in (p.split(":") for p in given.split(","))]
    text = _text(Path(given))
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text, names)
    return _of_csv(text, names)


def _text(path: Path) -> str:
    raw = beginning(path, MOST_FILE + 1)
    if len(raw) > MOST_FILE:
        raise ValueError(f"the file is larger than {MOST_FILE} bytes")
    return raw.decode("utf-8-sig")


def _of_json(text: str, names: tuple[str, ...]) -> list[tuple[Any, Any]]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = [found] if "step" in found else list(found.items())
    pairs = []
    for each in found:
        if isinstance(each, dict):
            # Lines of a log that say none are passed over.
            name = next((name for name in names if name in each and "step" in each), "")
            pairs += [(each["step"], each[name])] if name else []
        else:
            step, value = each
            pairs.append((step, value))
    return pairs


def _of_csv(text: str, names: tuple[str, ...]) -> list[tuple[Any, Any]]:
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    columns = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "step" not in columns:
        return [(step, value) for step, value in rows]
    column = next((columns.index(name) for name in names if name in columns), None)
    if column is None:
        raise ValueError(f"no column is called {', '.join(names)}")
    step = columns.index("step")
    told = [row for row in rows[1:] if len(row) > max(step, column) and row[column].strip()]
    return [(row[step], row[column]) for row in told]


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{value} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no finite number")
    return number
