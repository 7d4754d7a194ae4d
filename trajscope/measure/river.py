"""River and hills of one group: averages over windows, and a random walk's, one record each."""

from typing import Final

import numpy as np

from trajscope.kernels.gram import Floats
from trajscope.kernels.river import brownian_river, window_lengths
from trajscope.measure.observables import Observable, Reference
from trajscope.schema import WINDOW_LENGTH

RIVER: Final = (
    Observable(
        "river_share", (WINDOW_LENGTH,), "1",
        "share of the variance of averages over windows along their first principal component",
        "λ₁ / Σ λ of the averages a_j of x[t] over w checkpoints; NaN where nothing moves",
        lambda m: m.pooled.river.share,
    ),
    Observable(
        "river_cosine", (WINDOW_LENGTH,), "1",
        "mean cosine between successive steps from average to average",
        "mean over j of ⟨s_j, s_{j+1}⟩ / (|s_j| |s_{j+1}|), s_j = a_{j+1} − a_j",
        lambda m: m.pooled.river.cosine,
    ),
    Observable(
        "hill_energy", (WINDOW_LENGTH,), "weight^2",
        "mean squared distance of the weights from the average over their window",
        "mean over t of |x[t] − a_{j(t)}|²",
        lambda m: m.pooled.river.energy,
    ),
    Observable(
        "river_speed", (WINDOW_LENGTH,), "weight",
        "mean distance from average to average, per checkpoint",
        "mean over j of |s_j| / w",
        lambda m: m.pooled.river.speed,
    ),
)  # fmt: skip
"""In the order of the result."""


def _of_walk(n_steps: int, place: int) -> Floats:
    found = [brownian_river(n_steps, w)[place] for w in window_lengths(n_steps)]
    return np.array(found, dtype=np.float64)


RIVER_OF_WALK: Final = (
    Reference(
        "river_share_brownian", (WINDOW_LENGTH,), "1",
        "the share of a random walk in many directions",
        "the same of the expected inner products of such averages, exact",
        lambda n_steps, _: _of_walk(n_steps, 0),
    ),
    Reference(
        "river_cosine_brownian", (WINDOW_LENGTH,), "1",
        "the cosine of a random walk in many directions",
        "the same; 1/4 for long windows",
        lambda n_steps, _: _of_walk(n_steps, 1),
    ),
    Reference(
        "hill_energy_brownian", (WINDOW_LENGTH,), "mean squared increment",
        "hill energy of a random walk in units of its mean squared increment",
        "(w − 1/w) / 6",
        lambda n_steps, _: _of_walk(n_steps, 2),
    ),
    Reference(
        "river_speed_brownian", (WINDOW_LENGTH,), "rms increment",
        "river speed of a random walk in many directions, in units of its rms increment",
        "√((2w + 1/w) / 3) / w",
        lambda n_steps, _: _of_walk(n_steps, 3),
    ),
)  # fmt: skip
