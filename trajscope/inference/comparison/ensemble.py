"""Several runs of one training as one ensemble: mean and spread of curves, and pooled tests."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.inference.decision.catalogue import TESTS
from trajscope.inference.decision.combine import RunDecision
from trajscope.inference.decision.settings import CODES
from trajscope.inference.statistics import brownian
from trajscope.kernels.gram import Floats
from trajscope.schema import GROUP, TEST, TEST_LABEL, VERDICT

POOLED: Final = ("noise_scale", "omnibus", "confined", "constant_drift", "relaxation")
"""Tests that every run answers, whatever was found before."""
_CURVES: Final = (
    "mean_squared_displacement",
    "displacement",
    "increment_norm",
    "explained_variance",
    "autocorrelation_mean",
    "increment_fft_mean",
    "diffusion_exponent",
    "increment_rms",
    "path_length",
)


@dataclass(frozen=True)
class Member:
    """One run of several.

    Attributes
    ----------
    observables :
        As they were measured.
    decided :
        With the draws of its tests.
    tests :
        The part of its result.
    """

    label: str
    steps: NDArray[Any]
    observables: xr.Dataset
    decided: RunDecision
    tests: xr.Dataset


def ensemble(members: Sequence[Member]) -> xr.Dataset:
    """Mean and spread over runs of curves and numbers, shares of verdicts, pooled tests.

    Curves are those of the times, frequencies and scales that all runs have. A pooled statistic is
    the mean over runs of the statistic on the scale of its own null; its null is the mean of draws
    within every run, so that runs stay what they are and only the order of their own increments is
    exchanged.

    Returns
    -------
    Dataset
        ``<curve>_mean`` and ``<curve>_sd`` (dividing by one less than the runs), ``verdict_share``
        (group, verdict), ``p_pooled`` (group, test).
    """
    groups = _common([each.decided.names for each in members])
    observables = [each.observables.sel({GROUP: groups}) for each in members]
    tests = [each.tests.sel({GROUP: groups}) for each in members]
    found: dict[str, xr.DataArray] = {}
    for datasets, names in ((observables, _CURVES), (tests, ("variance_ratio",))):
        for name in names:
            if all(name in each for each in datasets):
                found |= _spread(name, [each[name] for each in datasets])
    labels = {test.name: test.label for test in TESTS}
    shares = np.array([[_share(members, group, code) for code in CODES] for group in groups])
    p_pooled = np.array([[_pooled(members, group, test) for test in POOLED] for group in groups])
    return xr.Dataset(
        {
            **found,
            "verdict_share": (
                (GROUP, VERDICT), shares, {"units": "1", "long_name": "share of the runs"}
            ),
            "p_pooled": (
                (GROUP, TEST), p_pooled,
                {"units": "1", "long_name": "p-value of all runs together, draws within each"},
            ),
        },
        {
            GROUP: groups,
            VERDICT: list(CODES),
            TEST: list(POOLED),
            TEST_LABEL: (TEST, [labels[test] for test in POOLED]),
        },
        {"runs": [each.label for each in members]},
    )  # fmt: skip


def pooled(statistics: Sequence[Floats]) -> float:
    """The p-value of several runs together, from the draws of each, data first.

    Of the mean of their statistics, each on the scale of its own null: under the null the data of
    every run are one more draw of it, so that means of draws are draws of the mean.
    """
    n = min(map(len, statistics))
    return brownian.p_value(np.mean([brownian.standardised(s[:n]) for s in statistics], axis=0))


def _common(names: Sequence[Sequence[str]]) -> list[str]:
    return [name for name in names[0] if all(name in others for others in names)]


def _spread(name: str, arrays: Sequence[xr.DataArray]) -> dict[str, xr.DataArray]:
    """Mean and standard deviation where all runs have a value; none where they share no place."""
    together = xr.concat(arrays, "member", join="inner", coords="minimal", compat="override")
    if 0 in together.sizes.values():
        return {}
    texts = dict(arrays[0].attrs)
    meaning = texts.get("long_name", name)
    return {
        f"{name}_mean": together.mean("member").assign_attrs(
            texts | {"long_name": f"{meaning}: mean over runs"}
        ),
        f"{name}_sd": together.std("member", ddof=1).assign_attrs(
            texts | {"long_name": f"{meaning}: standard deviation over runs"}
        ),
    }


def _share(members: Sequence[Member], group: str, code: str) -> float:
    codes = [each.decided.decisions[list(each.decided.names).index(group)].code for each in members]
    return codes.count(code) / len(codes)


def _pooled(members: Sequence[Member], group: str, test: str) -> float:
    """NaN where the test did not apply to some run."""
    statistics: list[Floats] = []
    for each in members:
        statistic = each.decided.decisions[list(each.decided.names).index(group)].statistics.get(
            test
        )
        if statistic is None:
            return float("nan")
        statistics.append(statistic)
    return pooled(statistics)
