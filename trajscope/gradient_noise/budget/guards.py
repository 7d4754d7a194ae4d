"""Why a noise budget is withheld or holds less than it seems to, by code and in words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Guard:
    """One reason.

    Attributes
    ----------
    code :
        What programs can ask for.
    refuses :
        Whether there is no ratio because of it; else the ratio is there and the words say what it
        is a ratio of.
    words :
        What is refused, why, and what would lift it; `{detail}` is filled in.
    """

    code: str
    refuses: bool
    words: str


GUARDS: Final = (
    Guard(
        "settings_missing", True,
        "No noise budget: the learning rate and the batch size of training are needed to predict "
        "the increments from D. Give {detail}.",
    ),
    Guard(
        "momentum_unknown", True,
        "No noise budget: the momentum mu is needed, since it scales increments by 1/(1 - mu). "
        "Give it with --momentum, 0 for plain SGD.",
    ),
    Guard(
        "adaptive_optimizer", True,
        "No noise budget: the checkpoints were trained with an adaptive optimizer ({detail}); the "
        "prediction covers only SGD, with or without momentum.",
    ),
    Guard(
        "groups_differ", True,
        "No noise budget: in {detail} groups of parameters have different learning rates or "
        "momenta; the prediction needs one value of each.",
    ),
    Guard(
        "momentum_changes", True,
        "No noise budget: according to the trainer's files the momentum changes during the run "
        "({detail}), and the prediction needs one value. Select a part of the run where it is "
        "constant (--steps).",
    ),
    Guard(
        "schedule", True,
        "No noise budget: according to the trainer's files the learning rate changes within "
        "{detail}, and at least three parts with a constant rate are needed. Save checkpoints "
        "more often, or select a part of the run where it is constant (--steps).",
    ),
    Guard(
        "rate_changes", True,
        "No noise budget: from the first to the last part of the run the ratio of increments to "
        "gradient noise changes by a factor of {detail}, as it does when the learning rate "
        "changes. Select a part of the run where it is constant (--steps).",
    ),
    Guard(
        "step_unit_unknown", True,
        "No noise budget: the checkpoints' steps ({detail}) do not count updates, so the noise "
        "between two of them is unknown. Save the optimizer's step with each checkpoint.",
    ),
    Guard(
        "too_short", True,
        "No noise budget: {detail}. Save more checkpoints at even intervals.",
    ),
    Guard(
        "no_noise", True,
        "No noise budget: {detail}, so there is nothing to compare.",
    ),
    Guard(
        "shuffled", True,
        "No noise budget for batches without replacement: there are {detail} updates between two "
        "checkpoints, and beyond a quarter of an epoch the noise of the batches partly cancels. "
        "Save checkpoints more often.",
    ),
    Guard(
        "lag_too_coarse", True,
        "No noise budget {detail} of the variance that noise alone adds: mean reversion between "
        "two checkpoints, or batches of an epoch that cancel. Save checkpoints more often.",
    ),
    Guard(
        "drifting", True,
        "No noise budget: {detail} of the mean squared increment is drift, so the remainder would "
        "be a small difference. Select a later part of the run (--burn-in), or save checkpoints "
        "more often.",
    ),
    Guard(
        "optimizer_unknown", False,
        "The checkpoints do not name their optimizer: the prediction assumes SGD with heavy-ball "
        "momentum at the given learning rate.",
    ),
    Guard(
        "files_disagree", False,
        "The given values differ from the trainer's files: {detail}. The prediction uses the "
        "given values.",
    ),
    Guard(
        "rate_from_files", False,
        "The learning rate changes during the run ({detail}): each part uses the rate from the "
        "trainer's files, not the given one.",
    ),
    Guard(
        "wrong_mode", False,
        "This is the gradient noise in eval mode; training had that of train mode, which differs "
        "({detail}). --mode train gives the ratio for the latter.",
    ),
    Guard(
        "sampling_unknown", False,
        "The sampling of batches is unknown, so there are two predictions. Choose one with "
        "--sampling replacement|shuffle.",
    ),
)  # fmt: skip
"""In the order in which they are told."""


def withheld(spoken: Mapping[str, str]) -> bool:
    """Whether there is no ratio at all; some guards concern one of two predictions.

    Parameters
    ----------
    spoken :
        By code of each guard that has spoken, its detail.
    """
    refusing = {guard.code for guard in GUARDS if guard.refuses} - {"shuffled", "lag_too_coarse"}
    return bool(refusing & spoken.keys())


def as_attributes(spoken: Mapping[str, str]) -> dict[str, list[str]]:
    """Codes and sentences, in the order of `GUARDS`, as attributes of a result.

    Where there is no ratio, nothing is told of what it would be a ratio of.
    """
    none = withheld(spoken)
    told = [guard for guard in GUARDS if guard.code in spoken and (guard.refuses or not none)]
    return {
        "budget_guard": [guard.code for guard in told],
        "budget_words": [guard.words.format(detail=spoken[guard.code]) for guard in told],
    }
