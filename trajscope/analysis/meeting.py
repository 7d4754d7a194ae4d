"""Several runs in one space: their joint principal components, and how far apart they are."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.analysis.shared import Shared
from trajscope.inference.comparison.pair import pairs_of
from trajscope.kernels.components import Components, components_from_gram, explained_variance
from trajscope.kernels.gram import Floats, double_centre
from trajscope.schema import COMPONENT, GROUP, MEETING, PAIR, POINT, RUN, STEP

_N_COMPONENTS: Final = 10
_SAME_START: Final = 1e-6
"""Distance at the first common step over the largest movement, below which two runs start alike."""


def joint_dataset(
    shared: Shared,
    labels: Sequence[str],
    sums: Mapping[str, Floats],
    observables: Sequence[xr.Dataset],
) -> xr.Dataset:
    """Positions along the joint components, and distances of every pair, with their references.

    Parameters
    ----------
    sums :
        Of `Shared.joint`.
    observables :
        Of every run.

    Returns
    -------
    Dataset
        ``joint_component`` and ``joint_component_walk`` (point, component), weight;
        ``joint_explained_variance`` and its ``_walk`` (component,); ``distance`` and
        ``distance_walk`` (pair, meeting), weight, at ``meeting_step``, NaN behind the last one.
    """
    squares = [np.square(each["increment_norm"].isel({GROUP: 0}).values) for each in observables]
    return xr.merge(
        [
            _components(shared, labels, double_centre(sums["joint_gram"]), squares),
            _distances(shared, labels, sums["squared_distance"], squares),
        ],
        compat="no_conflicts", join="outer", combine_attrs="drop",
    )  # fmt: skip


def _components(
    shared: Shared, labels: Sequence[str], gram: Floats, squares: Sequence[Floats]
) -> xr.Dataset:
    points, rows = shared.points, shared.rows
    numbers = [
        np.array([row - start for row in own]) for own, (start, _) in zip(points, rows, strict=True)
    ]
    run = np.repeat(np.arange(len(points)), [len(own) for own in points])
    found = components_from_gram(gram, _N_COMPONENTS)
    walk = components_from_gram(double_centre(_walks(gram, run, numbers, squares)), _N_COMPONENTS)
    walk = _turned(walk, found)
    steps = [own[STEP].values[chosen] for own, chosen in zip(shared.runs, numbers, strict=True)]
    weight = {"units": "weight"}
    one = {"units": "1"}
    return xr.Dataset(
        {
            "joint_component": (
                (POINT, COMPONENT), found.scores,
                {**weight, "long_name": "position along each joint principal component"},
            ),
            "joint_component_walk": (
                (POINT, COMPONENT), walk.scores,
                {**weight, "long_name": "expectation for random walks from the same starts"},
            ),
            "joint_explained_variance": (
                COMPONENT, explained_variance(found),
                {**one, "long_name": "share of the variance of all runs along each component"},
            ),
            "joint_explained_variance_walk": (
                COMPONENT, explained_variance(walk),
                {**one, "long_name": "expectation for random walks from the same starts"},
            ),
        },
        {
            COMPONENT: np.arange(1, found.scores.shape[1] + 1),
            RUN: (POINT, [labels[number] for number in run.tolist()]),
            STEP: (POINT, np.concatenate(steps)),
        },
    )  # fmt: skip


def _walks(
    gram: Floats,
    run: NDArray[np.int64],
    numbers: Sequence[NDArray[np.int64]],
    squares: Sequence[Floats],
) -> Floats:
    """Expected inner products of independent random walks with the runs' increments and starts.

    ``<x_a(t), x_b(s)> = <x_a(0), x_b(0)> + [a = b] sum of |y_a(u)|^2 over u < min(t, s)``: exact
    in many dimensions, where increments are orthogonal to each other and to all starts.
    """  # fmt: skip
    first = np.concatenate([[0], np.cumsum([len(own) for own in numbers])[:-1]])
    expected: Floats = gram[np.ix_(first[run], first[run])].copy()
    for number, (own, square) in enumerate(zip(numbers, squares, strict=True)):
        travelled = np.concatenate([[0.0], np.cumsum(square)])[own]
        place = np.flatnonzero(run == number)
        expected[np.ix_(place, place)] += np.minimum.outer(travelled, travelled)
    return expected


def _turned(walk: Components, found: Components) -> Components:
    """With the signs of the other: those of components are arbitrary."""
    agree = (walk.scores * found.scores[:, : walk.scores.shape[1]]).sum(axis=0)
    return Components(walk.eigenvalues, walk.total, walk.scores * np.where(agree < 0, -1, 1))


def _distances(
    shared: Shared, labels: Sequence[str], squared: Floats, squares: Sequence[Floats]
) -> xr.Dataset:
    pairs = pairs_of(len(labels))
    meetings = [shared.meetings(*pair) for pair in pairs]
    longest = max(map(len, meetings))
    distance, walk, steps = (np.full((len(pairs), longest), np.nan) for _ in range(3))
    starts, used = [], 0
    for place, ((a, b), own) in enumerate(zip(pairs, meetings, strict=True)):
        if not own:
            starts.append("never at one step")
            continue
        found = squared[used : used + len(own)]
        used += len(own)
        rows = np.array(own)
        reach = _travelled(squares[a], rows[:, 0] - shared.rows[a][0]) + _travelled(
            squares[b], rows[:, 1] - shared.rows[b][0]
        )
        distance[place, : len(own)] = np.sqrt(found)
        walk[place, : len(own)] = np.sqrt(found[0] + reach)
        steps[place, : len(own)] = shared.runs[a][STEP].values[rows[:, 0] - shared.rows[a][0]]
        is_same = found[0] <= _SAME_START**2 * max(found.max(), reach.max())
        starts.append("the same" if is_same else "different")
    dims = (PAIR, MEETING)
    weight = {"units": "weight"}
    return xr.Dataset(
        {
            "distance": (dims, distance, {**weight, "long_name": "distance at the same step"}),
            "distance_walk": (
                dims, walk,
                {**weight, "long_name": "distance of random walks with the same increments"},
            ),
        },
        {
            PAIR: [f"{labels[a]} | {labels[b]}" for a, b in pairs],
            "meeting_step": (dims, steps),
            "start": (PAIR, starts),
        },
    )  # fmt: skip


def _travelled(squares: Floats, numbers: NDArray[np.int64]) -> Floats:
    """Squared increments added up from the first of these checkpoints to each."""
    total = np.concatenate([[0.0], np.cumsum(squares)])[numbers]
    return np.asarray(total - total[0])
