"""Gradient noise of several runs side by side: what the theory takes to be alike, and the score."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from trajscope.analysis.temperature import Training
from trajscope.schema import STEP

TRAINED = "trained"
"""One of the runs that are compared, by its label, with what is known of its training."""


def noise_beside(
    labels: Sequence[str], results: Sequence[xr.DataTree | None], trainings: Sequence[Training]
) -> xr.Dataset:
    """Learning rate and batch size of every run, and the numbers of D at its last checkpoint.

    ``(eta/b) mean(lambda)`` should be alike for networks that train well, and ``rank/d +
    var(lambda)`` scores a network (arXiv:1710.11029).

    Returns
    -------
    Dataset
        ``learning_rate``, ``batch_size``, ``eigenvalue_mean``, ``noise_scale``, ``score``
        (trained,); NaN for what is not known. Empty where nothing is known of any run.
    """
    rows = [_row(result, training) for result, training in zip(results, trainings, strict=True)]
    values = np.array(rows, dtype=np.float64)
    if np.isnan(values).all():
        return xr.Dataset()
    texts = (
        ("trained_learning_rate", "1", "learning rate"),
        ("trained_batch_size", "1", "batch size"),
        ("trained_eigenvalue_mean", "loss^2 weight^-2", "mean eigenvalue of D, last checkpoint"),
        ("trained_noise_scale", "loss^2 weight^-2", "learning rate over batch size, times the mean "
         "eigenvalue of D"),
        ("trained_score", "1", "rank of D over the number of weights, plus variance of its "
         "eigenvalues"),
    )  # fmt: skip
    return xr.Dataset(
        {
            name: (TRAINED, column, {"units": units, "long_name": text})
            for (name, units, text), column in zip(texts, values.T, strict=True)
        },
        {TRAINED: list(labels)},
    )


def _row(result: xr.DataTree | None, training: Training) -> list[float]:
    rate, batch = training.optimizer.learning_rate, training.optimizer.batch_size
    mean, score = np.nan, np.nan
    if result is not None and "eigenvalue_mean" in result["diffusion"]:
        last = result["diffusion"].to_dataset().isel({STEP: -1})
        mean, score = float(last["eigenvalue_mean"]), float(last["score"])
        batch = batch or (int(last.attrs["batch_size"]) if last.attrs.get("batch_size") else None)
    known = rate is not None and batch is not None
    scale = rate / batch * mean if known else np.nan  # type: ignore[operator]
    return [
        np.nan if rate is None else rate,
        np.nan if batch is None else batch,
        mean,
        scale,
        score,
    ]
