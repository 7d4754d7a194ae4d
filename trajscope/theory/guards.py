"""What the theory refuses to say about a run: by code, why, and what would lift it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Guard:
    """One refusal.

    Attributes
    ----------
    code :
        What programs can ask for.
    prevents :
        What there is not because of it: the "prediction" and what is compared with it, the
        "potential", or "some" of the numbers.
    reason :
        `{detail}` is filled in.
    remedy :
        What would lift it.
    """

    code: str
    prevents: str
    reason: str
    remedy: str


GUARDS: Final = (
    Guard(
        "problem_missing", "prediction",
        "The Hessian H and the gradient noise D need the model, the data and the loss.",
        "Give them with --problem.",
    ),
    Guard(
        "settings_missing", "prediction",
        "The stationary law depends on the learning rate and the batch size; {detail} unknown.",
        "Give them with --lr and --batch-size, or keep the trainer's own files.",
    ),
    Guard(
        "momentum_unknown", "prediction",
        "The stationary law depends on the momentum, which neither you nor the trainer's files "
        "give.",
        "Give it with --momentum, 0 for plain SGD.",
    ),
    Guard(
        "adaptive_optimizer", "prediction",
        "The run was trained with an adaptive optimizer ({detail}); the theory is of SGD.",
        "Train with SGD to test it.",
    ),
    Guard(
        "groups_differ", "prediction",
        "In {detail} groups of parameters have different learning rates or momenta; the theory "
        "has one of each.",
        "Train with one learning rate and one momentum.",
    ),
    Guard(
        "momentum_changes", "prediction",
        "According to the trainer's files the momentum changes within the window ({detail}), so "
        "there is no one steady state.",
        "Select a part of the run where it is constant (--steps).",
    ),
    Guard(
        "rate_changes", "prediction",
        "According to the trainer's files the learning rate changes within the window ({detail}), "
        "so there is no one steady state.",
        "Select a part of the run where it is constant (--steps).",
    ),
    Guard(
        "step_unit_unknown", "prediction",
        "The steps of the checkpoints ({detail}) do not count updates, so the time between two of "
        "them is unknown.",
        "Save the optimizer's step with each checkpoint.",
    ),
    Guard(
        "no_noise", "prediction",
        "There is no gradient noise to predict from: {detail}.",
        "Select a part of the run where the loss is finite and batches differ (--steps).",
    ),
    Guard(
        "no_second_derivative", "prediction",
        "{detail}",
        "Test the theory on a model whose layers can be differentiated twice.",
    ),
    Guard(
        "memory", "prediction",
        "{detail}",
        "Raise --memory.",
    ),
    Guard(
        "indefinite_hessian", "prediction",
        "{detail} leading eigenvalues of H are positive and stable at this learning rate; at least "
        "2 are needed for a steady state.",
        "Select a later part of the run, near a minimum (--burn-in).",
    ),
    Guard(
        "mixed_phases", "prediction",
        "Epochs deal out all samples, and the checkpoints lie at {detail}: the law within an epoch "
        "is not Markov, and depends on the phase.",
        "Save a checkpoint at the end of every epoch, or select those with --steps.",
    ),
    Guard(
        "spoilt", "prediction",
        "The audit of the checkpoints allows no conclusion. It says: '{detail}'.",
        "Leave out what is spoilt (--exclude, --steps); trajscope inspect --audit lists it.",
    ),
    Guard(
        "too_short", "some",
        "{detail}: a variance needs 20 correlation times, a rotation 50, entropy production 100.",
        "Save more checkpoints at the same settings.",
    ),
    Guard(
        "shuffled", "some",
        "{detail}: where mean reversion takes more than a fifth of an epoch, the noise of batches "
        "without replacement cancels, and the theory gives a lower bound only.",
        "Sample batches with replacement to test the theory there.",
    ),
    Guard(
        "sampling_unknown", "some",
        "How batches were sampled is unknown: with and without replacement {detail}.",
        "Say how with --sampling.",
    ),
    Guard(
        "directions_dropped", "some",
        "{detail}: no steady state there, so they are left out.",
        "Select a part of the run near a minimum (--burn-in), lower the learning rate, or freeze "
        "in the problem what training froze.",
    ),
    Guard(
        "not_converged", "some",
        "{detail} of the leading eigenvectors of H were found to more than 5% of their eigenvalue, "
        "and are left out.",
        "Raise --samples: the Hessian of few batches has close eigenvalues.",
    ),
    Guard(
        "wrong_mode", "prediction",
        "D and H are those of the network in eval mode, and training had those of train mode, "
        "which differ ({detail}).",
        "Use --mode train.",
    ),
    Guard(
        "non_gaussian", "potential",
        "The weights are not normally distributed along these directions ({detail}), so that their "
        "covariance does not make a quadratic potential.",
        "Select a part of the run within one well (--steps), or save checkpoints more often.",
    ),
    Guard(
        "subspace_selected_here", "some",
        "{detail} principal directions of the first half have less than half of their variance in "
        "the second: they were chosen by noise, and are left out.",
        "Save more checkpoints, or give --problem: eigenvectors of H are not chosen by the window.",
    ),
    Guard(
        "lag_too_coarse", "some",
        "From a checkpoint to the next the fastest of these directions keeps {detail} of its "
        "position: its rotation cannot be seen.",
        "Save checkpoints more often.",
    ),
    Guard(
        "momentum_memory", "some",
        "Between checkpoints {detail} updates apart momentum is not forgotten, so that positions "
        "alone are no Markov process: no entropy production, no rotation.",
        "Save checkpoints at least 5 / (1 - mu) updates apart.",
    ),
    Guard(
        "no_current_predicted", "some",
        "The predicted currents are not larger than the sampling error of D, so that the measured "
        "ones have nothing to be compared with.",
        "Raise --samples.",
    ),
    Guard(
        "weak_currents", "some",
        "The interval of the current slope holds both 0 (no current) and 1 (the theory's): this "
        "window tells nothing about currents.",
        "Save more checkpoints at the same settings.",
    ),
    Guard(
        "single_run_free_energy", "some",
        "The free energy E[Phi] - H/beta is that of an ensemble: from one run neither the entropy "
        "nor its decrease can be seen.",
        "Train at least 20 replicas, and use compare with --replicas.",
    ),
    Guard(
        "files_disagree", "",
        "The given values differ from the trainer's files: {detail}. The given ones are used.",
        "Leave them out to use those of the files.",
    ),
)  # fmt: skip
"""In the order in which they are told; one that prevents nothing is a caveat."""


def prevented(spoken: Mapping[str, str]) -> bool:
    """Whether there is no prediction at all.

    Parameters
    ----------
    spoken :
        By code of each guard that has spoken, its detail.
    """
    return any(guard.code in spoken for guard in GUARDS if guard.prevents == "prediction")


def told(spoken: Mapping[str, str]) -> list[dict[str, str]]:
    """What is refused, in the order of `GUARDS`: code, reason, what would lift it."""
    return [
        {
            "code": guard.code,
            "prevents": guard.prevents,
            "reason": guard.reason.format(detail=spoken[guard.code]),
            "remedy": guard.remedy,
        }
        for guard in GUARDS
        if guard.code in spoken
    ]
