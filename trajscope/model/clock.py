"""How many updates lie between checkpoints."""

from itertools import pairwise

import numpy as np


def evenly_spaced(steps: np.ndarray) -> tuple[int, int]:
    """Positions of the first and the last checkpoint of the longest evenly spaced part."""
    intervals = np.diff(steps)
    values, counts = np.unique(intervals, return_counts=True)
    usual = values[counts.argmax()]
    odd = np.flatnonzero(intervals != usual)
    edges = [-1, *odd.tolist(), len(intervals)]
    before, after = max(pairwise(edges), key=lambda pair: pair[1] - pair[0])
    return before + 1, after


def updates_between(interval: float, unit: str, per_epoch: float) -> int | None:
    """Updates in an interval, where that can be known."""
    updates = {"step": interval, "epoch": interval * per_epoch}.get(unit, float("nan"))
    return round(updates) if updates >= 1 and abs(updates - round(updates)) < 1e-6 else None
