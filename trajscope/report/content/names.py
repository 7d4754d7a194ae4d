"""Names of layers made short enough for their place, and never two of them alike."""

from collections import Counter
from collections.abc import Sequence

from trajscope.errors import printable


def told_apart(names: Sequence[object], limit: int) -> list[str]:
    """The names in at most about `limit` characters, each different from the others.

    Longer names lose the parts between dots that all of them have. What is still too long is cut
    in the middle; those that then read the same are numbered in their order.

    Examples
    --------
    >>> told_apart(["encoder.layers.0.attention.q", "encoder.layers.1.attention.k"], 15)
    ['0.q', '1.k']
    """
    texts = [str(name) for name in names]
    long = [place for place, text in enumerate(texts) if len(printable(text, limit=1000)) > limit]
    for place, own in zip(long, _own([texts[place] for place in long]), strict=True):
        texts[place] = own
    short = [printable(text, limit=limit) for text in texts]
    for text in _twice(short):
        places = [place for place, each in enumerate(short) if each == text]
        for number, place in enumerate(places, 1):
            short[place] = f"{text} ({number})"
    return short


def _twice(texts: list[str]) -> list[str]:
    return [text for text, count in Counter(texts).items() if count > 1]


def _own(names: list[str]) -> list[str]:
    """Names without the parts between dots that all have; whole, where that leaves two alike."""
    parts = [name.split(".") for name in names]
    shared = set.intersection(*map(set, parts)) if len(parts) > 1 else set()
    own = [".".join(part for part in each if part not in shared) for each in parts]
    return own if all(own) and len(set(own)) == len(set(names)) else names
