"""File names as patterns: ``epoch=3-step=40.ckpt`` is ``epoch=*-step=*.ckpt`` with 3 and 40."""

import re
from dataclasses import dataclass, replace
from functools import lru_cache

from trajscope.checkpoints.numbers import HASH, LONG, NUMBER, UNITS, unit_of, value_of

_HIDDEN = {ord("0") + digit: 0xE000 + digit for digit in range(10)}
_SHOWN = {hidden: digit for digit, hidden in _HIDDEN.items()}
_ZEROS = {ord(digit): "0" for digit in "123456789"}
_WORD = re.compile(r"([a-z]+)[^a-z]*$")
_WORD_AFTER = re.compile(r"[-_ ]?([a-z]+)(?![a-z])")
# Lightning appends -v1, -v2 to a second file of the same step.
_REPEAT = re.compile(r"-v\d{1,4}$", re.ASCII)

STEP, BATCH, EPOCH, CHECKPOINT = "step", "batch", "epoch", "checkpoint"
TOKENS, SAMPLES, STAGE, RUN, METRIC, UNTAGGED = "tokens", "samples", "stage", "run", "metric", ""
TIME = "time"
RUNS = ("version", "seed", "run", "trial", "fold", "exp", "experiment", "job", "rank", "replica")
BRANCHES = ("ingredient", "branch", "from")
"""Words for runs of their own, and for those that begin where another ends or goes on."""
_TAGS = {
    STEP: ("step", "steps", "iter", "iters", "iteration", "iterations", "it", "itr", "update",
           "updates"),
    BATCH: ("batch", "batches", "ba"),
    EPOCH: ("epoch", "epochs", "ep"),
    CHECKPOINT: ("checkpoint", "checkpoints", "ckpt", "ckpts", "chkpt", "chck", "ckp", "snapshot",
                 "save"),
    TOKENS: ("token", "tokens", "tok", "toks"),
    SAMPLES: ("sample", "samples", "example", "examples", "sequences", "images", "kimg"),
    STAGE: ("stage", "phase"),
    RUN: (*RUNS, *BRANCHES),
    TIME: ("time", "date", "timestamp", "datetime"),
    METRIC: ("loss", "acc", "accuracy", "score", "auc", "ppl", "perplexity", "error", "err",
             "reward", "val", "lr", "bleu", "rouge", "wer", "cer", "mse", "mae", "rmse", "psnr",
             "ssim", "fid", "iou", "miou", "map", "dice", "bpb", "nll", "metric"),
}  # fmt: skip
_KIND = {word: kind for kind, words in _TAGS.items() for word in words}
# "valloss" and "trainstep" are written together often enough; short words end too many others.
_ENDINGS = tuple((word, kind) for word, kind in _KIND.items() if len(word) >= 4 and kind != TIME)
_AFTER = frozenset((STEP, EPOCH, TOKENS, SAMPLES))
_COUNTING = frozenset((STEP, BATCH, EPOCH, CHECKPOINT))
# Units that a step may have; a number of many digits has none.
_IN_THOUSANDS = frozenset(("", "k", "m", LONG))

STAGES = {
    word: rank
    for rank, words in enumerate(
        (
            ("warmup",),
            ("pretrain", "pretraining", "stage", "phase"),
            ("midtrain", "midtraining"),
            ("anneal", "annealing", "cooldown"),
            ("lc", "longcontext", "longctx"),
        )
    )
    for word in words
}
"""Words for the stages of one training, and the order in which stages follow one another."""


@dataclass(frozen=True, slots=True)
class Slot:
    """The place of a number in a pattern: the kind of word it belongs to, and that word.

    The kind is "" where no known word is near. A number without a word whose unit is a billion or
    more is of the kind `TOKENS`, with the word "".
    """

    kind: str
    word: str = ""


