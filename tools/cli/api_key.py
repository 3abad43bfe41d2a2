"""The key that this machine's own clients send: an option first, then the environment (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from libs.errors import UsageError
from tools.cli.settings import CliSettings

ApiKey = Annotated[
    str | None,
    typer.Option(
        "--api-key",
        help="A tenant's key.",
        show_default="SLUICE_API_KEY, else OPENAI_API_KEY",
    ),
]


def chosen_key(option: str | None, settings: CliSettings) -> str | None:
    """Return the key to send; None sends none.

    Raises:
        UsageError: it cannot stand in a header.
    """
    key = settings.key() if option is None else option
    if key and not (key.isascii() and key.isprintable() and " " not in key):
        raise UsageError("the API key must be printable ASCII without spaces")
    return key or None


def header_lines(given: Sequence[str], key: str | None) -> tuple[str, ...]:
    """Return headers with the key among them; one that names a key already comes first."""
    named = any(line.lower().startswith(("authorization:", "x-api-key:")) for line in given)
    if key is None or named:
        return tuple(given)
    return (*given, f"Authorization: Bearer {key}")
