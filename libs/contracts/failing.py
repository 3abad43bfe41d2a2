"""A model that does not come: why, and when it is tried again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from libs.contracts.checks import line, require_count, require_time
from libs.contracts.ids import ModelName, model_name

ERROR_CHARS_MAX: Final = 300
"""The longest error that travels: one line for a table, a log and an answer to a client."""

RETRY_AFTER_MAX_S: Final = 600.0
"""The longest time until a failed model is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FailingModel:
    """Why a model has fewer replicas than it should; gone as soon as a replica became ready.

    Attributes:
        error: one printable line of at most `ERROR_CHARS_MAX` characters.
        failed_starts: starts that failed since the last one that did not, or since the spec
            changed; 0 while replicas only wait to be placed.
        failed_at: Unix time in seconds when that was last seen.
        next_try_at: Unix time in seconds when it is tried again; None while it is being tried.
        blocked: no replica is ready and none can be expected, so that requests need not wait.
        retries: how often it was tried again after Ray Serve had given up.
    """

    model: ModelName
    error: str
    failed_starts: int
    failed_at: float
    next_try_at: float | None
    blocked: bool
    retries: int = 0
    schema: Literal["model.failing.v1"] = "model.failing.v1"

    def __post_init__(self) -> None:
        """Refuse what a table or a map of HAProxy cannot hold."""
        model_name(self.model)
        require_count("failed_starts", self.failed_starts)
        require_count("retries", self.retries)
        require_time("failed_at", self.failed_at)
        require_time("next_try_at", self.next_try_at)
        if not self.error or len(self.error) > ERROR_CHARS_MAX or not self.error.isprintable():
            message = f"error must be 1 to {ERROR_CHARS_MAX} printable characters"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class AutoscalerTrouble:
    """Why the leading autoscaler cannot act; gone as soon as it can.

    Attributes:
        cause: one line.
        since: Unix time in seconds of the first attempt that failed.
    """

    cause: str
    since: float
    schema: Literal["autoscaler.trouble.v1"] = "autoscaler.trouble.v1"

    def __post_init__(self) -> None:
        """Make a single line of the cause, and refuse a time that is none."""
        require_time("since", self.since)
        object.__setattr__(self, "cause", line(self.cause))


def one_line(text: str, *, otherwise: str) -> str:
    """Make an error of any text: one printable line of bounded length; `otherwise` if it is empty.

    Everything that is not printable counts as a space.
    """
    return line(text, chars_max=ERROR_CHARS_MAX) or otherwise
