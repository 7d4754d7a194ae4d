"""A learning-rate schedule as the user gives it: pairs of a step and a rate, or a file of them."""

import csv
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from trajscope.errors import CheckpointError, OptionError, printable
from trajscope.readers.files import beginning

Given = str | os.PathLike[str] | Mapping[float, float] | Sequence[tuple[float, float]]
Pairs = list[tuple[float, float]]

MOST_FILE: Final = 64 << 20
"""Bytes of a file of rates."""
_RATES: Final = ("learning_rate", "lr", "rate")
_EXPECTED: Final = (
    "STEP:RATE,STEP:RATE,... or a CSV, JSON or JSONL file of steps and rates was expected, with "
    "rates from 0 on: for example 0:0.1,1000:0.01."
)


def given_pairs(given: Given) -> Pairs:
    """Steps and the rates that hold from them on, by rising step; of equal steps the last given.

    Raises
    ------
    OptionError
        It is neither pairs nor a file of them, or a number is not finite or is negative.
    """
    try:
        found = {_number(step): _number(rate) for step, rate in _raw(given)}
    except (TypeError, ValueError, RecursionError, csv.Error, CheckpointError) as error:
        raise OptionError(f"--lr-schedule {printable(given)!r}: {_EXPECTED} ({error})") from None
    if not found or min(found.values()) < 0:
        raise OptionError(f"--lr-schedule {printable(given)!r}: {_EXPECTED}")
    return sorted(found.items())


def _raw(given: Any) -> Iterable[tuple[Any, Any]]:
    if isinstance(given, Mapping):
        return given.items()
    if not isinstance(given, str | os.PathLike):
        return [(step, rate) for step, rate in given]
    if isinstance(given, str) and not os.path.exists(given):  # noqa: PTH110 (any length of text)
        return [(step, rate) for step, rate in (part.split(":") for part in given.split(","))]
    text = _text(Path(given))
    if text.lstrip()[:1] in ("{", "["):
        return _of_json(text)
    return _of_csv(text)


def _text(path: Path) -> str:
    raw = beginning(path, MOST_FILE + 1)
    if len(raw) > MOST_FILE:
        raise ValueError(f"the file is larger than {MOST_FILE} bytes")
    return raw.decode("utf-8-sig")


def _of_json(text: str) -> list[tuple[Any, Any]]:
    try:
        found: Any = json.loads(text)
    except ValueError:
        found = [json.loads(line) for line in text.splitlines() if line.strip()]
    if isinstance(found, dict):
        found = [found] if "step" in found else list(found.items())
    return [_entry(each) for each in found if not isinstance(each, dict) or _named(each)]


def _named(entry: Mapping[str, Any]) -> str:
    """Which of its names says the rate; lines of a log that say none are passed over."""
    return next((name for name in _RATES if name in entry and "step" in entry), "")


def _entry(each: Any) -> tuple[Any, Any]:
    if isinstance(each, dict):
        return each["step"], each[_named(each)]
    step, rate = each
    return step, rate


def _of_csv(text: str) -> list[tuple[Any, Any]]:
    rows = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    columns = [cell.strip().lower() for cell in rows[0]] if rows else []
    if "step" not in columns:
        return [(step, rate) for step, rate in rows]
    rate = next((columns.index(name) for name in _RATES if name in columns), None)
    if rate is None:
        raise ValueError(f"no column is called {', '.join(_RATES)}")
    step = columns.index("step")
    told = [row for row in rows[1:] if len(row) > max(step, rate) and row[rate].strip()]
    return [(row[step], row[rate]) for row in told]


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError(f"{value} is no number")
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{number} is no finite number")
    return number
