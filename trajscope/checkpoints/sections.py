"""Which entries of one checkpoint are the model's weights: sections, prefixes, buffers, ties."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from trajscope.errors import printable
from trajscope.readers.base import TensorSpec, widened_dtype


@dataclass(frozen=True)
class LeftOut:
    """A tensor, or a section of tensors, that is not analysed, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Stored:
    """An array where it lies: the part of the checkpoint, its name there, and its header entry."""

    part: int
    name: str
    spec: TensorSpec


Selection = tuple[dict[str, Stored], dict[str, str]]
"""The weights by name, and the reason for each name that was left out."""

# Live weights first: a Lightning callback puts an average into state_dict and keeps these beside.
_MODEL_SECTIONS = (
    "current_model_state", "model_state_dict", "state_dict", "model", "module", "net", "network",
    "params", "weights",
)  # fmt: skip
_OTHER_SECTIONS = (
    (re.compile(r"(.*[-_.])?(optimizers?|optim|opt_state|opt)([-_.].*)?"), "optimizer state"),
    (re.compile(r"(.*[-_.])?(ema|teacher|swa|average[d]?)([-_.].*)?"), "an average of the weights"),
    (
        re.compile(
            r"(lr_)?schedulers?(_state.*)?|lr_schedulers?|(grad_)?scaler(_state.*)?|amp|rng.*|"
            r".*random.*|callbacks|loops|hyper_parameters|args|config|cfg|epoch|step"
        ),
        "the trainer's own state",
    ),
)
_PREFIXES = ("module.", "_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
_WRAPPERS = re.compile(r"(?<=\.)(_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module)\.")
_COUNTED = frozenset({"n_averaged"})
# With an underscore for the dot where names had to be identifiers: "bn1_running_mean".
_STATISTIC = re.compile(
    r"(.*_)?(running_mean|running_var|moving_mean|moving_variance|num_batches_tracked)"
)
_LEAVES = {
    **dict.fromkeys(
        ("n_averaged", "step", "global_step", "iteration", "iter", "iter_num", "epoch"),
        "a counter, not a weight",
    ),
    **dict.fromkeys(("exp_avg", "exp_avg_sq", "momentum_buffer"), "optimizer state"),
    **dict.fromkeys(
        ("position_ids", "inv_freq", "cos_cached", "sin_cached", "freqs_cis"),
        "a constant of the architecture, not a weight",
    ),
}
# An array of names gives each the room of the longest, so that one name could fill the memory.
_LONGEST_NAME = 1000
_SCALARS = frozenset({"loss", "lr", "learning_rate", "acc", "accuracy", "time"})


def select(
    checkpoints: Sequence[Mapping[str, Stored]],
    include: tuple[str, ...] = (),
    exclude: tuple[str, ...] = (),
) -> list[Selection]:
    """Weights and the rest, for each kind of checkpoint of a series, the most frequent first.

    Section, prefixes and ties are decided for the whole series at once:

    - Of nested checkpoints the model's own section is taken, by its name (`_MODEL_SECTIONS`), which
      is dropped from its tensors; where there is none, all that is not the trainer's, since a
      slash may also belong to the names of the layers ("dense/kernel").
    - Prefixes that wrappers put before every name (``module.``, ``_orig_mod.``) are dropped unless
      two names of one checkpoint would become one.
    - Arrays that are not floating point, buffers, counters, masks and constants are left out, and
      all but the first of tied tensors.
    - With `include` only the tensors that match are kept, and buffers are no reason to leave them
      out. A glob that begins with the name of a section ("ema/*") reaches into that section.
      `exclude` matches the name as it is stored or as it is shown.
    """
    section = _model_section(checkpoints[0])
    shown = [_shown_names(arrays, section, unwrap=True) for arrays in checkpoints]
    if any(len(set(names.values())) < len(names) for names in shown):
        shown = [_shown_names(arrays, section, unwrap=False) for arrays in checkpoints]
    tied = _ties(checkpoints[0], section)
    return [
        _sorted_out(arrays, names, tied, _Choice(section, include, exclude))
        for arrays, names in zip(checkpoints, shown, strict=True)
    ]


@dataclass(frozen=True)
class _Choice:
    section: str | None
    include: tuple[str, ...]
    exclude: tuple[str, ...]

    def included(self, name: str, stored: Stored) -> bool:
        reaches = _in_section(stored.name, self.section)
        return any(
            fnmatchcase(stored.name, glob) if not reaches else fnmatchcase(name, glob)
            for glob in self.include
            if reaches or glob.startswith(_section(stored.name) + "/")
        )

    def refusal(self, name: str, stored: Stored) -> str:
        """Why an array of the chosen sections is left out, or ``""``."""
        included = self.included(name, stored)
        for glob in self.exclude:
            if fnmatchcase(name, glob) or fnmatchcase(stored.name, glob):
                return f"left out by the pattern {printable(glob)!r}"
        if self.include and not included:
            return "not matched by --include"
        if len(name) > _LONGEST_NAME:
            return f"its name has {len(name):,} characters"
        by_name = "" if included else _why_not(stored.name, name, stored.spec)
        return by_name or _why_never(stored.spec)


def _sorted_out(
    arrays: Mapping[str, Stored],
    names: Mapping[str, str],
    tied: Mapping[str, str],
    choice: _Choice,
) -> Selection:
    kept: dict[str, Stored] = {}
    left: dict[str, str] = {}
    counted: dict[str, str] = {}
    elsewhere: Counter[tuple[str, str]] = Counter()
    for raw, stored in arrays.items():
        name = names[raw]
        if not _in_section(raw, choice.section) and not choice.included(name, stored):
            if _section(raw):
                elsewhere[_section(raw), _why_not_section(raw)] += 1
            else:
                left[name] = _why_not(raw, name, stored.spec) or "beside the model's section"
        elif why := choice.refusal(name, stored):
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


def _why_never(spec: TensorSpec) -> str:
    """Why an array can never be weights, whatever its name."""
    if widened_dtype(spec.dtype) is None:
        return f"{printable(spec.dtype)} values, not floating point that can be read"
    return "it holds no values" if spec.size == 0 else ""


def _why_not(raw: str, name: str, spec: TensorSpec) -> str:
    """Why an array is no weight, by its role and name."""
    if spec.role == "buffer":
        return "a buffer, not a parameter"
    leaf = re.split(r"[./]", raw)[-1]
    if _STATISTIC.fullmatch(leaf):
        return "a running statistic of the data, not a weight"
    if leaf in _LEAVES:
        return _LEAVES[leaf]
    if leaf.endswith("mask") or leaf == "masked_bias":
        return "a mask, not a weight"
    if spec.size == 1 and name in _SCALARS:
        return "a logged number, not a weight"
    first = re.split(r"[./]", raw)[0] if len(re.split(r"[./]", raw)) > 1 else ""
    # "opt_proj" is a layer beside an OPT language model; as a section "opt" is the optimizer.
    return _trainers(first) if first.startswith(("optim", "scheduler", "lr_scheduler")) else ""


def _model_section(arrays: Mapping[str, Stored]) -> str | None:
    """The section that holds the model, `None` where none is known by its name."""
    floats: dict[str, int] = defaultdict(int)
    for raw, stored in arrays.items():
        if not _why_never(stored.spec) and not _why_not(raw, raw, stored.spec):
            floats[_section(raw)] += stored.spec.size
    return next((section for section in _MODEL_SECTIONS if floats.get(section)), None)


def _section(raw: str) -> str:
    head, slash, _ = raw.partition("/")
    return head if slash else ""


def _in_section(raw: str, section: str | None) -> bool:
    if section is None:
        return not _trainers(_section(raw))
    return _section(raw) == section


def _why_not_section(raw: str) -> str:
    return _trainers(_section(raw)) or "another section than the model's"


def _trainers(section: str) -> str:
    """Why a section is not the model, or ``""`` where its name does not say."""
    lower = section.lower()
    return next((why for pattern, why in _OTHER_SECTIONS if pattern.fullmatch(lower)), "")


def _shown_names(
    arrays: Mapping[str, Stored], section: str | None, *, unwrap: bool
) -> dict[str, str]:
    """For each stored name the one that is shown: without section and wrappers' prefixes."""
    inside = {
        raw: raw[len(section) + 1 :] if section else raw
        for raw in arrays
        if _in_section(raw, section)
    }
    if unwrap:
        prefix = _common_prefix([name for name in inside.values() if name not in _COUNTED])
        inside = {raw: _WRAPPERS.sub("", name.removeprefix(prefix)) for raw, name in inside.items()}
    return {raw: inside.get(raw, raw) for raw in arrays}


def _common_prefix(names: Sequence[str]) -> str:
    """The wrappers' prefixes that all names begin with."""
    prefix = ""
    while names:
        longer = next(
            (p for p in _PREFIXES if all(name.startswith(prefix + p) for name in names)), None
        )
        if longer is None:
            break
        prefix += longer
    return prefix


def _ties(arrays: Mapping[str, Stored], section: str | None) -> dict[str, str]:
    """For each array of the model that names its memory, the first one there."""
    first: dict[tuple[int, str], str] = {}
    return {
        raw: first.setdefault((stored.part, stored.spec.storage), raw)
        for raw, stored in arrays.items()
        if stored.spec.storage and _in_section(raw, section)
    }
