"""Settings of a decision, its tests, and its result."""

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Final, Self

from trajscope.errors import OptionError
from trajscope.inference.decision.catalogue import Test
from trajscope.inference.statistics.permutations import MOST_NUMBERS, IncrementDraws
from trajscope.kernels.gram import Floats

_LONG: Final = 10_000
"""Checkpoints above which every null has only as many draws as the level requires."""
_OF_A_PART: Final = 1 << 17
"""Numbers of a layer, or of a part of a run, that are drawn anew."""
CODES: Final = (
    "too_short",
    "noise_scale_changes",
    "drifting",
    "brownian",
    "confined",
    "circulating",
    "oscillating",
    "course",
    "anomalous",
    "alternating",
    "diverging",
)
RINGING_UNKNOWN: Final = (
    "Ringing of an optimizer with momentum gives the same peak: give --momentum to rule it out."
)
RINGING_GIVEN: Final = "Ringing at the given momentum gives a broader peak."


@dataclass(frozen=True)
class DecisionSettings:
    """Settings of the tests of a window.

    Attributes
    ----------
    n_surrogates, alpha, seed :
        Draws of every null, significance level of every test, and seed of the draws.
    damping :
        Remaining amplitude of ringing from one checkpoint to the next,
        ``momentum ** (updates / 2)``; `None` where the momentum is unknown, or too little remains.
    ringing :
        How ringing affects the test for a spectral peak, in a sentence.

    most_numbers :
        From which windows are drawn in fewer directions; `draw_increments`.

    Raises
    ------
    OptionError
        The level is not between 0 and 1, or cannot be reached with so few draws.
    """

    n_surrogates: int = 999
    alpha: float = 0.01
    seed: int = 0
    damping: float | None = None
    ringing: str = RINGING_UNKNOWN
    most_numbers: int = MOST_NUMBERS

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise OptionError(
                f"--alpha is {self.alpha:g}; a significance level between 0 and 1 is expected."
            )
        if self.seed < 0:
            raise OptionError(f"--seed is {self.seed}; a whole number of at least 0 is expected.")
        if self.n_surrogates < self._needed:
            raise OptionError(
                f"--surrogates is {self.n_surrogates}; at least {self._needed} are needed to "
                f"reject at --alpha {self.alpha:g}."
            )

    @property
    def of_a_part(self) -> Self:
        """The same of a layer or a cut: fewer draws, of long windows in fewer directions."""
        return replace(self.of_a_window, most_numbers=_OF_A_PART)

    @property
    def of_a_window(self) -> Self:
        """The same of a part of a run: with no more draws than the level needs."""
        return replace(self, n_surrogates=min(self.n_surrogates, self._needed))

    @property
    def _needed(self) -> int:
        """Draws whose smallest p-value, 1 / (n + 1), is at the level even when doubled."""
        return math.ceil(2 / self.alpha - 1e-9) - 1

    def n_draws(self, n_steps: int) -> int:
        """Draws of each null: above 10,000 checkpoints only as many as the level requires."""
        return self.n_surrogates if n_steps <= _LONG else min(self.n_surrogates, self._needed)


@dataclass(frozen=True)
class PendingTest:
    """A test whose p-value is needed before the procedure goes on.

    Attributes
    ----------
    name :
        One of `catalogue.NAMES`.
    statistic : (draw,)
        Of the data first; large values are evidence against the null.
    """

    name: str
    statistic: Floats


Procedure = Generator[PendingTest, float, None]
PValueProcedure = Generator[PendingTest, float, float]


@dataclass
class Decision:
    """A verdict and its evidence.

    Attributes
    ----------
    code :
        One of `CODES`.
    reason :
        Why a window is too short: "few" checkpoints, "still" weights, "memory" of the increments,
        "correlation_time", "uneven" spacing (or "uneven_memory", "uneven_noise"), or
        "rounding"; else empty.
    evidence :
        p-values and numbers that led to the verdict, in order.
    statistics :
        Of every test, by its name.
    draws :
        Statistics of the permutations.
    flips : bool
        Whether the null uses sign flips instead, since the noise variance changes.
    """

    code: str = "too_short"
    reason: str = ""
    evidence: dict[str, float] = field(default_factory=dict)
    statistics: dict[str, Floats] = field(default_factory=dict)
    draws: IncrementDraws | None = None
    flips: bool = False

    def doubled(self, test: Test) -> float:
        """The p-value of a test that is doubled of two others, from now on in the evidence."""
        p_value = self.evidence[test.name] = test.twice_the_smaller(self.evidence)
        return p_value
