"""Whether a confined path circulates or oscillates: the last questions of the procedure."""

from collections.abc import Callable
from typing import Final

from trajscope.inference.decision.catalogue import CIRCULATION
from trajscope.inference.decision.settings import (
    Decision,
    DecisionSettings,
    PendingTest,
    Procedure,
)
from trajscope.inference.statistics.areas import draw_agreement
from trajscope.inference.statistics.circulation import (
    draw_least_favourable,
    series_of,
    slow_modes,
    spectra_of,
)
from trajscope.inference.statistics.components import n_leading
from trajscope.inference.statistics.oscillation import (
    FEWEST_RINGING_TIMES,
    draw_line,
    line,
    ringing_time,
)
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats

MadeWhenAsked = Callable[[], Floats]

_NEGLIGIBLE: Final = 1e-6
"""Share of the first component's variance: matrices of float32 products hold no smaller one."""


def leading_path(window: Window) -> Floats:
    """Up to six components, one for twenty steps, without those that are rounding of the first."""
    path = window.path
    path = path[:, : n_leading(len(path))]
    variances = path.var(axis=0)
    return path[:, variances > _NEGLIGIBLE * variances.max()]


def loops(
    window: Window,
    path: Floats,
    even: MadeWhenAsked,
    decision: Decision,
    settings: DecisionSettings,
) -> Procedure:
    """Whether a confined path circulates or oscillates."""
    n_steps, n, seed = len(path), settings.n_surrogates, settings.seed
    spectra = spectra_of(path)
    n_draws = n, settings.n_draws(n_steps)
    slow = draw_least_favourable(path, even, n_draws, seed)
    yield PendingTest("slow_planes", slow)
    every = draw_agreement(window.walked_or_leading, settings.most_numbers, seed)
    if every is not None:
        yield PendingTest("all_planes", every)
    if decision.doubled(CIRCULATION) <= settings.alpha:
        decision.code = "circulating"
        return
    series = series_of(slow_modes(spectra, n_steps).spectra, n_steps)
    shared = line(series)
    decision.evidence |= {"cycles": shared.cycles, "concentration": shared.concentration}
    if not shared.is_narrow:
        return
    if settings.damping is not None:
        time = ringing_time(settings.damping)
        if n_steps < FEWEST_RINGING_TIMES * time:
            decision.evidence["ringing_time"] = time
            return
    if (yield PendingTest("line", draw_line(series, settings.damping, n, seed))) <= settings.alpha:
        decision.code = "oscillating"
