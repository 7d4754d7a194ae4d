"""How far a checkpoint fills a module under one naming of its tensors."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from trajscope.errors import printable
from trajscope.model.naming import Named, Naming

Arrays = Mapping[str, NDArray[np.floating]]

_LISTED: Final = 8


@dataclass(frozen=True)
class Source:
    """Where the elements of one tensor of the module lie in a checkpoint.

    Attributes
    ----------
    names :
        Stored tensors, flattened one behind the other.
    index : (weight,)
        Of each element its place among these; `None` where they are all of them in order.
    """

    names: tuple[str, ...]
    index: NDArray[np.int64] | None = None

    def of(self, flat: Callable[[str], NDArray[np.floating]]) -> NDArray[np.floating]:
        """The elements, (..., weight), where `flat` gives a stored tensor as (..., weight)."""
        parts = [flat(name) for name in self.names]
        joined = parts[0] if len(parts) == 1 else np.concatenate(parts, axis=-1)
        return joined if self.index is None else joined[..., self.index]


@dataclass(frozen=True)
class Match:
    """What of a module a checkpoint fills, and what is amiss.

    Attributes
    ----------
    words :
        What was found under other names; ``""`` for nothing.
    sources :
        By the first name in the module.
    kept :
        Tensors that are in no checkpoint and keep the module's own values.
    missing, unexpected, wrong :
        Names in the module, names in the checkpoint, and other faults in words.
    """

    words: str
    sources: Mapping[str, Source]
    kept: Sequence[Named]
    missing: Sequence[str]
    unexpected: Sequence[str]
    wrong: Sequence[str]

    @property
    def n_faults(self) -> int:
        """How much does not fit."""
        return len(self.missing) + len(self.unexpected) + len(self.wrong)

    @property
    def fits(self) -> bool:
        """Whether nothing is amiss, and something was found."""
        return self.n_faults == 0 and bool(self.sources)


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint that is matched.

    Attributes
    ----------
    arrays :
        By the names in the file.
    names :
        By the name that is compared, the name in the file.
    weights :
        Names in the file that all have to fit; others are buffers, which need not.
    """

    arrays: Arrays
    names: Mapping[str, str]
    weights: frozenset[str]


def match(naming: Naming, checkpoint: Checkpoint, named: Sequence[Named]) -> Match:
    """What `checkpoint` fills of the tensors `named`, if they are called so."""
    arrays = checkpoint.arrays
    known = {short: raw for short, raw in checkpoint.names.items() if short in naming.tensors}
    reshaped = {
        short: f"{short} (module {naming.tensors[short].shape}, checkpoint {arrays[raw].shape})"
        for short, raw in known.items()
        if arrays[raw].shape != naming.tensors[short].shape
    }
    sources: dict[str, Source] = {}
    kept, missing, wrong = [], [], list(reshaped.values())
    there = _There(naming, {k: raw for k, raw in known.items() if k not in reshaped})
    for each in named:
        source = there.source(each)
        if source is not None:
            sources[each.names[0]] = source
            if not there.agree(each, arrays):
                both = " and ".join(each.names)
                wrong.append(f"{both} (one tensor in the module, two in the checkpoint)")
        elif each.is_kept:
            kept.append(each)
        elif not reshaped.keys() & set(each.short_names):
            missing.append(each.names[0])
    strange = [raw for short, raw in checkpoint.names.items() if short not in known]
    renamed = sum(name not in known.values() for name in sources) if naming.words else 0
    words = f"{renamed} of {len(sources)} tensors have different names in memory, {naming.words}."
    unexpected = [raw for raw in strange if raw in checkpoint.weights]
    return Match(words if renamed else "", sources, kept, missing, unexpected, wrong)


