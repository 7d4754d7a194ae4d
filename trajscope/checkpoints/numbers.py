"""Numbers as names write them: where they are in a text, their units, what they say."""

import re

# Longer digit strings are hashes and stay part of the text, but for time stamps in nanoseconds. A
# dash is a sign only behind "=", for elsewhere it joins words; "1e-05" is how a small loss is
# printed, and "1e4" a round number of steps, but "s1e4" is stage 1, epoch 4. A unit behind more
# than nine digits is none. Commas set thousands apart.
NUMBER = re.compile(
    r"((?<=[-_= ])\d(?:\.\d{1,6})?[eE]\d{1,2}(?![0-9A-Za-z])"
    r"|(?:(?<==)-)?(?<!\d)(?:1[5-9]\d{17}|\d{1,3}(?:,\d{3}){1,4}(?![,\d])|\d{1,15})(?:\.\d{1,20})?(?!\d)"
    r"(?:[eE][-+]\d{1,3}(?![0-9A-Za-z])"
    r"|(?<!\d{10})(?:[bB][tTnN]|[kKmMbBtT])(?=[sS]tep|[iI]ter|[tT]ok|[sS]ample|[^0-9A-Za-z]|$))?"
    r"|(?<=[=_-])-?(?:nan|inf)(?![0-9A-Za-z]))",
    re.ASCII,
)
# Of hexadecimal digits with some of either kind: a hash, in which nothing counts; decimals with an
# exponent look so behind their point.
HASH = re.compile(
    r"(?<![0-9A-Za-z])(?<!\d\.)(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{16,}(?![0-9A-Za-z])", re.ASCII
)
UNITS = {"k": 10**3, "m": 10**6, "b": 10**9, "t": 10**12, "bt": 10**9, "bn": 10**9}
"""What a unit behind a number multiplies it with."""
_SHORT = 7
LONG = "long"
"""In place of a unit: that a number has too many digits to count with one."""


def value_of(text: str) -> int | float:
    """What the text of a number says: "40", "-0.31", "1e-05", "10k", "2BT", "nan"."""
    text = text.replace(",", "")
    if text.isdigit():
        return int(text)
    unit = unit_of(text)
    times = UNITS.get(unit, 1)
    value = float(text[: len(text) - len(unit)] if times > 1 else text) * times
    return int(value) if value.is_integer() and (times > 1 or "." not in text) else value


def unit_of(number: str) -> str:
    """The unit behind a number in lower case, "nan" or "inf", or `LONG`; "" for none."""
    if number[-1].isdigit():
        return LONG if len(number) > _SHORT and number.isdigit() else ""
    return number.lstrip("-.,0123456789").lower()
