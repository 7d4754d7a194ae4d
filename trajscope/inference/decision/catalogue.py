"""Every statistical test, one record each: its name, null hypothesis, statistic and draws."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np


@dataclass(frozen=True)
class Test:
    """A statistical test in words, and its place on the decision path.

    Attributes
    ----------
    name :
        Used in results and summaries.
    label :
        Used in reports.
    null_label :
        Short name of the null hypothesis; tests with the same one share a null.
    null :
        The null hypothesis in one sentence.
    statistic, draws :
        The test statistic, and how its null distribution is sampled; empty where the p-value is
        `doubled_of` others.
    rejects :
        The alternatives that it can detect: to one side, or to both.
    question :
        On the decision path; empty where the test alone decides nothing.
    yes_when_kept :
        Whether the answer to `question` is yes where the null is not rejected.
    doubled_of :
        Two tests; the p-value is twice the smaller of theirs.
    in_layer_table :
        Whether reports show its statistic for every layer.
    """

    name: str
    label: str
    null_label: str
    null: str
    rejects: str
    statistic: str = ""
    draws: str = ""
    question: str = ""
    yes_when_kept: bool = False
    doubled_of: tuple[str, ...] = ()
    in_layer_table: bool = False

    @property
    def what_is_compared(self) -> str:
        """The statistic in words, also for a test `doubled_of` others."""
        return self.statistic or f"twice the smaller p-value of {' and '.join(self.doubled_of)}"

    def twice_the_smaller(self, p_values: Mapping[str, float]) -> float:
        """The p-value of a test that is `doubled_of` two others; NaN where both of theirs are."""
        smaller = np.fmin.reduce([p_values.get(name, np.nan) for name in self.doubled_of])
        return float(np.minimum(1, 2 * smaller))


_ORDERS: Final = "permutations of the increments; sign flips where their variance changes"
_EXCHANGEABLE: Final = (
    "The increments are exchangeable in time: Brownian motion of any covariance and any drift."
)
_NO_DRIFT: Final = "The increments are independent and symmetric about zero."
_REVERSIBLE: Final = "The path is reversible in time."
_LARGER_P: Final = "whichever leaves the larger p-value"

BROWNIAN: Final = Test(
    name="brownian",
    label="Brownian motion",
    null_label="Brownian",
    null=_EXCHANGEABLE,
    rejects="any departure",
    question="Brownian?",
    yes_when_kept=True,
    doubled_of=("omnibus", "confined"),
)
DRIFT: Final = Test(
    name="drift",
    label="drift",
    null_label="no drift",
    null=_NO_DRIFT,
    rejects="a drift, constant or early",
    question="drifting?",
    doubled_of=("constant_drift", "relaxation"),
)
CIRCULATION: Final = Test(
    name="circulation",
    label="circulation",
    null_label="reversible",
    null=_REVERSIBLE,
    rejects="rotation in either direction",
    question="circulating?",
    doubled_of=("slow_planes", "all_planes"),
)
TESTS: Final = (
    Test(
        name="noise_scale",
        label="noise variance",
        null_label="constant noise",
        null="The noise variance is constant: innovations are exchangeable in time.",
        statistic="largest standardised CUSUM of the log squared differences of the increments' "
        "AR(3) innovations, over their long-run scale",
        draws="permutations of the innovations",
        rejects="a change to a larger or a smaller variance",
        question="constant noise?",
        yes_when_kept=True,
    ),
    Test(
        name="omnibus",
        label="order of increments",
        null_label="Brownian",
        null=_EXCHANGEABLE,
        statistic="largest of five standardised departures from a flat spectrum: Bartlett's "
        "Kolmogorov–Smirnov distance, Fisher's g, Ljung–Box, variance ratio, power of the lowest "
        "tenth of the frequencies",
        draws=_ORDERS,
        rejects="any departure",
        in_layer_table=True,
    ),
    Test(
        name="confined",
        label="mean-reverting",
        null_label="Brownian",
        null=_EXCHANGEABLE,
        statistic="larger of two standardised departures: variance ratio at the longest time scale "
        "below its null, and Dickey–Fuller t",
        draws=_ORDERS,
        rejects="mean reversion only",
        in_layer_table=True,
    ),
    BROWNIAN,
    Test(
        name="constant_drift",
        label="constant drift",
        null_label="no drift",
        null=_NO_DRIFT,
        statistic="squared displacement over the sum of squared increments",
        draws="sign flips of the increments, all of them up to 14 checkpoints",
        rejects="movement in one direction only",
        in_layer_table=True,
    ),
    Test(
        name="relaxation",
        label="relaxation",
        null_label="no drift",
        null="The increments along the net displacement are exchangeable in time.",
        statistic="largest standardised decay of the movement along the net displacement",
        draws=_ORDERS,
        rejects="early movement only",
    ),
    DRIFT,
    Test(
        name="slow_drift",
        label="slow drift",
        null_label="no drift",
        null="The mean is exchangeable with the other slow cosine coefficients of the increments.",
        statistic="share of the mean in the squared slowest cosine coefficients of the increments",
        draws="rotations of these coefficients",
        rejects="a larger share only",
    ),
    Test(
        name="early_excess",
        label="initial transient",
        null_label="no transient",
        null="The path is stationary from its first checkpoint on.",
        statistic="largest standardised mean squared distance from the mean during the first 1/20, "
        "1/10, 1/5 or 1/3, over that of the whole window",
        draws="phase surrogates, with phases per component or shared by all, of the path and "
        f"of the path without volatility of its noise, {_LARGER_P}",
        rejects="a start farther from the mean only",
        question="initial transient?",
    ),
    Test(
        name="slow_planes",
        label="rotation of slow modes",
        null_label="reversible",
        null=_REVERSIBLE,
        statistic="sum of squared standardised signed areas, over all pairs of slow modes",
        draws="phase surrogates of the modes, or independent autoregressive modes, of the path and "
        f"of the path without volatility of its noise, {_LARGER_P}",
        rejects="rotation in either direction",
        in_layer_table=True,
    ),
    Test(
        name="all_planes",
        label="rotation in all planes",
        null_label="reversible",
        null=_REVERSIBLE,
        statistic="sum of the products, over pairs of twelve parts of the path that are at least "
        "three parts apart, of the signed areas that they sweep in all planes",
        draws="all signs of the twelve parts' areas",
        rejects="the same rotation in all parts",
        in_layer_table=True,
    ),
    CIRCULATION,
    Test(
        name="line",
        label="spectral peak",
        null_label="no spectral peak",
        null="Slow modes only relax, or ring as expected from the given momentum.",
        statistic="share of a mode's power within two frequencies of a common peak, second largest "
        "over modes",
        draws="AR(1) modes; ringing AR(2) modes where the momentum is given",
        rejects="a narrower peak only",
        question="oscillating?",
    ),
    Test(
        name="noise_trend",
        label="noise trend",
        null_label="constant noise",
        null="The noise variance is constant: increments are exchangeable in time.",
        statistic="slope of the log squared differences of the increments, 8 to 31 checkpoints",
        draws="permutations of the increments",
        rejects="growing or shrinking noise",
    ),
    Test(
        name="neighbours",
        label="neighbours",
        null_label="indep. neighbours",
        null="Successive increments are independent.",
        statistic="correlation of successive increments, 8 to 31 checkpoints",
        draws="permutations of the increments; sign flips where the noise has a trend",
        rejects="increments that resemble or oppose their neighbours",
    ),
)
"""In the order in which they are run; the last two on windows too short for most others."""
NAMES: Final = tuple(test.name for test in TESTS)
DOUBLED: Final = frozenset(name for test in TESTS for name in test.doubled_of)
"""Tests of which two ask the same, so that the p-value of either is doubled."""
