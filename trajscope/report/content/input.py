"""What was read and what was left: the facts under both the screen and the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from trajscope.errors import printable
from trajscope.report.content.numbers import Window, counted, exact, listed, window
from trajscope.schema import AUDIT, STEP, TENSOR, Described, described

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

_NAME_LIMIT = 60
_WARNING_LIMIT = 400


@dataclass(frozen=True)
class Omission:
    """Things that were left out for one reason.

    Attributes
    ----------
    names :
        All of them, printable.
    """

    reason: str
    names: tuple[str, ...]


@dataclass(frozen=True)
class Reading:
    """What was read, in words; everything from a file is printable.

    Attributes
    ----------
    first :
        What is said before everything else: that much of the model is left out. It is not among
        the `warnings`.
    steps, weights, stored :
        Phrases: "1,000 to 30,900, every 100 steps", "500 weights in 8 tensors", "float32".
    audit :
        What the audit found; `None` where there was none.
    counts :
        What else is counted at the steps, in phrases: "tokens 0 to 4e+09", "stage 1 to 2".
    """

    first: str
    source: str
    run: str
    window: Window
    steps: str
    step_source: str
    weights: str
    stored: str
    format: str
    left_out: tuple[Omission, ...]
    skipped: tuple[Omission, ...]
    warnings: tuple[str, ...]
    decisions: tuple[str, ...] = ()
    audit: tuple[str, ...] | None = None
    counts: tuple[str, ...] = ()


def reading(trajectory: "xr.Dataset | Described", more_warnings: Sequence[object] = ()) -> Reading:
    """What is known of a trajectory, from its coordinates and attributes; no weight is read.

    `more_warnings` are those of the analysis; one that was already given is not repeated.
    """
    known = described(trajectory)
    told = known.attrs
    seen = window(known)
    first = told.get("much_left_out", "")
    warnings = [text for text in (*told.get("warnings", ()), *more_warnings) if text != first]
    given = [printable(text, limit=_WARNING_LIMIT) for text in warnings]
    return Reading(
        first=printable(first, limit=_WARNING_LIMIT),
        source=printable(told.get("source") or "an array in memory"),
        run=printable(told.get("run", "")),
        window=seen,
        steps=f"{exact(seen.first)} to {exact(seen.last)}, {_rhythm(known, seen)}",
        step_source=printable(told.get("step_source", "")),
        weights=_weights(known),
        stored=_stored(known),
        format=printable(told.get("format", "")),
        left_out=_by_reason(told.get("left_out", ()), "name"),
        skipped=_by_reason(told.get("skipped", ()), "path", told.get("source", "")),
        warnings=tuple(dict.fromkeys(given)),
        decisions=tuple(printable(text, limit=400) for text in told.get("decisions", ())),
        audit=findings(told[AUDIT]) if AUDIT in told else None,
        counts=tuple(_count(name, values) for name, values in known.counts.items()),
    )


def findings(audit: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """What an audit found, a sentence or two each."""
    return tuple(printable(each["detail"], limit=600) for each in audit)


def step_word(unit: str) -> str:
    """What the steps are called: "steps", "epochs", or "checkpoints" where nothing is known."""
    return {"step": "steps", "epoch": "epochs"}.get(unit, "checkpoints")


def _rhythm(known: Described, seen: Window) -> str:
    words = step_word(seen.unit)
    if seen.spacing is not None:
        return (
            f"every {exact(seen.spacing)} {words}" if seen.spacing != 1 else f"every {words[:-1]}"
        )
    gaps = np.diff(np.asarray(known.coords[STEP], dtype=np.float64))
    return f"unevenly spaced by {exact(float(gaps.min()))} to {exact(float(gaps.max()))} {words}"


def _count(name: str, values: "NDArray[Any]") -> str:
    """A coordinate and the range of its numbers, or its texts in the order of the steps."""
    if values.dtype.kind in "iuf":
        finite = values[np.isfinite(values)]
        ends = (finite.min(), finite.max()) if len(finite) else ()
        return f"{printable(name)} {' to '.join(f'{end:.6g}' for end in ends)}"
    texts = list(dict.fromkeys(printable(text) or "(none)" for text in values))
    return f"{printable(name)} {listed(texts)}"


def _weights(known: Described) -> str:
    count = int(known.coords["row_size"].sum())
    return f"{counted(count, 'weight')} in {counted(len(known.coords[TENSOR]), 'tensor')}"


def _stored(known: Described) -> str:
    if "stored_dtype" not in known.coords:
        return "unknown" if known.dtype is None else str(known.dtype)
    return ", ".join(dict.fromkeys(printable(name) for name in known.coords["stored_dtype"]))


def _by_reason(
    omissions: Sequence[Mapping[str, object]], name: str, folder: object = ""
) -> tuple[Omission, ...]:
    grouped: dict[str, list[str]] = {}
    for omission in omissions:
        thing = str(omission.get(name, ""))
        reason = _of_it(str(omission.get("reason", "no reason given")), f"{folder}/{thing}")
        grouped.setdefault(printable(reason), []).append(printable(thing, limit=_NAME_LIMIT))
    return tuple(Omission(reason, tuple(names)) for reason, names in grouped.items())


def _of_it(reason: str, path: str) -> str:
    """`reason` as a phrase that names no path, so that what has the same reason is one group."""
    phrase, named = reason.removesuffix("."), printable(path)
    if phrase.startswith(f"{named}: "):
        return phrase.removeprefix(f"{named}: ")
    return f"it{phrase.removeprefix(named)}" if phrase.startswith(f"{named} ") else phrase
