"""Seven verdicts: every window is asked the questions of an inquiry, layers all at once."""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trajscope.inference.decision.catalogue import NAMES
from trajscope.inference.decision.order import inquire
from trajscope.inference.decision.settings import Asked, Inquiry, Judgement, Question
from trajscope.inference.statistics import brownian
from trajscope.inference.statistics.window import Window
from trajscope.kernels.gram import Floats

__all__ = ["Question", "judge", "judge_together", "together"]


def judge(window: Window, question: Question) -> Judgement:
    """The verdict on one window.

    Fewer than 32 checkpoints are too short. Then, each at level alpha: whether the noise scale
    changes (by half or less of its variance, signs are flipped from there on, and the rest is
    asked all the same); whether the increments are exchangeable in time (Brownian motion, with any
    drift); if so, whether they drift. If not: increments that persist are asked again in blocks; a
    path that is taken back is asked whether it drifts and whether it is seven correlation times
    long. Then it is confined, and asked whether it began elsewhere (if it is nine of these times
    long), and whether it circulates or oscillates. Where the momentum is known, windows of fewer
    than seven ringing times are not asked whether they oscillate.
    """
    return judge_together([window], question)[0]


def judge_together(windows: Sequence[Window], question: Question) -> list[Judgement]:
    """The verdicts on several windows of the same steps, with p-values for all of them together.

    Every test is asked of all windows that came to it, with the same random draws, and a p-value
    is that of the largest statistic among them: a false alarm anywhere is as rare as the level
    says (maxT of Westfall & Young 1993).
    """
    found = [Judgement() for _ in windows]
    inquiries = [inquire(*each, question) for each in zip(windows, found, strict=True)]
    with ThreadPoolExecutor(min(len(windows), os.cpu_count() or 1)) as pool:
        first = pool.map(lambda inquiry: next(inquiry, None), inquiries)
        pending = {number: asked for number, asked in enumerate(first) if asked is not None}
        while pending:
            name = min((asked.name for asked in pending.values()), key=NAMES.index)
            now = {number: asked for number, asked in pending.items() if asked.name == name}
            p_values = together([asked.statistic for asked in now.values()])
            for (number, asked), p_value in zip(now.items(), p_values, strict=True):
                found[number].asked[name] = asked.statistic
                found[number].evidence[name] = p_value
            answered = pool.map(_answer, [inquiries[number] for number in now], p_values)
            for number, asked in zip(now, answered, strict=True):
                del pending[number]
                if asked is not None:
                    pending[number] = asked
    return found


def _answer(inquiry: Inquiry, p_value: float) -> Asked | None:
    """The next question of an inquiry, after the answer to the last one."""
    try:
        return inquiry.send(p_value)
    except StopIteration:
        return None


def together(statistics: Sequence[Floats]) -> list[float]:
    """The p-value of each among the largest of all, on a common scale."""
    # The first draws are the same ones, where a long window has fewer of some null.
    n = min(len(statistic) for statistic in statistics)
    comparable = [brownian.standardised(statistic[:n]) for statistic in statistics]
    largest = np.max(comparable, axis=0)
    return [brownian.p_value(np.append(own[0], largest[1:])) for own in comparable]
