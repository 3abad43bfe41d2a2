"""From a traceback as text to the line that tells a person what went wrong."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_EXCEPTION: Final = re.compile(
    r"^[ \t]*(?P<path>(?:\w+\.)*)(?P<name>[A-Z]\w*)(?:\([\w.]+\))?: (?P<text>.*)$", re.MULTILINE
)


def last_exception(trace: str, *, plain: Collection[str] = ()) -> str:
    """Return a traceback's last exception with its name, and all lines of its own message.

    Exceptions named in `plain` are told without their name: it says nothing to a person. Text
    without any exception gives its last line; empty text gives nothing.
    """
    found = [each for each in _EXCEPTION.finditer(trace) if not _is_of_ray(each["name"])]
    if not found:
        lines = [line.strip() for line in trace.splitlines() if line.strip()]
        return lines[-1] if lines else ""
    last = found[-1]
    text = f"{last['text']} {_until_trace(trace[last.end() :])}".strip()
    return text if last["name"] in plain else f"{last['name']}: {text}"


def _is_of_ray(name: str) -> bool:
    """Tell what Ray puts in front of the traceback of another process."""
    return name in {"RayTaskError", "RayActorError", "ActorDiedError"}


def _until_trace(text: str) -> str:
    """Return what belongs to an exception's message: it ends where another traceback begins."""
    head = re.split(r"\n\s*\n|^Traceback |^The above exception", text, flags=re.MULTILINE)[0]
    return " ".join(head.split())
