"""What a trainer's own files say of the optimizer at a checkpoint."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from trajscope.errors import CheckpointError
from trajscope.optimizer import SGD
from trajscope.readers.base import open_regular
from trajscope.readers.torch.optimizer import Settings, param_groups

_SIDECARS: Final = ("optimizer.pt", "optimizer.bin", "optimizer.pth")
_TRAINER_STATE: Final = "trainer_state.json"
_MOST_STATE: Final = 64 << 20
"""Bytes of a trainer_state.json; its log grows with the run."""
_SAME: Final = 1e-9

_KINDS: Final[Sequence[tuple[str, frozenset[str]]]] = (
    ("muon", frozenset({"ns_steps"})),
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
    """

    kind: str
    lr: float | None
    momentum: float | None
    dampening: float
    nesterov: bool
    one_rate: bool
    place: Path


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
        if len(optimizers) == 1:
            return _of_groups(optimizers[0], file)
    log = folder / _TRAINER_STATE
    rate = _logged_rate(log) if own_folder else None
    return None if rate is None else Recorded("", rate, None, 0.0, False, True, log)


def _of_groups(groups: Sequence[Settings], file: Path) -> Recorded:
    first = groups[0]
    kind = next((kind for kind, keys in _KINDS if keys <= first.keys()), "")
    number = {name: _number(first.get(name)) for name in ("lr", "momentum", "dampening")}
    one_rate = all(
        math.isclose(_number(group.get(name)) or 0, number[name] or 0, rel_tol=_SAME)
        for group in groups
        for name in ("lr", "momentum")
    )
    return Recorded(
        kind,
        number["lr"],
        number["momentum"] if kind == SGD else None,
        number["dampening"] or 0.0,
        first.get("nesterov") is True,
        one_rate,
        file,
    )


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 0 else None


def _logged_rate(path: Path) -> float | None:
    """The learning rate that was logged last."""
    try:
        with open(open_regular(path), "rb") as file:
            state: Any = json.loads(file.read(_MOST_STATE))
    except (CheckpointError, OSError, ValueError, RecursionError):
        return None
    log = state.get("log_history") if isinstance(state, Mapping) else None
    rates = [
        each.get("learning_rate")
        for each in (log if isinstance(log, list) else ())
        if isinstance(each, Mapping) and "learning_rate" in each
    ]
    return _number(rates[-1]) if rates else None
