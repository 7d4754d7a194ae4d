"""Colours by role, for light and dark pages; everything drawn uses the light ones as names."""

ROLES: dict[str, tuple[str, str]] = {
    "background": ("#fdfdfb", "#14161a"),
    "panel": ("#f4f4f0", "#1d2026"),
    "ink": ("#1b1d21", "#e9e7e2"),
    "second": ("#565b63", "#a9aeb7"),
    "rule": ("#e4e4df", "#2e333b"),
    "observed": ("#0067a6", "#58b4ea"),
    "null": ("#5d636b", "#a4abb5"),
    "band": ("#dfe1e4", "#343a43"),
    "outside": ("#d0500a", "#ff8a4a"),
    "outside-text": ("#a83c00", "#ff9d66"),
    "paper": ("#752f6c", "#f2c3ec"),
}
"""Role -> (light, dark). Text reaches 4.6:1 on page and panel, marks 3.3:1."""

_TIME_LIGHT = "46327e 3f4889 365c8d 2e6e8e 277d8c 218884 1d9079 2d9665 4b984a 6c972f 889120 a08800"
_TIME_DARK = "8d7fd6 7f8ddb 6f9bdc 5fa7d6 52b2cc 4abdbd 4cc7ab 5dd097 7bd880 9fde69 c6e156 f0e14b"

TIME: tuple[tuple[str, str], ...] = tuple(
    (f"#{light}", f"#{dark}")
    for light, dark in zip(_TIME_LIGHT.split(), _TIME_DARK.split(), strict=True)
)
"""Time from first to last, (light, dark) each."""

RUNS: dict[str, tuple[str, str]] = {
    "run-2": ("#c8500a", "#f08a3c"),
    "run-3": ("#35996b", "#b4ee98"),
    "run-4": ("#571a52", "#a8528f"),
}
"""Of runs drawn over each other, beside "observed", which is the first's; marks, not text.

At least 17 apart (CIE 1976) under protan-, deuter- and tritanopia (Machado 2009), in either theme.
"""

_VARIABLES = ROLES | {f"time-{i}": pair for i, pair in enumerate(TIME)}

VARIABLE_OF = {light: f"var(--{name})" for name, (light, _) in (_VARIABLES | RUNS).items()}
"""CSS variable that stands for a light colour, so that one drawing serves light, dark and print."""


def light(role: str) -> str:
    """The light colour of a role, to draw with."""
    return (ROLES | RUNS)[role][0]


def declarations(dark: bool, *, runs: bool = False) -> str:
    """CSS declarations of every variable, for a dark or a light page; with those of `runs`."""
    variables = _VARIABLES | RUNS if runs else _VARIABLES
    return "".join(f"--{name}:{pair[dark]};" for name, pair in variables.items())
