"""What is known of a run that is still written, in words: for the page and the terminal."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from trajscope.errors import printable
from trajscope.report.content.numbers import number, plain
from trajscope.schema import STEP

_ALARMS: Final = 8
_RECENT: Final = 20
KINDS: Final = {
    "nonfinite": "NaN or infinity",
    "identical": "identical copy",
    "jump": "jump",
    "restart": "restart",
}


@dataclass(frozen=True)
class Told:
    """One alarm."""

    kind: str
    where: str
    text: str


@dataclass(frozen=True)
class Seen:
    """A watched run in words; everything that came from a file is printable.

    Attributes
    ----------
    alarms, hidden :
        The latest ones, and how many are not among them.
    facts :
        Names and values.
    """

    source: str
    word: str
    sentence: str
    alarms: tuple[Told, ...]
    hidden: int
    facts: tuple[tuple[str, str], ...]


def seen(state: xr.Dataset) -> Seen:
    """A watched run in words.

    Parameters
    ----------
    state :
        With ``increment``, ``displacement``, ``norm`` and ``estimated`` (step,), and attributes;
        as `trajscope.analysis.watch.Watcher.look` gives it.
    """
    attrs, steps = state.attrs, state[STEP].values
    alarms = [
        Told(KINDS[each["kind"]], f"step {each['step']:g}", printable(each["text"], limit=500))
        for each in attrs["alarms"]
    ]
    tested = attrs["tested"]
    word = str(attrs["code"]).replace("_", " ") or "no verdict yet"
    sentence = str(attrs["sentence"]) or "At least 8 checkpoints are needed for a verdict."
    if tested and tested != len(steps):
        sentence += f" This is of the first {tested:,} checkpoints."
    return Seen(
        printable(attrs["source"], limit=4096),
        word,
        sentence,
        tuple(reversed(alarms[-_ALARMS:])),
        max(len(alarms) - _ALARMS, 0),
        tuple(_facts(state)),
    )


def in_json(state: xr.Dataset) -> dict[str, object]:
    """A watched run for other programs: checkpoints, last step, verdict so far, alarms."""
    attrs, steps = state.attrs, state[STEP].values
    return {
        "checkpoints": len(steps),
        "last_step": plain(steps[-1]) if len(steps) else None,
        "code": plain(attrs["code"]) or None,
        "sentence": plain(attrs["sentence"]),
        "tested": plain(attrs["tested"]),
        "alarms": plain(attrs["alarms"]),
    }


def walked(state: xr.Dataset) -> NDArray[np.float64]:
    """Displacement of a random walk with the same lengths of increments, (step,)."""
    squares: NDArray[np.float64] = np.cumsum(np.nan_to_num(state["increment"].values) ** 2)
    return np.sqrt(squares)


def _facts(state: xr.Dataset) -> list[tuple[str, str]]:
    attrs, steps = state.attrs, state[STEP].values
    facts = [("read", f"{attrs['read']:,} checkpoints, each once")]
    if len(steps):
        unit = str(attrs["step_unit"])
        facts.append((f"{unit}s", f"{steps[0]:g} to {steps[-1]:g}, {len(steps):,} kept"))
        facts.append(("weights", f"{attrs['weights']:,}"))
    if len(steps) > 1:
        facts += [("noise", _noise(state)), ("displacement", _displacement(state))]
    texts = [("note", attrs["note"]), ("waiting", attrs["waiting"])]
    return facts + [(name, printable(text, limit=1000)) for name, text in texts if text]


def _noise(state: xr.Dataset) -> str:
    increments = state["increment"].values[1:]
    rms = increments[-1] / math.sqrt(state.attrs["weights"])
    told = f"the last increment is {number(rms, 2)} (rms of a weight)"
    before = increments[-2 * _RECENT : -_RECENT]
    if not len(before) or not np.median(before) > 0:
        return told
    ratio = float(np.median(increments[-_RECENT:]) / np.median(before))
    return f"{told}; the last {_RECENT} are {number(ratio, 2)} times as long as those before"


def _displacement(state: xr.Dataset) -> str:
    far, walk = float(state["displacement"].values[-1]), float(walked(state)[-1])
    told = f"{number(far, 3)} from the first checkpoint"
    if not walk > 0:
        return told
    return f"{told}, {number(far / walk, 2)} times as far as a random walk with these increments"
