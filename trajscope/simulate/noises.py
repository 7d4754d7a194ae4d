"""Laws of the noise that drives a walk or a well: heavy tails and clustered volatility.

A law draws ``e_t`` as (interval, mode) from a random generator, with variance 1 where that exists.
"""

from collections.abc import Callable

import numpy as np
from scipy.signal import lfilter

from trajscope.kernels.gram import Floats
from trajscope.simulate.embedding import expect

Law = Callable[[np.random.Generator, tuple[int, int]], Floats]
"""``law(generator, (interval, mode))`` draws that many numbers."""


def gaussian(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Independent standard normal numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.gaussian(np.random.default_rng(1), (100, 3)).shape
    (100, 3)
    """
    return rng.standard_normal(shape)


def student_t(degrees_of_freedom: float) -> Law:
    """Independent numbers from Student's t, scaled to variance 1; more than 2 degrees.

    Above 4 their kurtosis ``E e^4`` is ``3 + 6 / (degrees_of_freedom - 4)``, else infinite.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.student_t(3)(np.random.default_rng(1), (100, 3)).shape
    (100, 3)
    """
    expect(
        2 < degrees_of_freedom < np.inf,
        "degrees_of_freedom",
        degrees_of_freedom,
        "a finite number above 2, where the variance exists,",
    )
    size = np.sqrt(degrees_of_freedom / (degrees_of_freedom - 2))

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        drawn: Floats = rng.standard_t(degrees_of_freedom, shape) / size
        return drawn

    return draw


def stable(alpha: float) -> Law:
    """Independent numbers from the symmetric alpha-stable law: ``E cos ke = exp(-|k|^alpha / 2)``.

    Standard normal for alpha = 2; below, ``P(|e| > x)`` falls as ``x^-alpha``: no variance (Lévy
    noise). Drawn as by Chambers, Mallows & Stuck 1976, doi:10.1080/01621459.1976.10480344.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.stable(1.5)(np.random.default_rng(1), (100, 3)).shape
    (100, 3)
    """
    expect(0 < alpha <= 2, "alpha", alpha, "a number above 0, up to 2")

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        angle = rng.uniform(-np.pi / 2, np.pi / 2, shape)
        waiting = rng.standard_exponential(shape)
        first = np.sin(alpha * angle) / np.cos(angle) ** (1 / alpha)
        second = (np.cos((1 - alpha) * angle) / waiting) ** ((1 - alpha) / alpha)
        drawn: Floats = first * second / 2 ** (1 / alpha)
        return drawn

    return draw


def clustered(*, persistence: float, spread: float) -> Law:
    """Stochastic volatility: quiet and wild times, the same for all modes.

    ``e_t = z_t exp(g_t / 2 - spread^2 / 4)``, ``g_t`` a stationary normal AR(1) of standard
    deviation `spread` and autocorrelation ``r^h``, ``r = e^{-1/persistence}``, z_t standard normal

    Variance 1, uncorrelated, symmetric; ``E e_t^2 e_{t+h}^2 = exp(spread^2 r^h)`` in a mode for
    h > 0 and between two modes, kurtosis ``3 exp(spread^2)`` (Taylor 1994,
    doi:10.1111/j.1467-9965.1994.tb00057.x).

    Parameters
    ----------
    persistence :
        Correlation time of the log variance, in intervals.
    spread :
        Standard deviation of the log variance.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> law = simulate.clustered(persistence=0.9, spread=0.5)
    >>> law(np.random.default_rng(1), (100, 3)).shape
    (100, 3)
    """
    expect(0 < persistence < np.inf, "persistence", persistence, "a positive number of steps")
    expect(0 <= spread < np.inf, "spread", spread, "a finite number of at least 0")

    def draw(rng: np.random.Generator, shape: tuple[int, int]) -> Floats:
        noise = spread * rng.standard_normal(shape[0])
        noise[1:] *= np.sqrt(-np.expm1(-2 / persistence))
        log_variance = lfilter([1.0], [1.0, -np.exp(-1 / persistence)], noise)
        size = np.exp(log_variance / 2 - spread**2 / 4)
        drawn: Floats = rng.standard_normal(shape) * size[:, np.newaxis]
        return drawn

    return draw
