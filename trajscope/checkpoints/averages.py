"""Copies of the weights that follow them: averages, teachers, target and momentum networks.

A copy has the name and the structure of one: its tensors mirror those of another part, suffix by
suffix and shape by shape. Two networks of one shape without such a name (a siamese pair, the two
of a GAN, query and key of attention) are both weights.
"""

import re
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice

from trajscope.checkpoints.namesakes import DEEPEST, Parts, own_words, parts_of, words_of
from trajscope.readers.base import TensorSpec, widened_dtype

# A hostile file may have many parts that are called like copies; outer ones are looked at first.
_MOST = 1000
_MOST_PARTNERS = 200
_ANY = ("*",)
# The word of a copy, and what stands in its place in the name of the part that is copied. Other
# names are no sign: "source" and "target", "avg" and "max", "query" and "value" are all weights.
_COUNTERPARTS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("ema", "teacher", "polyak"), _ANY),
    **dict.fromkeys(("swa", "avg", "average", "averaged", "slow", "old", "lagged"), ("",)),
    "shadow": ("", "backup", "collected"),
    "momentum": ("", "base", "online", "query"),
    "target": ("", "online", "main", "local", "eval", "policy", "behavior", "context", "q"),
    "targ": ("",),
    "k": ("q",),
    "key": ("query",),
}
_OF_ATTENTION = {"k": "v", "key": "value"}
_NETWORK = re.compile(r"(.*[-_])?(encoder|network|net|model|backbone|projector)([-_].*)?")
_WRAPPERS = frozenset({
    "module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module",
})  # fmt: skip
_CENTRE = re.compile(r"(.*_)?(center|centre)\d?")


@dataclass(frozen=True)
class Copies:
    """What follows the weights and is none.

    Attributes
    ----------
    live :
        For the stored name of every array of a copy, the part that it copies.
    centres :
        Running centres of what a copy yields.
    """

    live: Mapping[str, str]
    centres: frozenset[str] = frozenset()


def copies(specs: Mapping[str, TensorSpec]) -> Copies:
    """The arrays that belong to a copy of another part of the same checkpoint."""
    tree = _Tree({raw: spec for raw, spec in specs.items() if widened_dtype(spec.dtype)})
    live: dict[str, str] = {}
    taken: set[Parts] = set()
    for path, word in tree.candidates()[:_MOST]:
        if any(path[:depth] in taken for depth in range(len(path))):
            continue
        partner = tree.copied_by(path, word)
        if partner is not None:
            taken.add(path)
            live.update(dict.fromkeys(tree.raw_below(path), ".".join(partner)))
    # Without a teacher a centre is a weight, as that of a classifier may be.
    centres = {raw for raw in specs if _CENTRE.fullmatch(parts_of(raw)[-1])} if live else set()
    return Copies(live, frozenset(centres - live.keys()))


class _Tree:
    """The arrays of a checkpoint, found by the first parts of their names."""

    def __init__(self, specs: Mapping[str, TensorSpec]) -> None:
        self.specs = specs
        self.names = sorted((parts_of(raw), raw) for raw in specs)
        self.plain = {_unwrapped(parts): specs[raw].shape for parts, raw in self.names}
        self.children: dict[Parts, dict[str, None]] = defaultdict(dict)
        for parts, _ in self.names:
            for depth in range(min(len(parts) - 1, DEEPEST)):
                self.children[parts[:depth]][parts[depth]] = None
        self.by_words: dict[Parts, dict[Parts, list[str]]] = {}
        for parent, names in self.children.items():
            own = self.by_words[parent] = defaultdict(list)
            for name in names:
                own[words_of(name)].append(name)

    def candidates(self) -> list[tuple[Parts, str]]:
        """Every part that is called like a copy, with the word that says so, outer ones first."""
        found = [
            ((*parent, name), word)
            for parent, names in self.children.items()
            for name in names
            for word in words_of(name)
            if word in _COUNTERPARTS
        ]
        return sorted(found, key=lambda each: (len(each[0]), each))

    def copied_by(self, path: Parts, word: str) -> Parts | None:
        """The part that is copied, `None` where there is none: its name and its tensors."""
        own = self.shapes(path)
        parent, name = path[:-1], path[-1]
        if not own or (word in _OF_ATTENTION and not self.is_key_encoder(path, word)):
            return None
        if len(own) == 1 and "embed" in name.lower() and _COUNTERPARTS[word] != _ANY:
            return None
        alone = len({suffix[:-1] for suffix in own}) == 1
        for partner in self.partners(parent, name, word):
            if alone and partner != parent and not _fits(name, partner[-1]):
                continue
            start = _unwrapped(partner)
            if partner == parent and any(suffix[:1] == (name,) for suffix in own):
                continue
            if all(self.plain.get((*start, *suffix)) == shape for suffix, shape in own.items()):
                return partner
        return None

    def partners(self, parent: Parts, name: str, word: str) -> Iterator[Parts]:
        """What the names allow to be copied: parts beside it, and all that is beside it.

        First those of the same name but for the word.
        """
        words = words_of(name)
        allowed = _COUNTERPARTS[word]
        meant = [
            tuple(each for each in (other if w == word else w for w in words) if each)
            for other in allowed
        ]
        groups = self.by_words[parent]
        stem = tuple(each for each in words if each != word)
        if allowed == _ANY:
            beside = chain(groups.get(stem, ()), self.children[parent])
        else:
            wanted = sorted(dict.fromkeys(meant), key=lambda each: each != stem)
            beside = chain.from_iterable(groups.get(each, ()) for each in wanted)
        for other in islice(beside, _MOST_PARTNERS):
            if other != name and word not in words_of(other):
                yield (*parent, other)
        if allowed == _ANY or () in meant:
            yield parent

    def is_key_encoder(self, path: Parts, word: str) -> bool:
        """Whether a key is that of contrastive learning, and not that of attention."""
        parent, words = path[:-1], words_of(path[-1])
        value = tuple(_OF_ATTENTION[word] if each == word else each for each in words)
        if any(words_of(other) == value for other in self.children[parent]):
            return False
        if any(parts[-1].startswith("queue") for parts, _ in self.below(parent, 1)):
            return True
        several = len({parts[:-1] for parts, _ in self.below(path)}) > 1
        return word == "k" and several and _NETWORK.fullmatch(path[-1].lower()) is not None

    def shapes(self, path: Parts) -> dict[Parts, tuple[int, ...]]:
        """The shapes below a part by the rest of their names, without those of wrappers."""
        return {
            _unwrapped(parts[len(path) :]): self.specs[raw].shape for parts, raw in self.below(path)
        }

    def raw_below(self, path: Parts) -> list[str]:
        """Stored names of the arrays below a part."""
        return [raw for _, raw in self.below(path)]

    def below(self, path: Parts, depth: int = 0) -> Iterator[tuple[Parts, str]]:
        """The arrays below a part; only those so many levels below it, if `depth` is given."""
        for place in range(bisect_left(self.names, (path, "")), len(self.names)):
            parts, raw = self.names[place]
            if parts[: len(path)] != path:
                break
            if not depth or len(parts) == len(path) + depth:
                yield parts, raw


def _unwrapped(parts: Parts) -> Parts:
    return tuple(each for each in parts if each not in _WRAPPERS)


def _fits(name: str, partner: str) -> bool:
    """Whether what a copy of one layer is called may mean this partner: "g_ema" and "generator".

    A layer of one shape with another is no copy of it, as a whole network would be.
    """
    own, others = own_words(name), own_words(partner)
    return (
        not own
        or not others
        or all(any(o.startswith(w) or w.startswith(o) for o in others) for w in own)
    )
