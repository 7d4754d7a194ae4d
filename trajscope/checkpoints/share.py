"""How much of a model is left out, in words, where it is more than a user would expect."""

import re
from collections import Counter
from collections.abc import Sequence

from trajscope.checkpoints.sections import LeftOut
from trajscope.checkpoints.weight_tensors import Weights
from trajscope.errors import printable

_MOST = 0.1
"""Share of a model's values that may be left out without a word before everything else."""

# Statistics and buffers are expected to be left out: how much they are is said, but not warned of.
_EXPECTED = ("a running statistic", "a buffer", "a mask", "a constant of the architecture")
_REASONS = 2
_SECTIONS = 2
_LONGEST = 40
# What means the same to a shell within quotes, to a terminal and as a glob.
_SAFE = re.compile(rf"[\w /.*+@:=,-]{{1,{_LONGEST}}}", re.ASCII)


def much_left_out(weights: Weights) -> str:
    """What is lost of every checkpoint, the largest reasons first; ``""`` if a tenth or less.

    Values of the model alone are counted: neither the optimizer's state nor averages nor what the
    user left out.
    """
    lost = sum(each.values for each in weights.left_out)
    whole = lost + sum(tensor.size for tensor in weights.tensors)
    if not _is_much(lost, weights):
        return ""
    by_reason: Counter[str] = Counter()
    names: dict[str, list[str]] = {}
    for each in weights.left_out:
        if each.values:
            by_reason[each.reason] += each.values
            names.setdefault(each.reason, []).append(each.name)
    shown = [
        f"{_percent(count, whole) + ' ' if len(by_reason) > 1 else ''}{reason} "
        f"({_listed(names[reason])})"
        for reason, count in by_reason.most_common(_REASONS)
    ]
    others = len(by_reason) - _REASONS
    if others > 0:
        shown.append(f"the rest for {others} other reason{'' if others == 1 else 's'}")
    return (
        f"{_percent(lost, whole)} of the model's values in each checkpoint are left out: "
        f"{'; '.join(shown)}.{_remedy(weights.left_out)}"
    )


def is_unexpected(weights: Weights) -> bool:
    """Whether much is left out besides statistics and buffers, so that a warning is due."""
    return _is_much(
        sum(e.values for e in weights.left_out if not e.reason.startswith(_EXPECTED)), weights
    )


def _is_much(lost: int, weights: Weights) -> bool:
    whole = sum(each.values for each in weights.left_out) + sum(t.size for t in weights.tensors)
    return lost > _MOST * whole


def _remedy(left_out: Sequence[LeftOut]) -> str:
    """The options that take what can be taken."""
    by_glob: Counter[str] = Counter()
    for each in left_out:
        if _SAFE.fullmatch(each.include):
            by_glob[each.include] += each.values
    # With any --include only what matches is taken, so that the rest has to be asked for too.
    globs = ["*", *(glob for glob, _ in by_glob.most_common(_SECTIONS) if glob != "*")]
    options = " ".join(f"--include '{glob}'" for glob in globs)
    return f" To take them as well: {options}." if by_glob else ""


def _listed(names: Sequence[str]) -> str:
    first = printable(names[0], limit=_LONGEST)
    return f"{first} and {len(names) - 1} more" if len(names) > 1 else first


def _percent(part: int, whole: int) -> str:
    share = 100 * part / whole
    return f"{share:.0f}%" if share >= 1 else "under 1%"
