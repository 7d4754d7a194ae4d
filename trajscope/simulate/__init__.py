"""Processes with known answers, as trajectories ``(step, weight)``.

Every process is a float64 DataArray and takes a seed: same seed, same numbers. A process
lives in a few modes. With `n_weights` they are turned into that many weights by
`orthonormal_map`, which keeps every inner product, so what is summed over weights (mean squared
displacement, Gram matrix, spectra, explained variance) has the closed form of the modes; without
it the modes themselves are the weights. ``x @ orthonormal_map(...).T`` gives the modes back.

Trajectories add up: ``rotating_ornstein_uhlenbeck(...) + 0.1 * brownian(...)`` is one too. Give
the terms different seeds, or they share their noise and their map. `driven_walk` and `driven_well`
take the noise (`student_t`, `stable`, `clustered`), the learning rate (`cosine`, `stepped`,
`warm_up`, ...) and the centre (`linear`, `logarithmic`, any array or function) as arguments;
`jittered_steps` and `missing_steps` thin out any run.

Unless said otherwise the unit of length is the standard deviation of one mode (or of its
increments, where the process does not stay), the unit of time one step. Of the increments
``y_t = x[t+1] - x[t]``, summed over weights: ``c_h`` is their autocovariance at lag h,
``S_y(w) = sum_h c_h cos wh`` over all integers h their spectral density, ``VR(q) = 1 + 2
sum_{0<h<q} (1 - h/q) c_h / c_0`` their variance ratio. ``MSD(q) = E|x[t+q] - x[t]|^2``; without
drift that is ``q c_0 VR(q)``.
"""

from trajscope.optimizer import Optimizer
from trajscope.simulate.courses import (
    cosine,
    exponential,
    frozen,
    hyperbolic,
    linear,
    logarithmic,
    stepped,
    warm_up,
)
from trajscope.simulate.cycles import double_well, hopf
from trajscope.simulate.descent import stochastic_gradient_descent
from trajscope.simulate.driven import driven_walk, driven_well
from trajscope.simulate.embedding import orthonormal_map
from trajscope.simulate.forcing import forcing
from trajscope.simulate.fractional import fractional_brownian
from trajscope.simulate.least_squares import (
    LeastSquares,
    descent_on_least_squares,
    least_squares,
    least_squares_covariance,
)
from trajscope.simulate.noises import clustered, gaussian, stable, student_t
from trajscope.simulate.pearson import pearson_diffusion
from trajscope.simulate.quadratic import QuadraticLoss, diffusion_matrix, quadratic_loss
from trajscope.simulate.spacing import jittered_steps, missing_steps
from trajscope.simulate.steady_state import (
    circulation_matrix,
    inverse_temperature,
    lagged_covariance,
    signed_area_rates,
    stationary_covariance,
)
from trajscope.simulate.walks import autoregressive_increments, brownian
from trajscope.simulate.wells import ornstein_uhlenbeck, rotating_ornstein_uhlenbeck

__all__ = [
    "LeastSquares",
    "Optimizer",
    "QuadraticLoss",
    "autoregressive_increments",
    "brownian",
    "circulation_matrix",
    "clustered",
    "cosine",
    "descent_on_least_squares",
    "diffusion_matrix",
    "double_well",
    "driven_walk",
    "driven_well",
    "exponential",
    "forcing",
    "fractional_brownian",
    "frozen",
    "gaussian",
    "hopf",
    "hyperbolic",
    "inverse_temperature",
    "jittered_steps",
    "lagged_covariance",
    "least_squares",
    "least_squares_covariance",
    "linear",
    "logarithmic",
    "missing_steps",
    "ornstein_uhlenbeck",
    "orthonormal_map",
    "pearson_diffusion",
    "quadratic_loss",
    "rotating_ornstein_uhlenbeck",
    "signed_area_rates",
    "stable",
    "stationary_covariance",
    "stepped",
    "stochastic_gradient_descent",
    "student_t",
    "warm_up",
]
