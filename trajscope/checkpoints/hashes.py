"""Hashes in names, another in every one: ``ckpt_0010_b77e01aa.pt`` counts 10 and nothing else."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from trajscope.checkpoints.base import Candidate
from trajscope.checkpoints.file_kinds import known_suffix
from trajscope.checkpoints.names import read_name

_BETWEEN = re.compile(r"([-_./ =]+)")
_HASH = re.compile(r"[0-9a-f]{6,15}|[0-9A-F]{6,15}", re.ASCII)
_BOTH = re.compile(r"[0-9][a-fA-F]|[a-fA-F][0-9]", re.ASCII)
_DIGITS = str.maketrans("123456789", "000000000")
_FEWEST = 3
_HIDDEN = "hash"


def without_hashes(candidates: Sequence[Candidate]) -> list[Candidate]:
    """The candidates, with ``hash`` for such words in what their names are read as.

    A hash is a word of 6 to 15 hexadecimal digits that stands at one place of the names of
    three or more files or folders of a folder, as long in all of them, another in each, in most
    of them with digits and letters both, and seldom with the same letters: what looks like a
    number there counts nothing. Numbers beside it, another in each name too, have to count
    instead: a hash that a folder or a file is called by alone, or with the step of others, may be
    the name of a run.
    """
    if not any(_BOTH.search(candidate.relative) for candidate in candidates):
        return list(candidates)  # as nearly always, for 20,000 of them too
    alike: dict[tuple[object, ...], list[_Words]] = defaultdict(list)
    for candidate in candidates:
        suffix = known_suffix(candidate.relative)
        words = _BETWEEN.split(candidate.relative[: len(candidate.relative) - len(suffix)])
        lengths = tuple(len(each) if _HASH.fullmatch(each) else 0 for each in words[::2])
        if any(lengths):
            last = max(number for number, length in enumerate(lengths) if length)
            folder = "".join(words[: 2 * last]).rpartition("/")[0]
            own = _Words(candidate, suffix, words)
            alike[suffix, folder, tuple(words[1::2]), lengths].append(own)
    renamed: dict[int, Candidate] = {}
    for group in alike.values():
        columns = zip(*(each.words[::2] for each in group), strict=True)
        hidden = [2 * number for number, words in enumerate(columns) if _are_hashes(words)]
        found = [each.with_hidden(hidden) for each in group if hidden]
        if len({each.name.values for each in found}) == len(group):
            originals = (id(each.candidate) for each in group)
            renamed.update(zip(originals, found, strict=True))
    return [renamed.get(id(candidate), candidate) for candidate in candidates]


@dataclass(frozen=True)
class _Words:
    """The words of a name and what is between them, without its file ending."""

    candidate: Candidate
    suffix: str
    words: list[str]

    def with_hidden(self, places: Sequence[int]) -> Candidate:
        """The candidate, its name read without some of its words."""
        shown = list(self.words)
        for place in places:
            before, behind = "".join(shown[:place]), "".join(shown[place + 1 :])
            level = before.rpartition("/")[2] + _HIDDEN + behind.partition("/")[0]
            if read_name(level, "").texts:
                shown[place] = _HIDDEN
        name = read_name("".join(shown) + self.suffix, self.suffix)
        return replace(self.candidate, name=name)


def _are_hashes(words: Sequence[str]) -> bool:
    both = sum(1 for each in words if not each.isdigit() and not each.isalpha())
    letters = {each.translate(_DIGITS) for each in words}  # one, where words are as "ba1000"
    return (
        len(words) >= _FEWEST
        and len(set(words)) == len(words)
        and 2 * min(both, len(letters)) > len(words)
        and all(map(_HASH.fullmatch, words))
    )
