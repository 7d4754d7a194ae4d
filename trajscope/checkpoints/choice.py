"""Where the model lies in the checkpoints of a series: its section, and averages inside it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from trajscope.checkpoints.evidence import Evidence, evidence, is_inside
from trajscope.checkpoints.namesakes import Parts, parts_of, words_of
from trajscope.checkpoints.reasons import (
    AVERAGE,
    LIVE,
    OTHER_SECTION,
    is_averaged,
    of_section,
    why_never,
    why_not,
)
from trajscope.checkpoints.wrappers import common_prefix, unwrapped
from trajscope.errors import printable
from trajscope.readers.base import TensorSpec

Specs = Mapping[str, TensorSpec]

# Where an average is saved under state_dict, the live weights lie beside: a Lightning callback and
# MMEngine's EMAHook do so. The latter's average is a module of its own that counts its steps.
_LIVE_BESIDE = "current_model_state"
_EXCHANGED = "ema_state_dict"
_DISPLACED = "state_dict"
_MODEL_SECTIONS = (
    _LIVE_BESIDE, "model_state_dict", _DISPLACED, "model", "module", "net", "network", "params",
    "weights",
)  # fmt: skip
# What the live weights are called within the section of their average.
_KEPT_LIVE = frozenset({"online", "backup", "collected"})
_DEEPEST = 8


@dataclass(frozen=True)
class Choice:
    """What is taken from every checkpoint of a series.

    Attributes
    ----------
    section :
        The section that holds the model, with those around it ("state/model"); `None` where none
        is known by its name.
    mixed :
        Whether averages lie among the live weights.
    average :
        Whether the averages are taken and the live weights left.
    unwrap :
        Whether the prefixes of wrappers are dropped from the names.
    beside :
        The section of the live weights where `_DISPLACED` holds their average.
    live :
        The section of the live weights, whichever are taken; ``""`` where none is known.
    alone :
        Whether an average was not asked for, and is taken since there is nothing else.
    layers :
        Containers of layers that are called like the state of a trainer, see `Evidence`.
    """

    section: str | None
    mixed: bool = False
    average: bool = False
    unwrap: bool = True
    beside: str = ""
    live: str = ""
    alone: bool = False
    layers: frozenset[Parts] = frozenset()

    def holds(self, raw: str) -> bool:
        """Whether an array belongs to the section; without one, to anything but the trainer."""
        if self.section is None:
            return not of_section(_section(raw)) or is_inside(raw, self.layers)
        return raw.startswith(self.section + "/")

    def inside(self, raw: str) -> str:
        """The name of an array of the section there."""
        return raw[len(self.section) + 1 :] if self.section else raw

    def section_of(self, raw: str) -> str:
        """The section beside the model's that an array belongs to; ``""`` where it has none."""
        around = (self.section or "").rpartition("/")[0]
        return _section(raw, around) or _section(raw)

    def why_not_section(self, raw: str) -> str:
        """Why an array outside of the section is not the model's."""
        section = self.section_of(raw)
        if self.beside and section == _DISPLACED:
            return AVERAGE
        if self.average and self.live and section == self.live:
            return LIVE
        return _why_state(section, self.layers) or (LIVE if self.average else OTHER_SECTION)

    def shown_names(self, raws: Sequence[str]) -> dict[str, str]:
        """For each stored name the one that is shown: without section and wrappers' prefixes."""
        names = {raw: self.inside(raw) for raw in raws if self.holds(raw)}
        if self.unwrap:
            names = unwrapped(names)
        return {raw: names.get(raw, raw) for raw in raws}


def choose(checkpoints: Sequence[Specs], *, average: bool = False) -> Choice | None:
    """Where the model lies in the checkpoints of a series, the most frequent kind first.

    Section and prefixes are decided for the whole series at once: of nested checkpoints the
    model's own section, by its name (`_MODEL_SECTIONS`), else all that is not the trainer's, since
    a slash may also belong to the names of the layers ("dense/kernel"). With `average` the section
    that holds an average of the weights, or of one section the tensors that are averages; `None`
    if there is neither.
    """
    known = evidence(checkpoints[0])
    beside = _live_beside(checkpoints[0])
    live = beside or _model_section(checkpoints[0], known)
    inside = Choice(live, beside=beside, layers=known.layers)
    alone = not average and _is_alone(checkpoints[0], known)
    averaged = [
        is_copy(raw, inside.inside(raw), known) for raw in checkpoints[0] if inside.holds(raw)
    ]
    mixed = not beside and any(averaged) and not all(averaged)
    section = live
    if average or alone:
        named = _average_sections(checkpoints[0], known, inside)
        if not named and not mixed:
            return None
        section = named[0] if named else live
        mixed = not named or _holds_live(checkpoints[0], known, named[0])
        alone = alone and not mixed
    choice = replace(
        inside, section=section, mixed=mixed, average=average, live=live or "", alone=alone
    )
    names = [choice.shown_names(list(specs)).values() for specs in checkpoints]
    collide = any(len(set(shown)) < len(shown) for shown in names)
    return replace(choice, unwrap=not collide)