def without_prefixes(
    own: Naming, checkpoint: Checkpoint, named: Sequence[Named]
) -> Iterator[Match]:
    """Matches after a beginning of all names in the checkpoint is exchanged for one of the module.

    Of ``net.0.weight`` and ``0.weight``, say. For a checkpoint that holds no name of the module.
    """
    strange = [short for short, raw in checkpoint.names.items() if raw in checkpoint.weights]
    seen: list[dict[str, str]] = []
    for old in _beginnings(strange):
        for new in _beginnings(list(own.tensors)):
            names = {
                new + short.removeprefix(old): raw
                for short, raw in checkpoint.names.items()
                if short.startswith(old)
            }
            if names in seen:  # a shared part of both beginnings may stay or go
                continue
            seen.append(names)
            found = match(own, Checkpoint(checkpoint.arrays, names, checkpoint.weights), named)
            change = f"{printable(old)!r} removed" if old else ""
            change += " and " if old and new else ""
            change += f"{printable(new)!r} prepended" if new else ""
            if found.fits and change:
                words = f"Names in the checkpoint match the model with {change}."
                yield Match(words, found.sources, found.kept, (), (), ())


def refusal(found: Match) -> str:
    """What does not fit, in words."""
    parts = [
        f"{label} {len(names)}: {_listed(names)}"
        for label, names in (
            ("in the module but not in the checkpoint", found.missing),
            ("in the checkpoint but not in the module", found.unexpected),
            ("of another shape", found.wrong),
        )
        if names
    ]
    hint = "Does make_problem build the trained network?"
    if found.missing and found.unexpected:
        hint += (
            " If only names differ, trajscope.Problem(model, data, loss, rename=...) takes a "
            "dict, or a function, from names in the checkpoint to names in the model."
        )
    statistics = ("running_mean", "running_var", "num_batches_tracked")
    if found.missing and all(name.endswith(statistics) for name in found.missing):
        hint += " A store made by 'trajscope pack' contains statistics only with --include '*'."
    if not parts:
        parts = ["the checkpoint lacks all of its tensors"]
    return f"The checkpoint does not fit the problem's model: {'; '.join(parts)}. {hint}"


class _There:
    """The stored tensors by the numbers that they hold."""

    def __init__(self, naming: Naming, known: Mapping[str, str]) -> None:
        self.stored = [(raw, naming.tensors[short].numbers) for short, raw in known.items()]
        self.whole: dict[range, list[str]] = {}
        for raw, numbers in self.stored:
            if isinstance(numbers, range):
                self.whole.setdefault(numbers, []).append(raw)

    def source(self, named: Named) -> Source | None:
        """Where the elements of a tensor lie; `None` where one of them is nowhere."""
        if named.numbers in self.whole:
            return Source((self.whole[named.numbers][0],))
        pieces = []
        for raw, stored in self.stored:
            if isinstance(stored, range) and (
                stored.start >= named.numbers.stop or stored.stop <= named.first
            ):
                continue
            numbers = np.asarray(stored, np.int64)
            inside = np.flatnonzero((numbers >= named.first) & (numbers < named.numbers.stop))
            if len(inside):
                pieces.append((int(numbers[inside].min()), raw, numbers, inside))
        places = np.full(len(named.numbers), -1, np.int64)
        offset, names = 0, []
        for _, raw, numbers, inside in sorted(pieces, key=lambda piece: piece[:2]):
            places[numbers[inside] - named.first] = offset + inside
            names.append(raw)
            offset += len(numbers)
        if (places < 0).any():
            return None
        in_order = offset == len(places) and bool((places == np.arange(len(places))).all())
        return Source(tuple(names), None if in_order else places)

    def agree(self, named: Named, arrays: Arrays) -> bool:
        """Whether a tensor that is stored under several names is the same under all of them."""
        first, *others = self.whole.get(named.numbers, [""])
        return all(np.array_equal(arrays[first], arrays[other]) for other in others)


def _beginnings(names: Sequence[str]) -> list[str]:
    """Everything that all names begin with, up to a dot: ``["", "net.", "net.0."]``."""
    if not names:
        return [""]
    shared = [""]
    for part in names[0].split(".")[:-1]:
        longer = f"{shared[-1]}{part}."
        if not all(name.startswith(longer) for name in names):
            break
        shared.append(longer)
    return shared


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(printable(name) for name in names[:_LISTED])
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
