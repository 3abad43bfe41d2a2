"""Where a measurement shows its result."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """How a result is shown.

    Attributes:
        out: takes the result, for a person.
        err: takes what happens meanwhile, and what is wrong.
        as_json: print the result as JSON on standard output instead.
    """

    out: Console
    err: Console
    as_json: bool = False
