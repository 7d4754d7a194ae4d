"""The free energy of replicas along training as part of an ensemble."""

from collections.abc import Sequence

import numpy as np
import xarray as xr

from trajscope.analysis.laws import Paths
from trajscope.inference.comparison.free_energy import free_energy, n_directions
from trajscope.inference.comparison.law_guards import refusal
from trajscope.schema import ALL_WEIGHTS, STEP

ENERGY_STEP = "energy_step"
"""Step of one of the times at which a free energy is taken."""


def energy_of(
    labels: Sequence[str],
    trajectories: Sequence[xr.Dataset],
    paths: Sequence[Paths],
    starts: Sequence[str],
) -> tuple[dict[str, xr.Variable], list[dict[str, object]]]:
    """The free energy of replicas from one start, or what keeps it from being told.

    Over the first half of the runs, along directions that their second halves chose.

    Parameters
    ----------
    starts :
        Of every pair, "the same" where both begin at the same weights.

    Returns
    -------
    variables, guards
    """
    k = n_directions(len(labels))
    if not k:
        return {}, [refusal("few_replicas", f"{len(labels)} replicas", list(labels))]
    if not starts or any(start != "the same" for start in starts):
        return {}, [refusal("different_starts", "Replicas", list(labels))]
    if not all(ALL_WEIGHTS in own for own in paths):
        return {}, [refusal("law_too_few", "Too few", list(labels))]
    own = [each[ALL_WEIGHTS][1].path[:, :k] for each in paths]
    length = min(map(len, own))
    found = free_energy(np.stack([each[:length] for each in own]))
    unit = {"units": "1/beta"}
    texts = {
        "free_energy": "free energy above the steady state's, E[Phi] - H/beta",
        "free_energy_low": "lower end of its interval at 95%, over replicas",
        "free_energy_high": "upper end of its interval at 95%, over replicas",
        "potential_energy": "E[Phi] above the steady state's, Phi its quadratic form",
        "entropy": "entropy above the steady state's",
    }
    values = (found.value, found.low, found.high, found.potential, found.entropy)
    curves = {
        name: xr.Variable(ENERGY_STEP, value, {**unit, "long_name": text})
        for (name, text), value in zip(texts.items(), values, strict=True)
    }
    falls = dict(zip(("_low", "", "_high"), found.fall, strict=True))
    return {
        ENERGY_STEP: xr.Variable(
            ENERGY_STEP, trajectories[0][STEP].values[found.place.astype(int)]
        ),
        **curves,
        **{
            f"free_energy_fall{end}": xr.Variable(
                (), value, {**unit, "long_name": f"fall of the free energy {end[1:]}".strip()}
            )
            for end, value in falls.items()
        },
    }, []
