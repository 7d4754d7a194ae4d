"""Which arrays of a checkpoint are the state of an optimizer, at any depth and under any name."""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from itertools import pairwise

from trajscope.readers.base import TensorSpec, widened_dtype

OPTIMIZER_STATE = "optimizer state"

# What optimizers of torch, its relatives and Adafactor call what they keep for a parameter.
_SLOTS = frozenset({
    "exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "exp_avg_diff", "exp_avg_row",
    "exp_avg_col", "exp_avg_sq_row", "exp_avg_sq_col", "square_avg", "acc_delta", "grad_avg",
    "momentum_buffer", "mu_product", "prev_flat_grad", "old_dirs", "old_stps", "row_var", "col_var",
    "step_size", "exp_avg_slow", "hessian", "prev_grad", "state1", "state2", "master_param",
})  # fmt: skip
# Their other names are also those of layers; they count only below a number or a parameter's name.
_SHORT_SLOTS = frozenset({
    "step", "eta", "mu", "ax", "sum", "prev", "variance", "d", "al", "ro", "H_diag", "z", "s", "p0",
})  # fmt: skip
_OF_LAYERS = frozenset({"weight", "bias", "kernel", "w", "b", "scale", "gamma", "beta"})
_WORD = re.compile(r".*[oO]ptimizer.*|(.*[-_])?optims?([-_].*)?|optim[A-Z]\w*|(.*[-_])?opt_states?")
# "model_and_optim" holds more than an optimizer.
_BOTH = re.compile(r"(^|[-_])(and|with)([-_]|$)")
_SHORT_WORD = re.compile(r"(.*[-_])?opts?([-_].*)?|opt[A-Z]\w*")


def is_optimizer_word(part: str) -> bool:
    """Whether a part of a name says that a container is an optimizer's, and nothing else's."""
    return _WORD.fullmatch(part) is not None and _BOTH.search(part) is None


def optimizer_state(
    specs: Mapping[str, TensorSpec], layers: Collection[str] = frozenset()
) -> set[str]:
    """Stored names of the arrays that an optimizer keeps beside the parameters.

    - Below a container that is called so (``trainer/optimizer/...``, ``optimizer_g.state...``).
    - ``X/state/3/exp_avg``: arrays by the number of a parameter, with the names of an optimizer's
      or the shapes of arrays elsewhere, and ``X/param_groups/...`` beside them.
    - ``X/state/fc.weight/exp_avg``: the same by the name of a parameter.
    - ``X/vars/3`` where ``X/vars/0`` counts iterations and ``X/vars/1`` is a rate, as Keras writes.

    `layers` are arrays of layers that are called so, by what their containers hold.
    """
    parts = {raw: tuple(raw.split("/")) for raw in specs}
    found = {raw for raw, path in parts.items() if raw not in layers and _is_named(path)}
    rest = {raw: path for raw, path in parts.items() if raw not in found}
    owners = _torch_owners(rest, specs) | _keras_owners(rest, specs)
    deepest = max(map(len, owners), default=-1)
    for raw, path in rest.items():
        depths = range(min(len(path) - 1, deepest) + 1)
        if any(path[:depth] in owners for depth in depths) or _is_slot_by_name(path):
            found.add(raw)
    return found


def _is_named(path: tuple[str, ...]) -> bool:
    """Whether a container, or the start of a dotted name, is called an optimizer's."""
    if any(is_optimizer_word(part) for part in path[:-1] if "." not in part):
        return True
    dotted = path[-1].split(".")
    inside = ("state", "param_groups")
    return any(
        part in ("opt_state", "optimizer_state", "param_states")
        or (following in inside and (_WORD.fullmatch(part) or _SHORT_WORD.fullmatch(part)))
        for part, following in pairwise(dotted)
    )


def _is_slot_by_name(path: tuple[str, ...]) -> bool:
    """Whether a dotted name ends as a parameter's state does: ``state.fc.weight.exp_avg``."""
    dotted = [part for each in path for part in each.split(".")]
    by_number = dotted[-3:-2] == ["state"] and dotted[-2].isdigit()
    named = dotted[-1] in _SLOTS and "state" in dotted[:-2]
    return named or (by_number and dotted[-1] in _SHORT_SLOTS)


def _torch_owners(
    paths: Mapping[str, tuple[str, ...]], specs: Mapping[str, TensorSpec]
) -> set[tuple[str, ...]]:
    """What holds ``state`` and ``param_groups`` of an optimizer, as torch's state_dict does."""
    states: dict[tuple[str, ...], list[tuple[str, tuple[str, ...]]]] = defaultdict(list)
    for raw, path in paths.items():
        for place in range(len(path) - 2):
            if path[place] == "state":
                states[path[:place]].append((raw, path[place + 1 :]))
                break
    owners = set()
    for owner, members in states.items():
        inside = {raw for raw, _ in members}
        if _is_state(members, specs, (raw for raw in paths if raw not in inside)):
            owners.add((*owner, "state"))
            owners.add((*owner, "param_groups"))
    return owners


def _is_state(
    members: list[tuple[str, tuple[str, ...]]],
    specs: Mapping[str, TensorSpec],
    others: Iterable[str],
) -> bool:
    """Whether what lies below a ``state`` is kept for parameters, by number or by name."""
    slots = {rest[1] for _, rest in members}
    numbered = all(rest[0].isdigit() for _, rest in members)
    if slots <= _SLOTS | _SHORT_SLOTS and ("step" in slots or slots & _SLOTS):
        return True
    layered = any("." in slot for slot in slots) or slots & _OF_LAYERS
    if not numbered or layered or any(len(rest) > 2 for _, rest in members):
        return False
    elsewhere = {specs[raw].shape for raw in others}
    sizable = [specs[raw].shape for raw, _ in members if specs[raw].size > 1]
    return bool(sizable) and all(shape in elsewhere for shape in sizable)


def _keras_owners(
    paths: Mapping[str, tuple[str, ...]], specs: Mapping[str, TensorSpec]
) -> set[tuple[str, ...]]:
    """What holds the variables of a Keras optimizer: its iterations, its rate, its slots."""
    owners = set()
    for raw, path in paths.items():
        if path[-2:] != ("vars", "0") or specs[raw].shape or _is_real(specs[raw]):
            continue
        rate = specs.get("/".join((*path[:-1], "1")))
        if rate is not None and rate.shape == () and _is_real(rate):
            owners.add(path[:-1])
    return owners


def _is_real(spec: TensorSpec) -> bool:
    return widened_dtype(spec.dtype) is not None