@dataclass(frozen=True, slots=True)
class Name:
    """A relative path as a pattern.

    Attributes
    ----------
    place :
        The folders above everything that counts steps, ``""`` for the scanned folder itself:
        what tells one run from another.
    pattern :
        The rest of the path with ``*`` for each number in `texts`.
    slots, texts :
        What the stars stand for, in their order, and the numbers as they are written.
    """

    place: str
    pattern: str
    slots: tuple[Slot, ...] = ()
    texts: tuple[str, ...] = ()

    @property
    def values(self) -> tuple[int | float, ...]:
        """The numbers."""
        return tuple(map(value_of, self.texts))


def read_name(relative: str, suffix: str) -> Name:
    """`relative` as a `Name`; `suffix` is the file ending, in which numbers do not count.

    All numbers are replaced but those that name a run ("seed3"). Folders above the first that
    counts training ("step_10", "checkpoint-7", a number alone) or names a stage ("stage1",
    "anneal") make up the place, so "version_0", "resnet18" and dates stay; so do the numbers of
    folders below that count nothing. "10k", "1.5B" and "2BT" count in thousands and billions, and
    a loss may also be "nan".
    """
    # What is decided depends on where digits stand, not on which they are.
    shape = _shape(relative.translate(_ZEROS), suffix)
    if shape is None:
        return _read(relative, suffix)
    texts = tuple([relative[first:end] for first, end in shape.spans])
    return Name(shape.name.place, shape.name.pattern, shape.name.slots, texts)


@dataclass(frozen=True)
class _Shape:
    """What all paths are read as that differ in their digits alone, and where the numbers stand."""

    name: Name
    spans: tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def _shape(zeros: str, suffix: str) -> _Shape | None:
    """The shape of paths with these zeros for digits; `None` where some digits are no numbers."""
    name = _read(zeros, suffix)
    at = len(name.place) + 1 if name.place else 0
    first, *pieces = name.pattern.split("*")
    text, spans = zeros[:at] + first, []
    for number, piece in zip(name.texts, pieces, strict=True):
        spans.append((len(text), len(text) + len(number)))
        text += number + piece
    stays = name.place + name.pattern.removesuffix(suffix)
    return None if text != zeros or "0" in stays else _Shape(name, tuple(spans))


def _read(relative: str, suffix: str) -> Name:
    *folders, file = relative.split("/")
    stem = file[: len(file) - len(suffix)]
    stem = _REPEAT.sub("", stem) if "-v" in stem else stem
    found = [_replaced(folder) for folder in folders]
    depth = next((i for i, each in enumerate(found) if each.opens), len(folders))
    patterns: list[str] = []
    slots: list[Slot] = []
    texts: list[str] = []
    for folder, level in zip(folders[depth:], found[depth:], strict=True):
        patterns.append(level.pattern if level.opens else folder)
        slots.extend(level.slots if level.opens else ())
        texts.extend(level.texts if level.opens else ())
    own = _replaced(stem)
    return Name(
        "/".join(folders[:depth]),
        "/".join([*patterns, own.pattern + suffix]),
        (*slots, *own.slots),
        (*texts, *own.texts),
    )


def counts_steps(folder: str) -> bool:
    """Whether a folder's name numbers a checkpoint: "step_10", "checkpoint-7", "0010"."""
    return _replaced(folder).counts


def filled(name: Name, slots: set[int]) -> str:
    """The pattern of `name` with the numbers at `slots` written out again."""
    pieces = name.pattern.split("*")
    text = pieces[0]
    for slot, piece in enumerate(pieces[1:]):
        text += (name.texts[slot] if slot in slots else "*") + piece
    return text


def stage_rank(stage: int | float | str) -> tuple[int, tuple[object, ...]]:
    """What stages are ordered by: the number of one, or what its word says, then its numbers."""
    if isinstance(stage, str):
        word = re.sub("[-_ ]", "", stage.lower())
        known = [key for key in STAGES if word.startswith(key)]
        rank = STAGES[max(known, key=len, default="stage")]
        return rank, (*map(value_of, NUMBER.findall(stage)), stage)
    return STAGES["stage"], (stage,)


