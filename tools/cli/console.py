"""What a person sees: steps with their time, lines, errors."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.status import Status

_WIDTH_IN_PIPES: Final = 160

out = Console(highlight=False, soft_wrap=True)
if not out.is_terminal:
    out.width = _WIDTH_IN_PIPES
err = Console(stderr=True, highlight=False, soft_wrap=True)

Say = Callable[[str], None]
"""Tells how a step gets on; the text replaces the one before."""


@contextmanager
def step(title: str) -> Iterator[Say]:
    """Show one step while it runs, and its time when it is done.

    On a terminal the step's line is live; elsewhere it is printed once it is done.
    """
    started = time.monotonic()
    with Status(title, console=out, spinner="dots") as status:

        def say(text: str) -> None:
            status.update(f"{title}: {text}")

        yield say
    out.print(f"  [green]ok[/] {title} [dim]({time.monotonic() - started:.1f} s)[/]")


def fail(message: str, *, exit_code: int) -> None:
    """Print one line to standard error and leave with the exit code."""
    err.print(f"sluice: {message}", markup=False)
    sys.exit(exit_code)
