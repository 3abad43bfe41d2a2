"""Checks that all records share: numbers in bounds, and texts of one line."""

from __future__ import annotations

import math
from typing import Final

COUNT_MAX: Final = 1_000_000_000
"""Larger than any count that is possible; fits into HAProxy's integers."""

LINE_CHARS_MAX: Final = 1_000
"""The longest free text in a record: a reason or a cause."""


def require_count(what: str, value: int | None, *, low: int = 0, high: int = COUNT_MAX) -> None:
    """Refuse a number out of its bounds; None passes.

    Raises:
        ValueError: it is out of bounds.
    """
    if value is None or low <= value <= high:
        return
    bound = f"at least {low}" if value < low else f"at most {high}"
    message = f"{what} must be {bound}, not {str(value)[:40]}"
    raise ValueError(message)


def require_time(what: str, value: float | None) -> None:
    """Refuse a Unix time or a duration that is not finite; None passes.

    Raises:
        ValueError: it is infinite or not a number.
    """
    if value is not None and not math.isfinite(value):
        message = f"{what} must be a finite number of seconds"
        raise ValueError(message)


def plausible_count(value: int | None) -> int | None:
    """Return a count; None (unknown) for a value out of bounds."""
    return value if value is not None and 0 <= value <= COUNT_MAX else None


def plausible_rate(value: float | None) -> float | None:
    """Return a number of at least 0; None (unknown) if it is negative or not finite."""
    return value if value is not None and math.isfinite(value) and value >= 0 else None


def plausible_ratio(value: float | None) -> float | None:
    """Return a number from 0 to 1, where more than 1 counts as 1; None as in `plausible_rate`."""
    rate = plausible_rate(value)
    return None if rate is None else min(rate, 1.0)


def line(text: str, *, chars_max: int = LINE_CHARS_MAX) -> str:
    """Make one printable line of any text, for terminals, tables and logs."""
    printable = "".join(each if each.isprintable() else " " for each in text[: 2 * chars_max])
    said = " ".join(printable.split())
    return said if len(said) <= chars_max else f"{said[: chars_max - 1].rstrip()}…"
