"""What pushes a run back and forth or round: a path to add to any process."""

import numpy as np
import xarray as xr

from trajscope.simulate.embedding import as_trajectory, expect, expect_steps


def forcing(  # noqa: PLR0913 - a size, a speed, a phase, and in which of two shapes
    n_steps: int,
    n_weights: int | None = None,
    *,
    amplitude: float,
    angular_velocity: float,
    seed: int,
    phase: float = 0.0,
    circle: bool = False,
) -> xr.DataArray:
    """A path without noise, to be added to a process: on a line, or round a circle.

    ``x_1[t] = A cos(w t + p)``, round a circle also ``x_2[t] = A sin(w t + p)``

    In a linear well a force of this frequency adds just such a path to the motion. One line in the
    spectrum, at w. Round a circle ``MSD(q) = 4 A^2 sin^2(w q / 2)`` and signed-area rate
    ``A^2 sin w`` per step; on a line ``MSD(q) = 2 A^2 sin^2(w q / 2)`` as the mean over phases, and
    no signed area: it looks the same backwards. With ``w = pi`` on a line it alternates with
    period two, ``A cos p (-1)^t``, as at the edge of stability: squared increments ``4 A^2 cos^2
    p``, all power at the Nyquist frequency, every second checkpoint at the same place. (Noisy
    alternation: `stochastic_gradient_descent` in a mode with ``1 < eta h < 2`` has autocorrelation
    ``(1 - eta h)^lag``.)

    Parameters
    ----------
    amplitude :
        A.
    angular_velocity :
        w, radians per step; beyond pi a turn looks like one the other way.
    seed :
        Of the map into weights. Another one than that of the process it is added to gives it a
        direction of its own, the same one the direction of the process's first modes.
    phase :
        p, in radians.
    circle :
        In two modes instead of one.

    Returns
    -------
    (step, weight)

    Raises
    ------
    OptionError
        A value that is not finite.

    Examples
    --------
    >>> from trajscope import simulate
    >>> simulate.forcing(100, amplitude=1.0, angular_velocity=0.3, seed=1).sizes["step"]
    100
    """
    expect_steps(n_steps)
    for name, value in (
        ("amplitude", amplitude),
        ("angular_velocity", angular_velocity),
        ("phase", phase),
    ):
        expect(bool(np.isfinite(value)), name, value, "a finite number")
    angles = angular_velocity * np.arange(n_steps) + phase
    modes = [np.cos(angles), np.sin(angles)] if circle else [np.cos(angles)]
    return as_trajectory(amplitude * np.column_stack(modes), n_weights, seed)
