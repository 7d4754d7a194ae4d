"""Which entries of one checkpoint are the model's weights: sections, prefixes, buffers, ties."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trajscope.checkpoints.reasons import AVERAGE, is_averaged, of_section, why_never, why_not
from trajscope.checkpoints.wrappers import common_prefix, unwrapped
from trajscope.errors import printable
from trajscope.readers.base import TensorSpec


@dataclass(frozen=True)
class LeftOut:
    """A tensor, or a section of tensors, that is not analysed, and why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stored:
    """An array where it lies: the part of the checkpoint, its name there, and its header entry."""

    part: int
    name: str
    spec: TensorSpec


Selection = tuple[dict[str, Stored], dict[str, str]]
"""The weights by name, and the reason for each name that was left out."""

# A Lightning callback puts an average into state_dict and keeps the live weights beside.
_LIVE_BESIDE = "current_model_state"
_DISPLACED = "state_dict"
_MODEL_SECTIONS = (
    _LIVE_BESIDE, "model_state_dict", _DISPLACED, "model", "module", "net", "network", "params",
    "weights",
)  # fmt: skip
# An array of names gives each the room of the longest, so that one name could fill the memory.
_LONGEST_NAME = 1000


@dataclass(frozen=True)
class Choice:
    """What is taken from every checkpoint of a series.

    Attributes
    ----------
    section :
        The section that holds the model, `None` where none is known by its name.
    mixed :
        Whether averages lie among the live weights and are told by their names alone.
    average :
        Whether the averages are taken and the live weights left.
    unwrap :
        Whether the prefixes of wrappers are dropped from the names.
    """

    section: str | None
    mixed: bool = False
    average: bool = False
    unwrap: bool = True


def choose(checkpoints: Sequence[Mapping[str, Stored]], *, average: bool = False) -> Choice | None:
    """Where the model lies in the checkpoints of a series, the most frequent kind first.

    Section and prefixes are decided for the whole series at once: of nested checkpoints the
    model's own section, by its name (`_MODEL_SECTIONS`), else all that is not the trainer's, since
    a slash may also belong to the names of the layers ("dense/kernel"). With `average` the section
    that holds an average of the weights, or of one section the tensors called so; `None` if there
    is neither.
    """
    sizes: dict[str, int] = defaultdict(int)
    for raw, stored in checkpoints[0].items():
        if not why_never(stored.spec) and not why_not(raw, raw, stored.spec):
            sizes[_section(raw)] += stored.spec.size
    live = next((section for section in _MODEL_SECTIONS if sizes.get(section)), None)
    averaged = [is_averaged(_inside(raw, live)) for raw in checkpoints[0] if _in(raw, live)]
    mixed = any(averaged) and not all(averaged)
    section = live
    if average:
        named = [each for each in sizes if sizes[each] and of_section(each) == AVERAGE]
        if live == _LIVE_BESIDE and sizes.get(_DISPLACED):
            named = [_DISPLACED]
        if not named and not mixed:
            return None
        section, mixed = (named[0], False) if named else (live, True)
    choice = Choice(section, mixed, average)
    names = [_shown_names(arrays, choice).values() for arrays in checkpoints]
    collide = any(len(set(shown)) < len(shown) for shown in names)
    return Choice(section, mixed, average, unwrap=not collide)


def decisions(checkpoints: Sequence[Mapping[str, Stored]], choice: Choice) -> list[str]:
    """What was decided, in words for the user: the section, the average, the prefixes."""
    told = []
    if choice.section is not None and choice.section:
        told.append(f"Weights are read from the section '{printable(choice.section)}'.")
    if choice.mixed or choice.average:
        kind = "averages" if choice.average else "live weights, not their averages"
        told.append(f"Weights used: {kind}.")
    prefixes: Counter[str] = Counter()
    for arrays in checkpoints:
        inside = [_inside(raw, choice.section) for raw in arrays if _in(raw, choice.section)]
        prefixes[common_prefix(inside)] += 1
    dropped = sorted(prefix for prefix in prefixes if prefix)
    if dropped and choice.unwrap:
        told.append(f"The prefix {' or '.join(map(repr, dropped))} is removed from all names.")
    elif dropped:
        told.append("Wrapper prefixes are kept, since removing them would make names ambiguous.")
    return told


