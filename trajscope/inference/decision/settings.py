"""What is asked of a window and what is found: values that an inquiry and its judge exchange."""

import math
from collections.abc import Generator
from dataclasses import dataclass, field, replace
from typing import Final, Self

from trajscope.errors import OptionError
from trajscope.inference.statistics.permutations import IncrementDraws
from trajscope.kernels.gram import Floats

_LONG: Final = 10_000
CODES: Final = (
    "too_short",
    "noise_scale_changes",
    "drifting",
    "brownian",
    "confined",
    "circulating",
    "oscillating",
)
RINGING_UNKNOWN: Final = (
    "Ringing of an optimizer with momentum looks the same: give its --momentum."
)
RINGING_GIVEN: Final = "Ringing with the momentum given is not as narrow."


@dataclass(frozen=True)
class Question:
    """What is asked of a window.

    Attributes
    ----------
    n_surrogates, alpha, seed :
        Draws of every null, level of every test, and what makes the draws repeatable.
    damping :
        What is left of ringing from one checkpoint to the next, ``momentum ** (updates / 2)``;
        `None` where the momentum is not known, or too little is left.
    ringing :
        What is known of ringing, in a sentence.

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

    def __post_init__(self) -> None:
        if not 0 < self.alpha < 1:
            raise OptionError(f"--alpha is {self.alpha:g}; a level between 0 and 1 is expected.")
        if self.seed < 0:
            raise OptionError(f"--seed is {self.seed}; a number from 0 is expected.")
        if self.n_surrogates < self._needed:
            raise OptionError(
                f"--surrogates is {self.n_surrogates}; at least {self._needed} are needed to "
                f"reject at --alpha {self.alpha:g}."
            )

    @property
    def of_a_window(self) -> Self:
        """The same of a part of a run: with no more draws than the level needs."""
        return replace(self, n_surrogates=min(self.n_surrogates, self._needed))

    @property
    def _needed(self) -> int:
        """Draws whose smallest p-value, 1 / (n + 1), is at the level even when doubled."""
        return math.ceil(2 / self.alpha - 1e-9) - 1

    def n_draws(self, n_steps: int) -> int:
        """Draws of each null: beyond 10,000 checkpoints, where they are long, those needed."""
        return self.n_surrogates if n_steps <= _LONG else min(self.n_surrogates, self._needed)


@dataclass(frozen=True)
class Asked:
    """A test that is to be answered by a p-value.

    Attributes
    ----------
    name :
        One of `catalogue.NAMES`.
    statistic : (draw,)
        Of the data first; large values speak against the null.
    """

    name: str
    statistic: Floats


Inquiry = Generator[Asked, float, None]
Answer = Generator[Asked, float, float]


@dataclass
class Judgement:
    """A verdict, and what led to it.

    Attributes
    ----------
    code :
        One of `CODES`.
    reason :
        Why a window is too short: "few" checkpoints, "still" weights, "memory" of the increments,
        "correlation_time", "uneven" spacing, or "rounding"; else empty.
    evidence :
        The p-values that decided, and numbers, in the order they were found.
    asked :
        The statistics of every test by its name.
    draws :
        What the permutations gave.
    flips : bool
        Whether signs were flipped instead, since the noise scale changes.
    """

    code: str = "too_short"
    reason: str = ""
    evidence: dict[str, float] = field(default_factory=dict)
    asked: dict[str, Floats] = field(default_factory=dict)
    draws: IncrementDraws | None = None
    flips: bool = False
