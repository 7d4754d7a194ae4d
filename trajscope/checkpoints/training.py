"""What a trainer's own files say of the optimizer at a checkpoint."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajscope.errors import CheckpointError
from trajscope.optimizer import ADAPTIVE, SGD, is_rate
from trajscope.readers.files import beginning
from trajscope.readers.torch.optimizer import Settings, param_groups

_SIDECARS: Final = ("optimizer.pt", "optimizer.bin", "optimizer.pth")
_TRAINER_STATE: Final = "trainer_state.json"
_MOST_STATE: Final = 64 << 20
"""Bytes of a trainer_state.json; its log grows with the run."""
_SAME: Final = 1e-9
_NUMBERS: Final = ("lr", "momentum", "dampening")
_MOST: Final = 2**60
"""Of any setting that is meant."""

_KINDS: Final[Sequence[tuple[str, frozenset[str]]]] = (
    ("muon", frozenset({"ns_steps"})),
    ("lbfgs", frozenset({"history_size", "line_search_fn"})),
    ("asgd", frozenset({"lambd", "t0"})),
    ("sam", frozenset({"rho", "adaptive"})),
    ("lars", frozenset({"trust_coefficient"})),
    ("adam", frozenset({"betas"})),
    ("adam", frozenset({"beta2_decay"})),  # Adafactor
    ("adam", frozenset({"scale_parameter", "relative_step"})),  # that of transformers
    ("rmsprop", frozenset({"alpha", "centered"})),
    ("adagrad", frozenset({"lr_decay", "initial_accumulator_value"})),
    ("adadelta", frozenset({"rho", "eps"})),
    ("rprop", frozenset({"etas", "step_sizes"})),
    (SGD, frozenset({"momentum", "dampening", "nesterov"})),
)
"""Settings that only optimizers of a kind have, the first that fits counts."""


@dataclass(frozen=True)
class Recorded:
    """The settings of the optimizer in a trainer's files; `None` for what they do not say.

    Attributes
    ----------
    kind :
        As in `Optimizer`.
    one_rate :
        Whether all groups of parameters have the same learning rate and momentum.
    place :
        The file.
    weight_decay :
        The largest of all groups: biases often have none.
    """

    kind: str
    lr: float | None
    momentum: float | None
    dampening: float
    nesterov: bool
    one_rate: bool
    place: Path
    weight_decay: float | None = None


def recorded(path: Path, *, own_folder: bool) -> Recorded | None:
    """What the files of the checkpoint at `path` say; `None` for nothing.

    A file of torch.save that holds the optimizer too, ``optimizer.pt`` in the same folder, and what
    ``trainer_state.json`` there has logged last. Nothing in them is run, and one that cannot be
    read says nothing.

    Parameters
    ----------
    path :
        The checkpoint's file or folder.
    own_folder :
        Whether the folder of its files holds this checkpoint alone.
    """
    folder = path if path.is_dir() else path.parent
    beside = [folder / name for name in _SIDECARS] if own_folder else []
    for file in ([] if path.is_dir() else [path]) + beside:
        try:
            optimizers = param_groups(file) if file.is_file() else []
        except (CheckpointError, OSError):
            continue
        if optimizers:
            return _of_optimizers(optimizers, file)
    log = folder / _TRAINER_STATE
    rate = _logged_rate(_state(log)) if own_folder else None
    return None if rate is None else Recorded("", rate, None, 0.0, False, True, log)


def batch_on_a_process(path: Path) -> int | None:
    """Samples that each process took at once, by the ``trainer_state.json`` of a checkpoint.

    The size of a batch is a multiple: how many processes there were, and over how many passes
    gradients were accumulated, is not written there.
    """
    folder = path if path.is_dir() else path.parent
    size = _state(folder / _TRAINER_STATE).get("train_batch_size")
    return int(size) if isinstance(size, int) and _number(size) else None


def _of_optimizers(optimizers: Sequence[Sequence[Settings]], file: Path) -> Recorded | None:
    """Of several optimizers an adaptive one counts; which weights are whose, nothing says."""
    kinds = [_kind(groups[0]) for groups in optimizers]
    of_first = next((i for i, kind in enumerate(kinds) if kind in ADAPTIVE), 0)
    kind = kinds[of_first] if kinds[of_first] in ADAPTIVE or len(set(kinds)) == 1 else ""
    number = {name: _number(optimizers[of_first][0].get(name)) for name in _NUMBERS}
    if max(number["momentum"] or 0, number["dampening"] or 0) >= 1:
        return None
    decays = [_number(group.get("weight_decay")) for group in optimizers[of_first]]
    one_rate = all(
        math.isclose(_number(group.get(name)) or 0, number[name] or 0, rel_tol=_SAME)
        for groups in optimizers
        for group in groups
        for name in ("lr", "momentum")
    )
    return Recorded(
        kind,
        _rate(number["lr"]),
        number["momentum"] if kind == SGD else None,
        number["dampening"] or 0.0,
        optimizers[of_first][0].get("nesterov") is True,
        one_rate,
        file,
        max((decay for decay in decays if decay is not None), default=None),
    )


def _kind(group: Settings) -> str:
    return next((kind for kind, keys in _KINDS if keys <= group.keys()), "")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 <= value < _MOST else None


def _rate(value: object) -> float | None:
    """A learning rate; `None` of one that is zero, as at the end of many schedules."""
    number = _number(value)
    return number if number is not None and is_rate(number) else None


def _logged_rate(state: Mapping[str, Any]) -> float | None:
    """The learning rate that was logged last."""
    log = state.get("log_history")
    rates = [
        each.get("learning_rate")
        for each in (log if isinstance(log, list) else ())
        if isinstance(each, Mapping) and "learning_rate" in each
    ]
    return _rate(rates[-1]) if rates else None


def _state(path: Path) -> Mapping[str, Any]:
    """What ``trainer_state.json`` holds; nothing where it cannot be read."""
    try:
        state: Any = json.loads(beginning(path, _MOST_STATE))
    except (CheckpointError, ValueError, RecursionError):
        return {}
    return state if isinstance(state, Mapping) else {}
