"""Caveats on the spectra, one sentence each."""

from collections.abc import Mapping
from typing import Final

import numpy as np
import xarray as xr

_MEANINGLESS: Final = 0.01
"""Threshold of a rank, as a share of lambda_max, above which it counts little."""
_CANCELLING: Final = 1e4
"""``|gbar|^2 / tr D`` above which taking off the mean costs digits that matter."""


def temperature_caveats(spoken: Mapping[str, str]) -> list[str]:
    """Caveats on a temperature from one learning rate and batch size.

    Parameters
    ----------
    spoken :
        Triggered guards of the noise budget, with details.
    """
    sentences = []
    if "rate_from_files" in spoken:
        sentences.append(
            "According to the trainer's files the learning rate changes "
            f"({spoken['rate_from_files']}): temperature and noise_scale use the given rate."
        )
    if "adaptive_optimizer" in spoken:
        sentences.append(
            "temperature and noise_scale are defined for SGD, but the trainer's files contain an "
            f"adaptive optimizer ({spoken['adaptive_optimizer']})."
        )
    return sentences


def caveats(found: xr.Dataset) -> list[str]:
    """Caveats on numbers that are computed correctly.

    Parameters
    ----------
    found :
        As `diffusion` returns it.
    """
    sentences = []
    threshold = float(found["rank_eps32_threshold"])
    if threshold > _MEANINGLESS:
        what = "is zero by definition" if threshold > 1 else "says little"
        sentences.append(
            f"rank_eps32 {what}: with {found.attrs['n_weights']:,} weights its threshold is "
            f"{threshold:.2g} of lambda_max. participation_ratio, stable_rank and directions_90 "
            "do not depend on a threshold."
        )
    losses = found["loss"].to_numpy()
    if not np.isfinite(losses).all():
        steps = found["step"].to_numpy()[~np.isfinite(losses)]
        sentences.append(
            f"The loss is not finite at step {', '.join(f'{step:g}' for step in steps)}; D is "
            "not available there."
        )
    alone = found.attrs.get("normalised_alone", [])
    if alone:
        sentences.append(
            f"Layer {alone[0]!r} lacks running statistics: it normalises each sample separately "
            "here, but per batch in training. --mode train gives the noise of training."
        )
    ratio = found["signal_to_noise"].max().item()
    if ratio > _CANCELLING:
        sentences.append(
            f"The mean gradient is {ratio:.2g} times the noise (|gbar|^2 / tr D): the gradients "
            "differ only in their last digits, and small eigenvalues are rounding errors. --dtype "
            "float64 resolves more of them."
        )
    return sentences
