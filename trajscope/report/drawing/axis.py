"""One direction of axes: its limits, its scale, and the ticks along it."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from trajscope.report.drawing.shapes import Floats

_TINY: Final = 1e-300
_STEPS: Final = (1.0, 2.0, 2.5, 5.0, 10.0)
_ROOM: Final = {True: 37.5, False: 25.0}
"""Pixels that a tick takes where none are told, along x and along y."""


@dataclass
class Axis:
    """One direction of axes.

    Attributes
    ----------
    start, stop :
        Pixels of its lower and of its upper limit.
    margin :
        Share of the range of what is drawn that is left free at both ends.
    length, pad :
        Pixels of a tick, and from there to its number.
    is_far :
        Whether ticks stand on the right.
    """

    start: float
    stop: float
    is_log: bool = False
    margin: float = 0.05
    length: float = 3.5
    pad: float = 3.0
    title: str = ""
    is_far: bool = False
    _limits: tuple[float, float] | None = None
    _seen: list[Floats] = field(default_factory=list)
    _ticks: tuple[list[float], list[str]] | None = None

    @property
    def is_free(self) -> bool:
        """Whether its limits follow from what is drawn."""
        return self._limits is None

    @property
    def seen(self) -> tuple[float, float]:
        """The range of what is drawn, on a logarithmic scale of what is positive; none: 0, 0."""
        known = [values[values > 0] if self.is_log else values for values in self._seen]
        ends = [(float(each.min()), float(each.max())) for each in known if each.size]
        return min((low for low, _ in ends), default=0.0), max((at for _, at in ends), default=0.0)

    def see(self, values: Any) -> None:
        """Take part in the limits."""
        values = np.asarray(values, dtype=np.float64).ravel()
        values = values[np.isfinite(values)]
        if values.size:
            ends = values.min(), values.max(), values.min(where=values > 0, initial=values.max())
            self._seen.append(np.array(ends))

    def limit(self, low: float | None, high: float | None) -> None:
        """Set both limits, or leave one as it is."""
        old = self.get_view_interval()
        self._limits = tuple(
            float(was if new is None else new) for was, new in zip(old, (low, high), strict=True)
        )  # type: ignore[assignment]

    def get_view_interval(self) -> tuple[float, float]:
        """The limits; the first is the larger one where the direction is turned round."""
        if self._limits is not None:
            return self._limits
        low, high = self.seen
        if not self._seen or (self.is_log and high <= 0):
            return (1.0, 10.0) if self.is_log else (0.0, 1.0)
        if low == high:
            half = 0.05 * abs(low) or 0.05
            low, high = low - half, high + half
        if self.is_log:
            room = self.margin * np.log10(high / low)
            return float(low / 10**room), float(high * 10**room)
        room = self.margin * (high - low)
        return low - room, high + room

    def at(self, values: Any) -> Floats:
        """Pixels of values; far out for those that a logarithm does not know."""
        values = np.asarray(values, dtype=np.float64)
        low, high = self.get_view_interval()
        if self.is_log:
            low, high = np.log10(low), np.log10(high)
            values = np.log10(np.where(values <= 0, _TINY, values))
        share = (values - low) / ((high - low) or 1.0)
        return np.asarray(self.start + share * (self.stop - self.start))

    def part(self, share: Any) -> Floats:
        """Pixels of a share of its length."""
        return np.asarray(self.start + np.asarray(share) * (self.stop - self.start))

    def set_ticks(
        self, places: Iterable[float], labels: Sequence[str] | None = None, *, minor: bool = False
    ) -> None:
        """Ticks at these places; without labels, with plain numbers."""
        if minor:
            return
        there = [float(each) for each in places]
        told = plain_numbers(there) if labels is None else [str(each) for each in labels]
        self._ticks = there, told

    def set_ticklabels(self, labels: Sequence[str]) -> None:
        """Replace the words at the ticks; none for an empty list."""
        there, _ = self.ticks()
        self._ticks = there, list(labels) or [""] * len(there)

    def tick_right(self) -> None:
        """Put ticks and numbers on the right."""
        self.is_far = True

    def ticks(self) -> tuple[list[float], list[str]]:
        """Places and words of the ticks."""
        if self._ticks is not None:
            return self._ticks
        length = abs(self.stop - self.start)
        most = int(np.clip(length / _ROOM[self.start < self.stop], 1, 9))
        there = round_places(*self.get_view_interval(), most)
        return there, plain_numbers(there)


def round_places(low: float, high: float, most: int) -> list[float]:
    """Round places within limits, in equal steps, of which there are at most so many."""
    low, high = sorted((low, high))
    if not high > low:
        return [low]
    raw = (high - low) / most
    scale = 10.0 ** np.floor(np.log10(raw))
    steps = [step * scale * power for power in (0.1, 1.0, 10.0) for step in _STEPS]
    first = next(place for place, step in enumerate(steps) if step >= raw * (1 - 1e-9))
    for step in reversed(steps[: first + 1]):
        from_, to = np.ceil(low / step - 1e-9), np.floor(high / step + 1e-9)
        if to - from_ >= 1:
            break
    places: list[float] = (np.arange(from_, to + 1) * step + 0.0).tolist()  # no −0
    return places


def plain_numbers(places: Sequence[float]) -> list[str]:
    """Numbers with thousands separated and as many decimals as the longest needs."""
    decimals = max((len(f"{each:.10g}".partition(".")[2]) for each in places), default=0)
    return [f"{each:,.{decimals}f}".replace("-", "−") for each in places]
