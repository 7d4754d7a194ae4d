"""Courses: how a noise scale, a learning rate or the centre of a well goes over a run.

A course is a number, one number per checkpoint, or a function of the fraction ``u = t / (T - 1)``
of the run that is over, as those below are. An interval has the value at its first checkpoint.
"""

from collections.abc import Callable, Mapping
from typing import Final

import numpy as np
from numpy.typing import ArrayLike

from trajscope.kernels.gram import Floats
from trajscope.simulate.embedding import expect

Course = float | ArrayLike | Callable[[Floats], Floats]
"""A number, an array along steps, or a function of u from 0 to 1."""

LEARNING_RATE: Final = "learning_rate"
"""Coordinate along steps: the rate of the interval that starts there."""


def hyperbolic(decay: float) -> Callable[[Floats], Floats]:
    """``1 / (1 + decay u)``: from 1 to ``1 / (1 + decay)``, as SGD with rates like 1/t has it.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.hyperbolic(3)(np.array([0, 1])).round(3).tolist()
    [1.0, 0.25]
    """
    expect(0 <= decay < np.inf, "decay", decay, "a finite number of at least 0")
    return lambda u: 1 / (1 + decay * u)


def exponential(last: float) -> Callable[[Floats], Floats]:
    """``last^u``: from 1 to `last` by the same factor every step.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.exponential(0.01)(np.array([0, 0.5, 1])).round(3).tolist()
    [1.0, 0.1, 0.01]
    """
    expect(0 < last < np.inf, "last", last, "a positive number")
    return lambda u: last**u


def cosine(last: float = 0.0) -> Callable[[Floats], Floats]:
    """``last + (1 - last) (1 + cos pi u) / 2``: cosine annealing (arXiv:1608.03983).

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.cosine()(np.array([0, 0.5, 1])).round(3).tolist()
    [1.0, 0.5, 0.0]
    """
    expect(0 <= last < np.inf, "last", last, "a finite number of at least 0")
    return lambda u: last + (1 - last) * (1 + np.cos(np.pi * u)) / 2


def stepped(values: Mapping[float, float]) -> Callable[[Floats], Floats]:
    """1, and from every fraction u in `values` on the number that stands there.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.stepped({0.5: 0.1})(np.array([0, 0.5, 1])).round(3).tolist()
    [1.0, 0.1, 0.1]
    """
    places = np.array(sorted(values), np.float64)
    numbers = np.array([1.0, *(values[each] for each in sorted(values))], np.float64)
    inside = bool(((places >= 0) & (places <= 1)).all())
    expect(inside, "values", sorted(values), "fractions of the run from 0 to 1")
    return lambda u: numbers[np.searchsorted(places, u, side="right")]


def warm_up(fraction: float, then: Course = 1.0) -> Callable[[Floats], Floats]:
    """`then`, times ``u / fraction`` until that fraction of the run is over: nothing moves at 0.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.warm_up(0.2)(np.array([0, 0.1, 1])).round(3).tolist()
    [0.0, 0.5, 1.0]
    """
    expect(0 < fraction <= 1, "fraction", fraction, "a fraction above 0, up to 1")
    return lambda u: course_values("then", then, u) * np.minimum(u / fraction, 1.0)


def frozen(begin: float, end: float, otherwise: Course = 1.0) -> Callable[[Floats], Floats]:
    """`otherwise`, but exactly 0 for ``begin <= u < end``.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.frozen(0.4, 0.6)(np.array([0, 0.5, 1])).round(3).tolist()
    [1.0, 0.0, 1.0]
    """
    expect(0 <= begin < end, "begin", begin, f"a fraction from 0 to below end={end:g}")
    return lambda u: np.where(
        (u >= begin) & (u < end), 0.0, course_values("otherwise", otherwise, u)
    )


def linear(distance: float) -> Callable[[Floats], Floats]:
    """``distance u``: from 0 at an even pace.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.linear(30)(np.array([0, 0.5, 1])).round(3).tolist()
    [0.0, 15.0, 30.0]
    """
    expect(bool(np.isfinite(distance)), "distance", distance, "a finite number")
    return lambda u: distance * u


def logarithmic(distance: float, curvature: float) -> Callable[[Floats], Floats]:
    """``distance log(1 + curvature u) / log(1 + curvature)``: from 0, slower and slower.

    Examples
    --------
    >>> import numpy as np
    >>> from trajscope import simulate
    >>> simulate.logarithmic(30, 100)(np.array([0, 1])).round(3).tolist()
    [0.0, 30.0]
    """
    expect(bool(np.isfinite(distance)), "distance", distance, "a finite number")
    expect(0 < curvature < np.inf, "curvature", curvature, "a positive number")
    return lambda u: distance * np.log1p(curvature * u) / np.log1p(curvature)


def fractions(n_steps: int) -> Floats:
    """``u = t / (T - 1)`` of every checkpoint, as (step,)."""
    return np.linspace(0.0, 1.0, n_steps)


def course_values(name: str, course: Course, u: Floats) -> Floats:
    """A course at the fractions u, as (step,); an array may also be (step, mode).

    Raises
    ------
    OptionError
        The argument `name` has a number that is not finite, or not one for every checkpoint.
    """
    values = np.asarray(course(u) if callable(course) else course, np.float64)
    fits = values.ndim == 0 or (values.ndim <= 2 and len(values) == len(u))
    found = f"array of shape {values.shape}"
    expect(fits, name, found, f"one number, or one for each of {len(u)} steps,")
    expect(bool(np.isfinite(values).all()), name, found, "finite numbers only")
    return np.full(len(u), values) if values.ndim == 0 else values


def scales(name: str, course: Course, n_steps: int) -> Floats:
    """A course of numbers that are not negative, as (step,)."""
    values = course_values(name, course, fractions(n_steps))
    expect(values.ndim == 1, name, f"array of shape {values.shape}", "one number per checkpoint")
    expect(bool((values >= 0).all()), name, f"course down to {values.min():g}", "at least 0")
    return values
