"""Names of layers made short enough for their place, and never two of them alike."""

from collections import Counter
from collections.abc import Sequence

from trajscope.errors import printable


def told_apart(names: Sequence[object], limit: int) -> list[str]:
    """The names in at most about `limit` characters, each different from the others.

    What is cut is cut in the middle. Names that would then read the same lose what they share at
    both ends instead; those that still do are numbered in their order.

    Examples
    --------
    >>> told_apart(["encoder.layers.0.attention.weight", "encoder.layers.1.attention.weight"], 15)
    ['…0…', '…1…']
    """
    short = [printable(name, limit=limit) for name in names]
    for text in _twice(short):
        places = [place for place, each in enumerate(short) if each == text]
        whole = [str(names[place]) for place in places]
        for place, inner in zip(places, _inner(whole), strict=True):
            short[place] = printable(f"…{inner}…", limit=limit)
    for text in _twice(short):
        places = [place for place, each in enumerate(short) if each == text]
        for number, place in enumerate(places, 1):
            short[place] = f"{text} ({number})"
    return short


def _twice(texts: list[str]) -> list[str]:
    return [text for text, count in Counter(texts).items() if count > 1]


def _inner(names: list[str]) -> list[str]:
    """What is left of names without the parts between dots that all of them begin or end with."""
    parts = [name.split(".") for name in names]
    most = min(map(len, parts)) - 1
    start = _shared(parts, most)
    stop = _shared([each[::-1] for each in parts], most - start)
    return [".".join(each[start : len(each) - stop]) for each in parts]


def _shared(parts: list[list[str]], most: int) -> int:
    """How many first parts are the same in all, at most `most`."""
    count = 0
    while count < most and len({each[count] for each in parts}) == 1:
        count += 1
    return count
