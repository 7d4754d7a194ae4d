"""Which entries of one checkpoint are the model's weights: sections, prefixes, buffers, ties."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import TypeVar

from trajscope.checkpoints.choice import Choice, choose, is_copy
from trajscope.checkpoints.evidence import Evidence, evidence
from trajscope.checkpoints.reasons import (
    AVERAGE,
    LIVE,
    OTHER_SECTION,
    is_of_model,
    why_never,
    why_not,
)
from trajscope.checkpoints.stored import Place, Stored, ties, views
from trajscope.errors import printable
from trajscope.readers.base import TensorSpec


@dataclass(frozen=True)
class LeftOut:
    """A tensor, or a section of tensors, that is not analysed, and why.

    Attributes
    ----------
    values :
        How many of the model's own values are lost with it.
    include :
        The glob for ``--include`` that reaches it, ``""`` where none does.
    """

    name: str
    reason: str
    values: int = 0
    include: str = ""


K = TypeVar("K")

Selection = tuple[dict[str, Stored], dict[str, LeftOut]]
"""The weights by name, and by name what was left out."""

# An array of names gives each the room of the longest, so that one name could fill the memory.
_LONGEST_NAME = 1000


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
      all but the first of tied tensors, and views of others.
    - With `include` only the tensors that match are kept, and buffers are no reason to leave them
      out. A glob that begins with the name of a section ("ema/*") reaches into that section.
      `exclude` matches the name as it is stored or as it is shown.
    """
    choice = choice or choose([specs_of(arrays) for arrays in checkpoints]) or Choice(None)
    chosen = [{raw: own for raw, own in each.items() if choice.holds(raw)} for each in checkpoints]
    tied, inside = _in_all(map(ties, chosen)), _in_all(map(_lies_in, chosen))
    return [
        _without_views(
            *_sorted_out(arrays, tied, _Rules(choice, _known(arrays), include, exclude)), inside
        )
        for arrays in checkpoints
    ]


def _lies_in(arrays: Mapping[str, Stored]) -> dict[Place, Place]:
    """For each array that names its memory, the one it lies in: itself, if it is no view."""
    named = [(own.part, own.name) for own in arrays.values() if own.spec.storage]
    return {**{place: place for place in named}, **views(arrays)}


def _in_all(found: Iterable[dict[K, K]]) -> dict[K, K]:
    """What the first says, where no other says something else of the same array."""
    first, *others = found
    return {
        key: value
        for key, value in first.items()
        if all(other.get(key, value) == value for other in others)
    }


def specs_of(arrays: Mapping[str, Stored]) -> dict[str, TensorSpec]:
    """The arrays that may be weights by themselves, as they are once they are read."""
    return {
        raw: _as_read(stored)
        for raw, stored in arrays.items()
        if not stored.note and len(raw) <= _LONGEST_NAME
    }


def _as_read(stored: Stored) -> TensorSpec:
    return stored.spec if stored.product is None else replace(stored.spec, dtype=stored.dtype)


def _known(arrays: Mapping[str, Stored]) -> Evidence:
    found = evidence(specs_of(arrays))
    notes = {raw: stored.note for raw, stored in arrays.items() if stored.note}
    return replace(found, reasons={**found.reasons, **notes}) if notes else found


@dataclass(frozen=True)
class _Rules:
    choice: Choice
    known: Evidence
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def included(self, raw: str, name: str) -> bool:
        reaches = self.choice.holds(raw)
        return any(
            fnmatchcase(raw, glob) if not reaches else fnmatchcase(name, glob)
            for glob in self.include
            if reaches or glob.startswith(self.choice.section_of(raw) + "/")
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
        return ("" if included else self.by_evidence(raw, name, spec)) or why_never(spec)

    def by_evidence(self, raw: str, name: str, spec: TensorSpec) -> str:
        """Why an array is no weight of the kind asked for, by its neighbours and its name."""
        beside = self.known.reasons.get(raw, "")
        return beside or self.other_kind(raw, name) or why_not(raw, name, spec)

    def other_kind(self, raw: str, name: str) -> str:
        """Why an array is not of the kind asked for, live weights or averages."""
        if not self.choice.mixed or is_copy(raw, name, self.known) == self.choice.average:
            return ""
        if self.choice.average:
            return LIVE
        return self.copied(raw) or AVERAGE

    def copied(self, raw: str) -> str:
        """What part an array follows, ``""`` for none."""
        live = self.known.copies.get(raw, "")
        return f"a copy of {printable(live)!r} that follows it" if live else ""

    def outside(self, raw: str, name: str, spec: TensorSpec) -> str:
        """Why an array is left out that does not lie in the model's section."""
        if not self.choice.section_of(raw):
            known = self.known.reasons.get(raw, "")
            return known or why_not(raw, name, spec) or "outside the model's section"
        section = self.choice.why_not_section(raw)
        copied = self.copied(raw) if section == OTHER_SECTION else ""
        return self.known.reasons.get(raw, "") or copied or section


def _sorted_out(arrays: Mapping[str, Stored], tied: Mapping[str, str], rules: _Rules) -> Selection:
    kept: dict[str, Stored] = {}
    left: dict[str, LeftOut] = {}
    counted: dict[str, str] = {}
    elsewhere: dict[str, list[LeftOut]] = defaultdict(list)
    names = rules.choice.shown_names(list(arrays))
    for raw, stored in arrays.items():
        name, spec = names[raw], _as_read(stored)
        if not rules.choice.holds(raw) and not rules.included(raw, name):
            why = rules.outside(raw, name, spec)
            if section := rules.choice.section_of(raw):
                elsewhere[section].append(_left(name, why, spec, f"{section}/*"))
            else:
                left[name] = _left(name, why, spec)
        elif why := rules.refusal(raw, name, spec):
            left[name] = _left(name, why, spec, "*")
        elif tied.get(raw) in counted:
            first = printable(counted[tied[raw]])
            left[name] = LeftOut(name, f"shares its memory with {first}, counted once")
        else:
            kept[name] = stored
            if raw in tied:
                counted[tied[raw]] = name
    for section, arrays_there in elsewhere.items():
        left[f"{section}/*"] = _together(f"{section}/*", arrays_there)
    return kept, left


def _left(name: str, reason: str, spec: TensorSpec, include: str = "") -> LeftOut:
    values = spec.size if is_of_model(reason, spec) else 0
    return LeftOut(name, reason, values, include if values and not why_never(spec) else "")


def _together(name: str, members: Sequence[LeftOut]) -> LeftOut:
    """A section of arrays as one, with how many there are for each reason."""
    counts = Counter(each.reason for each in members)
    reason = "; ".join(
        f"{reason} ({count} array{'' if count == 1 else 's'})" for reason, count in counts.items()
    )
    include = next((each.include for each in members if each.include), "")
    return LeftOut(name, reason, sum(each.values for each in members), include)


def _without_views(
    kept: dict[str, Stored], left: dict[str, LeftOut], inside: Mapping[Place, Place]
) -> Selection:
    """The selection without arrays that lie in the memory of others which are kept."""
    names = {(stored.part, stored.name): name for name, stored in kept.items()}
    for place, name in names.items():
        if inside.get(place, place) != place and inside[place] in names:
            whole = printable(names[inside[place]])
            del kept[name]
            left[name] = LeftOut(name, f"lies in the memory of {whole}, counted there")
    return kept, left