@dataclass(frozen=True, slots=True)
class _Level:
    """One folder or stem: its pattern, and whether it counts training or opens what does."""

    pattern: str
    slots: tuple[Slot, ...] = ()
    texts: tuple[str, ...] = ()
    counts: bool = False
    opens: bool = False


@dataclass(frozen=True)
class _Plan:
    """What is decided for all names with the same words between their numbers."""

    pieces: tuple[str, ...]
    starred: tuple[bool, ...]
    slots: tuple[Slot, ...]
    pattern: str
    counts: bool
    opens: bool


def _replaced(text: str) -> _Level:
    """A folder or stem with stars for its numbers."""
    if HASH.search(text):
        hidden = HASH.sub(lambda match: match.group().translate(_HIDDEN), text)
        level = _replaced(hidden)
        return replace(level, pattern=level.pattern.translate(_SHOWN))
    # A star of the name itself would be taken for a number.
    pieces = NUMBER.split(text.replace("*", "?"))
    numbers = pieces[1::2]
    plan = _plan(tuple(pieces[::2]), tuple([unit_of(number) for number in numbers]))
    if len(plan.slots) == len(numbers):
        texts = tuple(numbers)
        return _Level(plan.pattern, plan.slots, texts, plan.counts, plan.opens)
    shown = [n if not star else "*" for n, star in zip(numbers, plan.starred, strict=True)]
    pattern = plan.pieces[0] + "".join(
        number + piece for number, piece in zip(shown, plan.pieces[1:], strict=True)
    )
    texts = tuple(n for n, star in zip(numbers, plan.starred, strict=True) if star)
    return _Level(pattern, plan.slots, texts, plan.counts, plan.opens)


@lru_cache(maxsize=4096)  # 20,000 names have few kinds of words between their numbers
def _plan(pieces: tuple[str, ...], units: tuple[str, ...]) -> _Plan:
    slots = [_slot(pieces, units, index) for index in range(len(units))]
    is_all = len(units) == 1 and not any(pieces)
    starred = [
        slot.kind == METRIC or not (slot.kind == RUN or unit in ("nan", "inf"))
        for slot, unit in zip(slots, units, strict=True)
    ]
    shown = list(pieces)
    for index, slot in enumerate(slots):
        # The sign of a loss that may be negative, behind a sign that joins words.
        if slot.kind == METRIC and re.search(r"[-_=]-$", shown[index]):
            shown[index] = shown[index][:-1]
    counts = is_all or any(
        slot.kind in _COUNTING or (slot.kind in (TOKENS, SAMPLES) and (slot.word or unit == "bt"))
        for slot, unit in zip(slots, units, strict=True)
    )
    alone = "".join(pieces).strip("-_ ").lower()
    return _Plan(
        tuple(shown),
        tuple(starred),
        tuple(slot for slot, star in zip(slots, starred, strict=True) if star),
        "*".join(shown),
        counts,
        counts or (alone in STAGES and (bool(units) or alone not in ("stage", "phase"))),
    )


def _slot(pieces: tuple[str, ...], units: tuple[str, ...], index: int) -> Slot:
    before = _WORD.search(pieces[index].lower())
    word = before.group(1) if before else ""
    kind = _kind_of(word)
    if kind == RUN and units[index] == LONG:  # "run-20260514-101530": the time it started
        return Slot(UNTAGGED)
    # "step-10k-token-21b": a word between two numbers belongs to the second.
    after = _WORD_AFTER.match(pieces[index + 1].lower())
    is_last = index + 1 == len(units)
    if kind == UNTAGGED and after and (is_last or after.end() + 1 < len(pieces[index + 1])):
        tagged = _KIND.get(after.group(1), UNTAGGED)
        if tagged in _AFTER:
            word, kind = after.group(1), tagged
    if units[index] not in _IN_THOUSANDS and kind in (UNTAGGED, CHECKPOINT):
        return Slot(TOKENS) if units[index] in UNITS else Slot(kind, word)
    return Slot(kind, word)


def _kind_of(word: str) -> str:
    known = _KIND.get(word)
    return known or next((kind for end, kind in _ENDINGS if word.endswith(end)), UNTAGGED)
