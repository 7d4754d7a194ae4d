"""The order of names in which the numbers inside them count as numbers."""

import re


def natural_key(text: str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that orders the digits inside a name by their value: "net_9" before "net_10"."""
    parts = []
    for part in re.split("([0-9]+)", text):
        digits = part.lstrip("0")
        # Longer numbers are larger; comparing text spares converting a million digits.
        parts.append((1, len(digits), digits) if part[:1].isdecimal() else (0, 0, part))
    return tuple(parts)
