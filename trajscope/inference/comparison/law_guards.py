"""What the comparison of stationary laws refuses to say: by code, why, and what would lift it."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Guard:
    """One refusal.

    Attributes
    ----------
    code :
        What programs can ask for.
    withholds :
        "everything" of a group; the "chance", that is intervals and p-values; the "expectation",
        in whose place the ratio 1 is tested, or which is doubtful; or the "free energy".
    reason :
        `{detail}` is filled in.
    remedy :
        What would lift it.
    """

    code: str
    withholds: str
    reason: str
    remedy: str


GUARDS: Final = (
    Guard(
        "law_uneven_spacing", "everything",
        "Correlations of positions need evenly spaced checkpoints; those of {detail} are not.",
        "Select an even part with --steps.",
    ),
    Guard(
        "law_too_few", "everything",
        "{detail} checkpoints; each half of a run needs 32.",
        "Save checkpoints more often, or train longer.",
    ),
    Guard(
        "law_still", "everything",
        "{detail} does not move in every direction that is compared.",
        "Exclude what is frozen with --exclude.",
    ),
    Guard(
        "law_too_short", "everything",
        "{detail} of the slowest direction; 5 are needed to know the size of a stationary law.",
        "Train longer at the same settings, or leave out a transient with --burn-in.",
    ),
    Guard(
        "law_drifting", "everything",
        "The mean position moves within the window of {detail}, so there is no stationary law.",
        "Leave out the transient with --burn-in, or wait until the run has settled.",
    ),
    Guard(
        "law_non_gaussian", "chance",
        "Positions of {detail} are not Gaussian in the directions that are compared: the ratio is "
        "that of covariances, and its interval is not known.",
        "Select a part of the run in one basin and with constant noise (--steps).",
    ),
    Guard(
        "law_long_memory", "chance",
        "Positions of {detail} stay correlated for longer than a model of first order says at any "
        "spacing that leaves enough checkpoints: how far a ratio is by chance is not known.",
        "Train longer at the same settings.",
    ),
    Guard(
        "temperature_unknown", "expectation",
        "{detail} unknown: equal laws are tested, that is a ratio of 1.",
        "Give --lr and --batch-size, once for all runs or once for each.",
    ),
    Guard(
        "rate_changes", "expectation",
        "The learning rate of {detail} changes within the window: there is no one temperature.",
        "Select a part of the run where it is constant (--steps).",
    ),
    Guard(
        "adaptive_optimizer", "expectation",
        "{detail}: the temperature of the theory is that of SGD.",
        "Train with SGD to test it.",
    ),
    Guard(
        "sampling_unknown", "expectation",
        "{detail}: a law that is proportional to the learning rate over the batch size holds for "
        "batches drawn with replacement, and it is not known how they were drawn.",
        "Say how with --sampling.",
    ),
    Guard(
        "few_replicas", "free energy",
        "{detail}: the entropy of an ensemble needs at least 6, and 20 to see it in 3 directions. "
        "Of a single run there is none.",
        "Train more replicas from the same weights.",
    ),
    Guard(
        "different_starts", "free energy",
        "{detail} start at different weights, so that they have no one law at one time.",
        "Train replicas from one checkpoint, with different batches.",
    ),
    Guard(
        "shuffled", "expectation",
        "{detail}: in epochs that deal out every sample once, the noise of batches cancels in slow "
        "directions, where a law is not proportional to the learning rate over the batch size.",
        "Sample batches with replacement, or compare runs of equal settings.",
    ),
)  # fmt: skip
"""In the order in which they are asked."""

_BY_CODE: Final = {guard.code: guard for guard in GUARDS}


def refusal(code: str, detail: str, runs: list[str], group: str = "") -> dict[str, object]:
    """What a result says of a guard that speaks."""
    guard = _BY_CODE[code]
    return {
        "code": code,
        "runs": runs,
        "group": group,
        "reason": guard.reason.format(detail=detail),
        "remedy": guard.remedy,
    }


def withheld(codes: list[str]) -> set[str]:
    """What there is not because of the guards with these codes."""
    return {_BY_CODE[code].withholds for code in codes if code in _BY_CODE}
