"""The phases of a run: what each part between two changes does by itself."""

from dataclasses import dataclass, replace
from itertools import pairwise

from trajscope.inference.course.apart import Found
from trajscope.inference.course.changes import Change, find_changes
from trajscope.inference.course.clock import constant, fitted
from trajscope.inference.decision.alone import (
    detail_of,
    draws_of,
    rate_of,
    taken_apart,
)
from trajscope.inference.decision.parts import code_of
from trajscope.inference.decision.sentences import sentence
from trajscope.inference.decision.settings import Decision, DecisionSettings
from trajscope.inference.decision.told import in_words
from trajscope.inference.decision.verdict import decide
from trajscope.inference.decision.words import Run
from trajscope.inference.statistics.window import Window


@dataclass(frozen=True)
class Phase:
    """Checkpoints between two changes, and the verdict on them alone.

    Attributes
    ----------
    first, stop :
        Numbers of its first checkpoint, and of the first one after it.
    opens :
        The change that it begins with; `None` for the first phase.
    """

    first: int
    stop: int
    opens: Change | None
    code: str
    sentence: str


def find_phases(
    run: Run, window: Window, decision: Decision, found: Found | None, settings: DecisionSettings
) -> tuple[Phase, ...]:
    """The phases of all weights; none where nothing changes, or nothing was tested.

    The verdict of a phase is that of a run that holds it alone.
    """
    if decision.draws is None or window.lengths is not None:
        return ()
    if found is not None:
        noise = found.noise
    elif "change" in decision.evidence:
        noise = fitted(window.increments, rate_of(run))
    else:
        noise = constant(len(window.increments))
    changes = find_changes(window.increments, noise, rate_of(run), draws_of(settings))
    if found is not None and found.is_smooth:
        return ()
    if found is not None and (found.rest.code == "anomalous" or found.rest.reason == "memory"):
        # Without a time scale, slow movement is no drift.
        changes = [change for change in changes if change.kind != "drift"]
    if not changes:
        return ()
    edges = [0, *(change.place for change in changes), window.n_steps]
    fewer = settings.of_a_part
    return tuple(
        _judged(run, window, pair, opens, fewer)
        for pair, opens in zip(pairwise(edges), [None, *changes], strict=True)
    )


def _judged(
    run: Run,
    window: Window,
    edges: tuple[int, int],
    opens: Change | None,
    settings: DecisionSettings,
) -> Phase:
    first, stop = edges
    part, own = window.part(first, stop), run.part(first, stop)
    decision = decide(part, settings)
    found = taken_apart(own, part, decision, settings)
    detail = replace(
        detail_of(part, decision, settings), is_curved=found is not None and found.is_curved
    )
    said = sentence(decision, detail, own)
    if found is None:
        return Phase(first, stop, opens, decision.code, said)
    code = code_of(decision, found)
    return Phase(first, stop, opens, code, in_words(decision, found, own, {}, code, said))
