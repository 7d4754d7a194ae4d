"""Every observable of a group, and what a random walk gives beside them."""

from typing import Final

from trajscope.kernels.autocorrelation import brownian_autocorrelation
from trajscope.kernels.components import brownian_explained_variance
from trajscope.measure.norms import NORMS
from trajscope.measure.observables import CURVES, Reference
from trajscope.measure.river import RIVER, RIVER_OF_WALK
from trajscope.schema import COMPONENT, LAG

OBSERVABLES: Final = (*CURVES, *NORMS, *RIVER)
"""In the order of the result; the table of the docs is made of them."""

REFERENCES: Final = (
    Reference(
        "autocorrelation_brownian", (LAG,), "1",
        "expected autocorrelation of a Brownian path of this length",
        "expected r(h) of a Brownian path of T checkpoints, exact",
        lambda n_steps, _: brownian_autocorrelation(n_steps),
    ),
    Reference(
        "explained_variance_brownian", (COMPONENT,), "1",
        "explained variance of isotropic Brownian motion",
        "sin⁻²(πk/2T), normalised; 6/(πk)² for large T",
        brownian_explained_variance,
    ),
    *RIVER_OF_WALK,
)  # fmt: skip
"""Of a random walk of as many checkpoints, in many directions."""