def decisions(checkpoints: Sequence[Specs], choice: Choice) -> list[str]:
    """What was decided, in words for the user: the section, the average, the prefixes."""
    told = []
    if choice.section:
        told.append(f"Weights are read from the section '{printable(choice.section)}'.")
    if choice.beside:
        told.append(
            f"The live weights are in the section '{choice.beside}', and their average is in "
            f"'{_DISPLACED}'."
        )
    if choice.mixed or choice.average:
        kind = "averages" if choice.average else "live weights, not their averages"
        told.append(f"Weights used: {kind}.")
    prefixes: Counter[str] = Counter()
    for specs in checkpoints:
        prefixes[common_prefix([choice.inside(raw) for raw in specs if choice.holds(raw)])] += 1
    dropped = sorted(prefix for prefix in prefixes if prefix)
    if dropped and choice.unwrap:
        told.append(f"The prefix {' or '.join(map(repr, dropped))} is removed from all names.")
    elif dropped:
        told.append("Wrapper prefixes are kept, since removing them would make names ambiguous.")
    return told


def is_copy(raw: str, name: str, known: Evidence) -> bool:
    """Whether a tensor is that of an average, a teacher or a target network."""
    return raw in known.copies or (is_averaged(name) and not known.in_layer(raw))


def _model_section(specs: Specs, known: Evidence) -> str | None:
    """The section that holds the model, `None` where none is known by its name.

    Below the top it has to be alone with the trainer's state, since layers have such names too.
    """
    sizes = {
        raw: spec.size
        for raw, spec in specs.items()
        if raw not in known.reasons and not why_never(spec) and not why_not(raw, raw, spec)
    }
    around = ""
    for _ in range(_DEEPEST):
        sections = Counter[str]()
        for raw, size in sizes.items():
            if not around or raw.startswith(around + "/"):
                sections[_section(raw, around)] += size
        own = [each for each in sections if each and not _why_state(each, known.layers)]
        prefix = f"{around}/" if around else ""
        live = next((each for each in _MODEL_SECTIONS if sections[prefix + each]), None)
        if live is not None and (not around or own == [prefix + live]):
            return prefix + live
        if len(own) != 1 or (around and "" in sections):
            return None
        around = own[0]
    return None


def _average_sections(specs: Specs, known: Evidence, live: Choice) -> list[str]:
    """Sections that hold averages of the weights, those that are called so first."""
    usable: dict[str, list[bool]] = {}
    for raw, spec in specs.items():
        section = live.section_of(raw)
        if section and raw not in known.reasons and not why_never(spec):
            usable.setdefault(section, []).append(raw in known.copies)
    if live.beside and _DISPLACED in usable:
        return [_DISPLACED]
    named = [each for each in usable if _why_state(each, known.layers) == AVERAGE]
    return named or [
        each for each, copied in usable.items() if all(copied) and not live.holds(each + "/")
    ]


def _holds_live(specs: Specs, known: Evidence, section: str) -> bool:
    """Whether the live weights lie in the section of their average, as ema-pytorch saves them."""
    copied = {
        known.copies[raw] for raw in specs if raw in known.copies and raw.startswith(section + "/")
    }
    around = ".".join(parts_of(section)) + "."
    return any(
        each.startswith(around) and not _KEPT_LIVE.isdisjoint(words_of(each.removeprefix(around)))
        for each in copied
    )


def _live_beside(specs: Specs) -> str:
    """The section of the live weights if an average has taken their place, else ``""``."""
    sections = {_section(raw) for raw in specs}
    if _DISPLACED not in sections:
        return ""
    if _LIVE_BESIDE in sections:
        return _LIVE_BESIDE
    # Before MMEngine exchanges them, its average has these names: the counter, and a module.
    counter = specs.get(f"{_EXCHANGED}/steps")
    wrapped = any(raw.startswith(f"{_EXCHANGED}/module.") for raw in specs)
    return _EXCHANGED if wrapped and counter is not None and not counter.shape else ""


def _is_alone(specs: Specs, known: Evidence) -> bool:
    """Whether all that may be weights lies in sections that are called averages."""
    usable = {
        _why_state(_section(raw), known.layers)
        for raw, spec in specs.items()
        if raw not in known.reasons and not why_never(spec) and not why_not(raw, raw, spec)
    }
    return usable == {AVERAGE}


def _why_state(section: str, layers: frozenset[Parts]) -> str:
    """Why a section is the trainer's by its name, ``""`` where it may be the model's."""
    return "" if is_inside(f"{section}/", layers) else of_section(section.rpartition("/")[2])


def _section(raw: str, around: str = "") -> str:
    """The outermost section of an array, or the one below `around` that it lies in."""
    if not around:
        head, slash, _ = raw.partition("/")
        return head if slash else ""
    rest = raw.removeprefix(around + "/")
    head, slash, _ = rest.partition("/")
    return f"{around}/{head}" if slash and rest != raw else ""
