"""Where work that takes long shows how far it is: as the caller says, or as a bar in a notebook."""

import sys
from collections.abc import Callable
from typing import Any

Progress = Callable[[int, int], None]


def shown(progress: Progress | None, title: str) -> Progress:
    """`progress` as it was given; without it a bar in a notebook, and nothing elsewhere.

    Parameters
    ----------
    progress :
        Called with (tasks done, total number of tasks).
    title :
        Stands beside the bar, which is gone at the end.

    Examples
    --------
    >>> shown(print, "one pass")(1, 4)
    1 4
    >>> shown(None, "one pass")(1, 4)
    """
    if progress is not None:
        return progress
    # A notebook has loaded IPython long before; nobody else needs it.
    ipython: Any = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return _bar(title) if hasattr(shell, "kernel") else _silence


def _bar(title: str) -> Progress:
    from IPython.display import HTML, display  # type: ignore[import-not-found, unused-ignore]

    place: Any = None
    last = -1

    def show(done: int, total: int) -> None:
        nonlocal place, last
        percent = 100 * done // max(total, 1)
        if percent == last:
            return
        last = percent
        bar = f'{title} <progress value="{percent}" max="100"></progress> {percent}%'
        content = HTML("" if percent >= 100 else bar)
        if place is None:
            place = display(content, display_id=True)
        else:
            place.update(content)

    return show


def _silence(done: int, total: int) -> None:
    """Show nothing."""
