"""Stationary laws of several runs: in which directions, along what path, and how alike they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import xarray as xr

from trajscope.analysis.shared import Shared
from trajscope.analysis.temperature import Training, expected_ratio
from trajscope.inference.comparison.differences import holm
from trajscope.inference.comparison.law import (
    Half,
    Law,
    checks,
    law_of,
    likeness,
    n_directions,
)
from trajscope.inference.comparison.law_guards import refusal, withheld
from trajscope.inference.comparison.pair import FEWEST, pairs_of
from trajscope.inference.decision.settings import DecisionSettings
from trajscope.kernels.gram import Floats
from trajscope.measure.alongside import Along, alongside, principal
from trajscope.measure.found import Measurement
from trajscope.measure.labels import even_spacing
from trajscope.schema import GROUP, PAIR, STEP

Paths = dict[str, tuple[Half, Half]]
"""Halves of one run, by group."""
_FEWEST_TIMES: Final = 5.0
_MOST_VECTORS, _FEWEST_VECTORS, _OF_ALL = 8, 2, 32
"""Directions that a half of a run proposes, and about how many all runs do together."""


def paths_along(shared: Shared, measurements: Sequence[Measurement], memory: int) -> list[Paths]:
    """Both halves of every run, along directions that the other halves of all runs chose.

    Each run proposes the leading principal directions of its increments in one half; of the span of
    all proposals, those directions are taken in which the increments of all runs in that half, each
    run as much as any other, vary most. Positions in the other half had no part in the choice.
    """
    lengths = [run.sizes[STEP] for run in shared.runs]
    if min(lengths) < FEWEST:
        return [{} for _ in lengths]
    each = max(min(_MOST_VECTORS, _OF_ALL // len(lengths)), _FEWEST_VECTORS)
    names = shared.groups.with_all
    proposals = {
        place: _proposals(shared, measurements, place, each) for place in range(len(names))
    }
    moving = {place: own for place, own in proposals.items() if own is not None}
    if not moving:
        return [{} for _ in lengths]
    directions = {place: np.hstack(own) for place, own in moving.items()}
    found = alongside(shared.stack, shared.groups, shared.rows, directions, memory)
    sizes = measurements[0].observables["n_weights"].values
    paths: list[Paths] = [{} for _ in lengths]
    for place, along in found.items():
        split = moving[place][0].shape[1]
        halves = _chosen(along, split, shared, int(sizes[place]))
        for own, pair in zip(paths, halves, strict=True):
            own[names[place]] = pair
    return paths


def _proposals(
    shared: Shared, measurements: Sequence[Measurement], place: int, count: int
) -> tuple[Floats, Floats] | None:
    """Directions of all runs from their first halves, and from their second, (row, direction)."""
    n_rows = shared.stack.shape[0]
    both: tuple[list[Floats], list[Floats]] = ([], [])
    for (start, stop), measurement in zip(shared.rows, measurements, strict=True):
        half = (stop - start) // 2
        intervals = (slice(0, half - 1), slice(stop - start - half, stop - start - 1))
        for side, own in zip(both, intervals, strict=True):
            weights = np.zeros((n_rows, 0))
            proposed = principal(measurement.factors[place], own, count)
            weights = np.zeros((n_rows, proposed.shape[1]))
            weights[start:stop] = proposed
            side.append(weights)
    first, second = np.hstack(both[0]), np.hstack(both[1])
    return (first, second) if first.shape[1] and second.shape[1] else None


def _chosen(along: Along, split: int, shared: Shared, n_weights: int) -> list[tuple[Half, Half]]:
    """Of every run its second half along what the first halves chose, and the reverse."""
    halves = [(stop - start) // 2 for start, stop in shared.rows]
    count = n_directions(min(halves), n_weights)
    found: list[list[Half]] = [[] for _ in halves]
    for columns, is_first in ((slice(0, split), True), (slice(split, None), False)):
        positions = along.orthonormal(columns)
        choosing, measured = [], []
        for (start, stop), half in zip(shared.rows, halves, strict=True):
            ends = (slice(start, start + half), slice(stop - half, stop))
            choosing.append(positions[ends[0 if is_first else 1]])
            measured.append(positions[ends[1 if is_first else 0]])
        basis = _leading(choosing, count)
        for own, path in zip(found, measured, strict=True):
            own.append(Half(path @ basis))
    return [(one, other) for one, other in found]


def _leading(paths: Sequence[Floats], count: int) -> Floats:
    """Directions in which the increments of all paths vary most, each path as much as any other."""
    total = np.zeros(2 * paths[0].shape[1:])
    for path in paths:
        covariance = np.cov(np.diff(path, axis=0).T).reshape(total.shape)
        total += covariance / max(float(np.trace(covariance)), 1e-300)
    return np.asarray(np.linalg.eigh(total)[1][:, : -count - 1 : -1])


@dataclass
class _Told:
    """Laws of every run by group, and what guards say; of a pair its guards are added later."""

    laws: list[dict[str, Law]]
    codes: list[dict[str, list[str]]]
    guards: list[dict[str, object]] = field(default_factory=list)


def laws_dataset(
    labels: Sequence[str],
    groups: Sequence[str],
    trajectories: Sequence[xr.Dataset],
    paths: Sequence[Paths],
    trainings: Sequence[Training],
    settings: DecisionSettings,
) -> xr.Dataset:
    """Volume and shape of every two laws, with what the settings of training let expect.

    Returns
    -------
    Dataset
        ``volume_ratio``, ``volume_ratio_low``, ``volume_ratio_high``, ``p_same_law``,
        ``p_same_shape`` (pair, group), ``expected_ratio`` (pair,); NaN where nothing was compared,
        and the reason in the attribute ``guards``. p-values of layers are corrected for their
        number, and all for the number of pairs (Holm).
    """
    told = _laws(labels, trajectories, paths, settings)
    pairs = pairs_of(len(labels))
    shape = len(pairs), len(groups)
    ratio, low, high, p_law, p_shape = (np.full(shape, np.nan) for _ in range(5))
    expected = np.full(len(pairs), np.nan)
    for row, (a, b) in enumerate(pairs):
        if not (told.laws[a] and told.laws[b]):
            continue
        expected[row], spoken = expected_ratio((labels[a], labels[b]), trainings[a], trainings[b])
        told.guards += spoken
        for column, group in enumerate(groups):
            one, other = told.laws[a].get(group), told.laws[b].get(group)
            if one is None or other is None:
                continue
            alike = likeness(one, other)
            place = row, column
            ratio[place], low[place], high[place] = alike.interval(settings.alpha)
            p_law[place] = alike.p_same_law(float(expected[row]))
            p_shape[place] = alike.p_same_shape
            if "chance" in withheld(told.codes[a][group] + told.codes[b][group]):
                for each in (low, high, p_law, p_shape):
                    each[place] = np.nan
    return _labelled(
        labels, groups, expected, (ratio, low, high, _corrected(p_law), _corrected(p_shape)),
        told.guards, settings.alpha,
    )  # fmt: skip


def _labelled(
    labels: Sequence[str],
    groups: Sequence[str],
    expected: Floats,
    found: Sequence[Floats],
    guards: Sequence[Mapping[str, object]],
    alpha: float,
) -> xr.Dataset:
    names = ("volume_ratio", "volume_ratio_low", "volume_ratio_high", "p_same_law", "p_same_shape")
    interval = f"interval of the ratio of volumes per direction, level {1 - alpha:g}"
    texts = (
        "geometric mean of the generalised eigenvalues of two stationary covariances, second over "
        "first",
        interval,
        interval,
        "p-value of a second covariance that is `expected_ratio` times the first",
        "p-value of two covariances that are proportional",
    )
    return xr.Dataset(
        {
            **{
                name: ((PAIR, GROUP), values, {"units": "1", "long_name": text})
                for name, values, text in zip(names, found, texts, strict=True)
            },
            "expected_ratio": (
                PAIR, expected,
                {"units": "1", "long_name": "ratio of learning rate over batch size, second over "
                 "first; 1 where it is not known"},
            ),
        },
        {
            PAIR: [f"{labels[a]} | {labels[b]}" for a, b in pairs_of(len(labels))],
            GROUP: list(groups),
        },
        {"guards": list(guards)},
    )  # fmt: skip


def _laws(
    labels: Sequence[str],
    trajectories: Sequence[xr.Dataset],
    paths: Sequence[Paths],
    settings: DecisionSettings,
) -> _Told:
    """The law of every group of every run, where guards let there be one."""
    told = _Told([{} for _ in labels], [{} for _ in labels])
    for number, (label, trajectory, own) in enumerate(
        zip(labels, trajectories, paths, strict=True)
    ):
        if not own:
            if trajectory.sizes[STEP] < FEWEST:
                told.guards.append(refusal("law_too_few", str(trajectory.sizes[STEP]), [label]))
            continue
        if even_spacing(trajectory[STEP].values) is None:
            told.guards.append(refusal("law_uneven_spacing", f"'{label}'", [label]))
            continue
        for place, (group, halves) in enumerate(own.items()):
            codes = told.codes[number].setdefault(group, [])
            for code, detail in _obstacles(label, halves):
                codes.append(code)
                told.guards.append(refusal(code, detail, [label], group))
            if "everything" not in withheld(codes):
                seed = (settings.seed, number, place)
                told.laws[number][group] = law_of(halves, settings.n_surrogates, seed)
    return told


def _obstacles(label: str, halves: tuple[Half, Half]) -> list[tuple[str, str]]:
    """Codes of the guards that speak of a group of a run, and their details."""
    if any(half.is_degenerate for half in halves):
        return [("law_still", f"'{label}'")]
    times = sum(half.n_times for half in halves) if all(h.n_times > 0 for h in halves) else 0.0
    if times < _FEWEST_TIMES:
        many = f"{times:.2g} correlation times" if times >= 1 else "less than one correlation time"
        return [("law_too_short", f"'{label}' has {many}")]
    found = checks(halves)
    if found["drift"] <= _LEVEL:
        return [("law_drifting", f"'{label}'")]
    spoken = [("law_non_gaussian", f"'{label}'")] if found["normal"] <= _LEVEL else []
    if not all(half.spacing[1] for half in halves):
        spoken.append(("law_long_memory", f"'{label}'"))
    return spoken


_LEVEL: Final = 0.01
"""Of the tests that find a run not stationary or not Gaussian."""


def _corrected(p_values: Floats) -> Floats:
    """For the number of layers (all weights stand alone), and for the number of pairs."""
    layers = holm(p_values[:, 1:].T).T if p_values.shape[1] > 2 else p_values[:, 1:]
    return holm(np.concatenate([p_values[:, :1], layers], axis=1))
