"""The same pooled quantities from either path's sums: observables need not know the path."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np

from trajscope.kernels.autocorrelation import lagged_from_power
from trajscope.kernels.components import (
    Components,
    components_from_gram,
    components_from_sketch,
    components_from_weights,
)
from trajscope.kernels.directions import Directions, directions_of_gram
from trajscope.kernels.factors import factor_of_gram, fewer_columns, root_of_gram
from trajscope.kernels.gram import (
    Floats,
    displacement_gram,
    double_centre,
    lagged_products,
    mean_squared_displacement,
    periodogram_of_gram,
)
from trajscope.kernels.river import (
    River,
    river_of_averages,
    river_of_gram,
    window_lengths,
)
from trajscope.measure.reductions import N_COMPONENTS, test_matrix


@dataclass(frozen=True)
class Pooled:
    """What is pooled over the weights of one group; squared weight units throughout.

    Attributes
    ----------
    periodogram : (frequency,)
    squared_increments : (interval,)
    neighbour_products : (turn,)
    squared_displacements : (step,)
        From the first step.
    mean_squared_displacement : (lag,)
    components :
        Leading principal components.
    directions :
        Inner products of positions.
    river :
        Numbers of averages, (window_length,).
    """

    periodogram: Floats
    squared_increments: Floats
    neighbour_products: Floats
    squared_displacements: Floats
    mean_squared_displacement: Floats
    components: Components
    directions: Directions
    river: River


def pooled_quantities(sums: Mapping[str, Floats], n_steps: int, seed: int) -> Pooled:
    """Pooled quantities of one group, from its Gram matrix or from the FFT path's sums."""
    if "increment_gram" in sums:
        gram = sums["increment_gram"]
        # Where there is another, not from the Gram matrix: under a drift a thousand times the
        # noise, the float32 product leaves it wrong by a third.
        power = sums["power"] if "power" in sums else periodogram_of_gram(gram)
        return _from_gram(gram, power, sums)
    return _from_spectra(sums, n_steps, seed)


def increment_factor(sums: Mapping[str, Floats], width: int) -> Floats:
    """Increments of one group in few coordinates that treat every order of them alike.

    Exact where so many coordinates hold all of them; else half are principal axes of the increments
    and half random directions, right on average.

    Parameters
    ----------
    width :
        Most coordinates.

    Returns
    -------
    (interval, component)
        Weight units, not centred.
    """
    if "increment_gram" in sums:
        return factor_of_gram(sums["increment_gram"], width, int(sums["n_moving"]))
    return fewer_columns(sums["factor"] if "factor" in sums else sums["projection"], width)


def _from_gram(gram: Floats, power: Floats, sums: Mapping[str, Floats]) -> Pooled:
    displacement = displacement_gram(gram)
    centred = double_centre(displacement)
    return Pooled(
        periodogram=power,
        squared_increments=gram.diagonal().copy(),
        neighbour_products=gram.diagonal(offset=1).copy(),
        squared_displacements=displacement.diagonal().copy(),
        mean_squared_displacement=mean_squared_displacement(
            centred.diagonal(), lagged_products(centred)
        ),
        components=_components_of(gram, centred, int(sums["n_moving"])),
        directions=directions_of_gram(
            displacement, sums["squared_positions"], sums["first_products"]
        ),
        river=_over_windows(partial(river_of_gram, centred), len(centred)),
    )


def _components_of(gram: Floats, centred: Floats, n_moving: int) -> Components:
    few = root_of_gram(gram, n_moving)
    if few is None:
        return components_from_gram(centred, N_COMPONENTS)
    path = np.concatenate([np.zeros_like(few[:1]), few.cumsum(axis=0)])
    return components_from_weights(path, N_COMPONENTS)


def _from_spectra(sums: Mapping[str, Floats], n_steps: int, seed: int) -> Pooled:
    return Pooled(
        periodogram=sums["power"],
        squared_increments=sums["squared_increments"],
        neighbour_products=sums["neighbour_products"],
        squared_displacements=sums["squared_displacements"],
        mean_squared_displacement=mean_squared_displacement(
            sums["squared_norms"], lagged_from_power(sums["product_power"], n_steps)
        ),
        components=_components(sums, n_steps, seed),
        directions=Directions(
            sums["squared_positions"],
            np.append(0.0, sums["first_products"].cumsum()),
            sums["last_products"],
            sums["forward_products"],
            sums["landmark_gram"],
        ),
        river=_over_windows(partial(_river_of_sums, sums, n_steps), n_steps),
    )


def _river_of_sums(sums: Mapping[str, Floats], n_steps: int, length: int) -> River:
    place, n = window_lengths(n_steps).index(length), n_steps // length
    squared = float(sums["squared_displacements"][: n * length].mean())
    return river_of_averages(sums["average_gram"][place, :n, :n], squared, length)


def _over_windows(river: Callable[[int], River], n_steps: int) -> River:
    """The numbers for windows of every length, along a dimension of their own."""
    found = [river(length) for length in window_lengths(n_steps)]
    names = River._fields
    return River(*(np.array([getattr(each, name) for each in found], float) for name in names))


def _components(sums: Mapping[str, Floats], n_steps: int, seed: int) -> Components:
    if "dual_scores" in sums:
        return Components(sums["dual_eigenvalues"], float(sums["dual_total"]), sums["dual_scores"])
    total = float(np.sum(sums["squared_norms"]))
    return components_from_sketch(sums["sketch"], test_matrix(n_steps, seed), total, N_COMPONENTS)
