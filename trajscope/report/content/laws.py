"""Whether runs have the same stationary law up to a factor, in words, pair by pair."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.numbers import number
from trajscope.schema import ALL_WEIGHTS, GROUP, PAIR

if TYPE_CHECKING:
    import xarray as xr

_RATIO = "volume_ratio"
_TRAINED = "trained"


@dataclass(frozen=True)
class LawFound:
    """The stationary laws of one group of two runs, second against first.

    Attributes
    ----------
    ratio, low, high :
        Of volumes per direction, and its interval; NaN ends where chance is not known.
    expected :
        What the settings of training let expect; 1 where they are not known.
    differs :
        Whether either null hypothesis is rejected.
    """

    first: str
    second: str
    group: str
    ratio: float
    low: float
    high: float
    expected: float
    p_same_law: float
    p_same_shape: float
    alpha: float

    @property
    def differs(self) -> bool:
        """Whether the laws are not the same up to the expected factor."""
        return self.p_same_law <= self.alpha or self.p_same_shape <= self.alpha

    @property
    def is_known(self) -> bool:
        """Whether it is known how far the ratio is by chance."""
        return math.isfinite(self.low)

    @property
    def expectation(self) -> str:
        """What the ratio is held against."""
        if math.isclose(self.expected, 1.0, rel_tol=1e-9):
            return "1 if the laws are the same"
        return f"{number(self.expected)} from learning rate and batch size"

    @property
    def sentence(self) -> str:
        """The ratio and its interval, then what is said of the law and of its shape."""
        size = f"stationary variance per direction {number(self.ratio)} times as large"
        if not self.is_known:
            return f"{size} ({self.expectation}); how far by chance is not known."
        size += f" ({number(self.low)} to {number(self.high)}; {self.expectation})"
        law = "the laws differ" if self.p_same_law <= self.alpha else "no other law seen"
        shape = "shapes differ" if self.p_same_shape <= self.alpha else "no other shape seen"
        return (
            f"{size}. {law.capitalize()}, {_p(self.p_same_law)}; {shape}, {_p(self.p_same_shape)}."
        )


@dataclass(frozen=True)
class Trained:
    """How a run was trained and the noise of its gradients, in words; "" for what is not known."""

    label: str
    learning_rate: str
    batch_size: str
    eigenvalue_mean: str
    noise_scale: str
    score: str


def laws(results: "xr.DataTree") -> tuple[LawFound, ...]:
    """Every pair and group whose laws were compared, all weights first."""
    found = results["compare"].to_dataset()
    if _RATIO not in found:
        return ()
    alpha = float(found.attrs.get("alpha", math.nan))
    own = found.transpose(PAIR, GROUP, ...)
    first, second = (
        [printable(text, limit=80) for text in own[name].values] for name in ("first", "second")
    )
    groups = [printable(text, limit=80) for text in own[GROUP].values]
    expected = own["expected_ratio"].values
    names = (_RATIO, "volume_ratio_low", "volume_ratio_high", "p_same_law", "p_same_shape")
    values = [own[name].values for name in names]
    places = np.argwhere(np.isfinite(values[0])).tolist()
    return tuple(
        LawFound(
            first=first[pair],
            second=second[pair],
            group=groups[group],
            ratio=float(values[0][pair, group]),
            low=float(values[1][pair, group]),
            high=float(values[2][pair, group]),
            expected=float(expected[pair]),
            p_same_law=float(values[3][pair, group]),
            p_same_shape=float(values[4][pair, group]),
            alpha=alpha,
        )
        for pair, group in sorted(places, key=lambda place: groups[place[1]] != ALL_WEIGHTS)
    )


def trained(results: "xr.DataTree") -> tuple[Trained, ...]:
    """Settings and gradient noise of every run; none where nothing is known of any."""
    found = results["compare"].to_dataset()
    if _TRAINED not in found.coords:
        return ()
    columns = [
        [number(float(value)) if np.isfinite(value) else "" for value in found[name].values]
        for name in (
            "trained_learning_rate", "trained_batch_size", "trained_eigenvalue_mean",
            "trained_noise_scale", "trained_score",
        )
    ]  # fmt: skip
    labels = [printable(label, limit=80) for label in found[_TRAINED].values]
    return tuple(Trained(*row) for row in zip(labels, *columns, strict=True))


def law_lines(results: "xr.DataTree") -> list[str]:
    """A sentence for all weights of every pair that was compared."""
    return [
        f"{each.second} against {each.first}: {each.sentence}"
        for each in laws(results)
        if each.group == ALL_WEIGHTS
    ]


def laws_summary(results: "xr.DataTree") -> dict[str, object]:
    """What summary.json says: of all weights of the first pair by name, then of everything."""
    found = laws(results)
    first = next((each for each in found if each.group == ALL_WEIGHTS), None)
    return {
        "ratio": None if first is None else first.ratio,
        "ratio_interval": None if first is None else [first.low, first.high],
        "ratio_expected": None if first is None else first.expected,
        "p_same_law": None if first is None else first.p_same_law,
        "p_same_shape": None if first is None else first.p_same_shape,
        "laws": [
            {
                "runs": [each.first, each.second],
                "group": each.group,
                "ratio": each.ratio,
                "ratio_interval": [each.low, each.high],
                "ratio_expected": each.expected,
                "p_same_law": each.p_same_law,
                "p_same_shape": each.p_same_shape,
            }
            for each in found
        ],
        "training": _training(results["compare"].to_dataset()),
    }


def _training(found: "xr.Dataset") -> list[dict[str, object]]:
    if _TRAINED not in found.coords:
        return []
    names = [str(name) for name in found.data_vars if str(name).startswith("trained_")]
    return [
        {"run": str(label)}
        | {name.removeprefix("trained_"): float(found[name].values[place]) for name in names}
        for place, label in enumerate(found[_TRAINED].values)
    ]


def _p(p_value: float) -> str:
    return f"p\u00a0=\u00a0{p_value:.2g}"
