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
        "No noise budget: the learning rate and the batch size of training make a prediction of "
        "the increments from D. Give {detail}.",
    ),
    Guard(
        "momentum_unknown", True,
        "No noise budget: momentum mu makes increments 1/(1 - mu) times as long. Give it with "
        "--momentum, 0 for plain SGD.",
    ),
    Guard(
        "adaptive_optimizer", True,
        "No noise budget: the checkpoints were trained with an adaptive optimizer ({detail}), "
        "whose steps are not a learning rate times gradients; the prediction is that of SGD, with "
        "or without momentum.",
    ),
    Guard(
        "groups_differ", True,
        "No noise budget: in {detail} groups of parameters have learning rates, or momenta, of "
        "their own; the prediction needs one of each.",
    ),
    Guard(
        "momentum_changes", True,
        "No noise budget: by the trainer's files momentum changes along the run ({detail}), and "
        "the prediction needs one. Take a part of the run where it is constant (--steps).",
    ),
    Guard(
        "schedule", True,
        "No noise budget: by the trainer's files the learning rate changes within {detail}, and "
        "three parts at one rate are the fewest. Save checkpoints more often, or take a part of "
        "the run where it is constant (--steps).",
    ),
    Guard(
        "rate_changes", True,
        "No noise budget: from the first part of the run to the last the increments become "
        "{detail} times as large against the noise of the gradients, as when the learning rate "
        "changes. Take a part of the run where it is constant (--steps).",
    ),
    Guard(
        "step_unit_unknown", True,
        "No noise budget: the checkpoints' steps ({detail}) do not count updates, so how much "
        "noise lies between two of them is not known. Save the optimizer's step with each.",
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
        "checkpoints, and beyond a quarter of an epoch the noise of its batches begins to cancel. "
        "Save checkpoints more often.",
    ),
    Guard(
        "lag_too_coarse", True,
        "No noise budget {detail} of what noise alone would add: weights are pulled back between "
        "two checkpoints, or the batches of an epoch cancel. Save checkpoints more often.",
    ),
    Guard(
        "drifting", True,
        "No noise budget: {detail} of the increments' mean square is drift, and what is left would "
        "be a small difference. Take a later part of the run (--burn-in), or save checkpoints more "
        "often.",
    ),
    Guard(
        "optimizer_unknown", False,
        "No file of the checkpoints says which optimizer trained them: the prediction is that of "
        "SGD with heavy-ball momentum at the learning rate given.",
    ),
    Guard(
        "files_disagree", False,
        "What was given and what the trainer's files say differ: {detail}. The prediction is for "
        "what was given.",
    ),
    Guard(
        "rate_from_files", False,
        "The learning rate changes along the run ({detail}): that of the trainer's files is taken "
        "at each part of it, not the one given.",
    ),
    Guard(
        "wrong_mode", False,
        "This is the noise of the network in eval mode; training saw that of train mode, which "
        "differs ({detail}). --mode train gives the ratio of the training's noise.",
    ),
    Guard(
        "sampling_unknown", False,
        "Whether the batches of an epoch share samples is not known, so there are two predictions. "
        "--sampling with|without leaves one.",
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
