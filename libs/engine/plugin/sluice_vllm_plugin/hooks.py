"""Watches methods of another package without ever disturbing them.

A watcher runs after the method, sees its result and its arguments, and cannot change either. What
a watcher raises is counted and goes no further: an exception in vLLM's scheduler ends the engine.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

_MARK = "_sluice_is_watched"

Method = Callable[..., Any]
Watcher = Callable[..., None]


@dataclass(slots=True)
class Failures:
    """How many calls of watchers raised an exception."""

    count: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hook:
    """One method to watch.

    Attributes:
        owner: the class that defines it; a subclass that calls its method is watched as well.
        name: the method's name.
        watcher: called with the method's result and then with its arguments.
    """

    owner: type
    name: str
    watcher: Watcher


def install(hooks: tuple[Hook, ...], failures: Failures) -> None:
    """Watch every method from here on; a method that is watched already stays as it is.

    Raises:
        AttributeError: a class lacks its method; no method is watched then.
    """
    missing = missing_methods(hooks)
    if missing:
        raise AttributeError(f"vLLM has no {', '.join(missing)}")
    for hook in hooks:
        method = getattr(hook.owner, hook.name)
        if not hasattr(method, _MARK):
            setattr(hook.owner, hook.name, _watched(method, hook.watcher, failures))


def missing_methods(hooks: tuple[Hook, ...]) -> list[str]:
    """Return the methods that their classes lack, as `Class.method`."""
    return [
        f"{hook.owner.__name__}.{hook.name}"
        for hook in hooks
        if not callable(getattr(hook.owner, hook.name, None))
    ]


def _watched(
    method: Callable[..., Any], watcher: Watcher, failures: Failures
) -> Callable[..., Any]:
    @wraps(method)
    def watched(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as the method's own
        result = method(*args, **kwargs)
        try:
            watcher(result, *args, **kwargs)
        except Exception:  # noqa: BLE001 - counted; the engine goes on
            failures.count += 1
        return result

    setattr(watched, _MARK, True)
    return watched
