"""File names as patterns: ``epoch=3-step=40.ckpt`` is ``epoch=*-step=*.ckpt`` with 3 and 40."""

import re
from dataclasses import dataclass

# Longer digit strings are hashes or time stamps in nanoseconds; they stay part of the text. A dash
# is a sign only behind "=", for elsewhere it joins words; "1e-05" is how a small loss is printed.
_NUMBER = re.compile(
    r"(?:(?<==)-)?(?<!\d)\d{1,15}(?:\.\d{1,15})?(?!\d)"
    r"(?:[eE][-+]\d{1,2}(?![0-9A-Za-z])|[kKM](?=steps?|iters?|[^0-9A-Za-z]|$))?"
    r"|(?<=[=_-])-?(?:nan|inf)(?![0-9A-Za-z])",
    re.ASCII,
)
_UNITS = {"k": 1_000, "K": 1_000, "M": 1_000_000}
_TAG_BEFORE = re.compile(r"([a-z]+)[^a-z]*$")
_TAG_AFTER = re.compile(r"[-_ ]?(steps?|iters?|iterations?|epochs?)(?![a-z])(?!\W?_?\d)")
# Lightning appends -v1, -v2 to a second file of the same step.
_REPEAT = re.compile(r"-v\d{1,4}$", re.ASCII)

STEP, EPOCH, CHECKPOINT, RUN, METRIC, UNTAGGED = "step", "epoch", "checkpoint", "run", "metric", ""
_TAGS = {
    STEP: ("step", "steps", "iter", "iters", "iteration", "iterations", "it", "update", "updates"),
    EPOCH: ("epoch", "epochs", "ep"),
    CHECKPOINT: ("checkpoint", "checkpoints", "ckpt", "ckpts", "chkpt", "snapshot", "save"),
    RUN: ("version", "seed", "run", "trial", "fold", "exp", "experiment", "job", "rank", "replica"),
    METRIC: (
        "loss",
        "acc",
        "accuracy",
        "score",
        "auc",
        "ppl",
        "error",
        "err",
        "reward",
        "val",
        "lr",
    ),
}
_KIND = {word: kind for kind, words in _TAGS.items() for word in words}
# "valloss" and "trainstep" are written together often enough; short words end too many others.
_ENDINGS = tuple((word, kind) for word, kind in _KIND.items() if len(word) >= 4)


@dataclass(frozen=True, slots=True)
class Number:
    """A number in a name, and the kind of word it belongs to ("" where there is none)."""

    value: int | float
    kind: str


@dataclass(frozen=True, slots=True)
class Name:
    """A relative path as a pattern.

    Attributes
    ----------
    place :
        The folders above everything that counts steps, ``""`` for the scanned folder itself:
        what tells one run from another.
    pattern :
        The rest of the path with ``*`` for each number in `numbers`.
    numbers :
        In the order of the stars.
    """

    place: str
    pattern: str
    numbers: tuple[Number, ...]


def read_name(relative: str, suffix: str) -> Name:
    """`relative` as a `Name`; `suffix` is the file ending, in which numbers do not count.

    In a folder's name only numbers after a word that counts training ("step_10", "checkpoint-7")
    are replaced, or a number that is the whole name; "version_0", "resnet18" and dates stay. In
    the file's own name all numbers are replaced but those that name a run ("seed3"); "10k" and
    "1M" count in thousands and millions, and a loss may also be "nan".
    """
    *folders, file = relative.split("/")
    stem = _REPEAT.sub("", file[: len(file) - len(suffix)])
    depth = next((i for i, folder in enumerate(folders) if counts_steps(folder)), len(folders))
    patterns: list[str] = []
    numbers: list[Number] = []
    for folder in folders[depth:]:
        kinds = (STEP, EPOCH, CHECKPOINT, METRIC) if counts_steps(folder) else ()
        pattern, found = _replaced(folder, kinds, whole=True)
        patterns.append(pattern)
        numbers.extend(found)
    pattern, found = _replaced(stem, (STEP, EPOCH, CHECKPOINT, METRIC, UNTAGGED), whole=True)
    return Name(
        "/".join(folders[:depth]),
        "/".join([*patterns, pattern + suffix]),
        (*numbers, *found),
    )


def counts_steps(folder: str) -> bool:
    """Whether a folder's name numbers a checkpoint: "step_10", "checkpoint-7", "0010"."""
    if _NUMBER.fullmatch(folder):
        return True
    return any(
        _kind(folder, match) in (STEP, EPOCH, CHECKPOINT) for match in _NUMBER.finditer(folder)
    )


def filled(name: Name, slots: set[int]) -> str:
    """The pattern of `name` with the numbers at `slots` written out again."""
    pieces = name.pattern.split("*")
    text = pieces[0]
    for slot, piece in enumerate(pieces[1:]):
        text += (str(name.numbers[slot].value) if slot in slots else "*") + piece
    return text


def _replaced(text: str, kinds: tuple[str, ...], *, whole: bool) -> tuple[str, list[Number]]:
    """`text` with stars for its numbers of these kinds, or for one number that is all of it."""
    numbers: list[Number] = []

    def star(match: re.Match[str]) -> str:
        kind = _kind(text, match)
        is_finite = not match.group().endswith(("nan", "inf"))
        if not (is_finite or kind == METRIC):
            return match.group()
        if kind not in kinds and not (whole and match.group() == text):
            return match.group()
        numbers.append(Number(_value(match.group()), kind))
        return "*"

    # A star of the name itself would be taken for a number.
    return _NUMBER.sub(star, text.replace("*", "?")), numbers


def _value(text: str) -> int | float:
    """What the text of a number says: "40", "-0.31", "1e-05", "10k", "nan"."""
    unit = _UNITS.get(text[-1], 1)
    value = float(text.rstrip("kKM")) * unit
    return int(value) if value.is_integer() and (unit > 1 or "." not in text) else value


def _kind(text: str, match: re.Match[str]) -> str:
    after = _TAG_AFTER.match(text.lower(), match.end())
    before = _TAG_BEFORE.search(text.lower()[: match.start()])
    previous = list(_NUMBER.finditer(text[: match.start()]))
    if before is not None and previous and before.start() < previous[-1].end():
        before = None
    if before is not None:
        word = before.group(1)
        kind = _KIND.get(word) or next((k for end, k in _ENDINGS if word.endswith(end)), UNTAGGED)
        if kind != UNTAGGED:
            return kind
    return _KIND[after.group(1)] if after is not None else UNTAGGED
