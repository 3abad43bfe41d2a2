"""Every request of the conformance suite, in the order in which it is asked."""

from __future__ import annotations

from libs.testing.front_ends.cases import Case
from libs.testing.front_ends.content_cases import content_cases
from libs.testing.front_ends.error_cases import error_cases
from libs.testing.front_ends.path_cases import path_cases
from libs.testing.front_ends.sampling_cases import sampling_cases
from libs.testing.front_ends.type_cases import type_cases


def all_cases() -> tuple[Case, ...]:
    """Return them; each has a name of its own."""
    return (
        *sampling_cases(),
        *content_cases(),
        *type_cases(),
        *error_cases(),
        *path_cases(),
    )