def select(
    checkpoints: Sequence[Mapping[str, Stored]],
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
    choice: Choice | None = None,
) -> list[Selection]:
    """Weights and the rest, for each kind of checkpoint of a series, the most frequent first.

    - Of nested checkpoints the section of `choice` is taken, and its name dropped from its tensors.
    - Prefixes that wrappers put before every name (``module.``, ``_orig_mod.``) are dropped unless
      two names of one checkpoint would become one.
    - Arrays that are not floating point, buffers, counters, masks and constants are left out, and
      all but the first of tied tensors.
    - With `include` only the tensors that match are kept, and buffers are no reason to leave them
      out. A glob that begins with the name of a section ("ema/*") reaches into that section.
      `exclude` matches the name as it is stored or as it is shown.
    """
    choice = choice or choose(checkpoints) or Choice(None)
    rules = _Rules(choice, include, exclude)
    tied = _ties(checkpoints[0], choice.section)
    return [
        _sorted_out(arrays, _shown_names(arrays, choice), tied, rules) for arrays in checkpoints
    ]


@dataclass(frozen=True)
class _Rules:
    choice: Choice
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def included(self, raw: str, name: str) -> bool:
        reaches = _in(raw, self.choice.section)
        return any(
            fnmatchcase(raw, glob) if not reaches else fnmatchcase(name, glob)
            for glob in self.include
            if reaches or glob.startswith(_section(raw) + "/")
        )

    def refusal(self, raw: str, name: str, spec: TensorSpec) -> str:
        """Why an array of the chosen sections is left out, or ``""``."""
        included = self.included(raw, name)
        for glob in self.exclude:
            if fnmatchcase(name, glob) or fnmatchcase(raw, glob):
                return f"excluded by the pattern {printable(glob)!r}"
        if self.include and not included:
            return "not matched by --include"
        if len(name) > _LONGEST_NAME:
            return f"its name has {len(name):,} characters"
        by_name = "" if included else self.other_kind(name) or why_not(raw, name, spec)
        return by_name or why_never(spec)

    def other_kind(self, name: str) -> str:
        """Why an array is not of the kind asked for, live weights or averages."""
        if not self.choice.mixed or is_averaged(name) == self.choice.average:
            return ""
        return "a live weight that also has an average" if self.choice.average else AVERAGE


def _sorted_out(
    arrays: Mapping[str, Stored],
    names: Mapping[str, str],
    tied: Mapping[str, str],
    rules: _Rules,
) -> Selection:
    kept: dict[str, Stored] = {}
    left: dict[str, str] = {}
    counted: dict[str, str] = {}
    elsewhere: Counter[tuple[str, str]] = Counter()
    for raw, stored in arrays.items():
        name = names[raw]
        if not _in(raw, rules.choice.section) and not rules.included(raw, name):
            if _section(raw):
                elsewhere[_section(raw), _why_not_section(raw, rules.choice)] += 1
            else:
                left[name] = why_not(raw, name, stored.spec) or "outside the model's section"
        elif why := rules.refusal(raw, name, stored.spec):
            left[name] = why
        elif tied.get(raw) in counted:
            left[name] = f"shares its memory with {printable(counted[tied[raw]])}, counted once"
        else:
            kept[name] = stored
            if raw in tied:
                counted[tied[raw]] = name
    for (section, reason), count in elsewhere.items():
        left[f"{section}/*"] = f"{reason} ({count} array{'' if count == 1 else 's'})"
    return kept, left


def _section(raw: str) -> str:
    head, slash, _ = raw.partition("/")
    return head if slash else ""


def _in(raw: str, section: str | None) -> bool:
    """Whether an array belongs to the model's section; without one, to anything but the trainer."""
    if section is None:
        return not of_section(_section(raw))
    return _section(raw) == section


def _inside(raw: str, section: str | None) -> str:
    return raw[len(section) + 1 :] if section else raw


def _why_not_section(raw: str, choice: Choice) -> str:
    if choice.section == _LIVE_BESIDE and _section(raw) == _DISPLACED:
        return AVERAGE
    return of_section(_section(raw)) or "a different section than the model's"


def _shown_names(arrays: Mapping[str, Stored], choice: Choice) -> dict[str, str]:
    """For each stored name the one that is shown: without section and wrappers' prefixes."""
    names = {raw: _inside(raw, choice.section) for raw in arrays if _in(raw, choice.section)}
    if choice.unwrap:
        names = unwrapped(names)
    return {raw: names.get(raw, raw) for raw in arrays}


def _ties(arrays: Mapping[str, Stored], section: str | None) -> dict[str, str]:
    """For each array of the model that names its memory, the first one there."""
    first: dict[tuple[int, str], str] = {}
    return {
        raw: first.setdefault((stored.part, stored.spec.storage), raw)
        for raw, stored in arrays.items()
        if stored.spec.storage and _in(raw, section)
    }
