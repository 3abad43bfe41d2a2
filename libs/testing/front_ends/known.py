"""The differences that reach a client of the Rust front end, each with its reason: pure data.

docs/FRONT_ENDS.md lists the same reasons for people.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.testing.front_ends.compare import Difference, Kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """A difference that is not routed.

    Attributes:
        title: what docs/FRONT_ENDS.md calls it.
        kinds: how the answers may differ.
        names: the pattern of the names of its cases.
    """

    title: str
    kinds: frozenset[Kind]
    names: re.Pattern[str]


_REFUSED_BY_PYTHON: Final = frozenset({Kind.RUST_ANSWERS})
_BODY: Final = r"body (of a completion )?"

KNOWN: Final = (
    Known(
        title="A body that is not I-JSON",
        kinds=frozenset({Kind.RUST_FAILS, Kind.RUST_ANSWERS, Kind.STATUS, Kind.SHAPE}),
        names=re.compile(
            rf"{_BODY}(.* twice|two models|NaN in an unknown field|1e999 in an unknown field"
            r"|a huge integer in an unknown field|an enormous integer|[0-9,]+ levels"
            r"|invalid UTF-8|overlong UTF-8|a byte order mark|UTF-16.*|UTF-32)"
        ),
    ),
    Known(
        title="A message without content",
        kinds=frozenset({Kind.RUST_FAILS}),
        names=re.compile(r"chat no content(, streamed)?"),
    ),
    Known(
        title="A schema or a pattern that cannot be compiled",
        kinds=_REFUSED_BY_PYTHON,
        names=re.compile(r".* (format with a broken schema|structured by a broken regex).*"),
    ),
    Known(
        title="More tokens than the model has",
        kinds=_REFUSED_BY_PYTHON,
        names=re.compile(r".* max_tokens beyond the model.*"),
    ),
    Known(
        title="A null or another type where Python refuses it",
        kinds=_REFUSED_BY_PYTHON,
        names=re.compile(r"(chat|completion) (type .*|(\w+ null|vllm_xargs of objects).*)"),
    ),
    Known(
        title="Structured output of a wrong type",
        kinds=frozenset({Kind.STATUS}),
        names=re.compile(r"(chat|completion) type structured_outputs as .*"),
    ),
    Known(
        title="Another JSON media type",
        kinds=_REFUSED_BY_PYTHON,
        names=re.compile(r"type 'application/problem\+json' .*"),
    ),
)
"""Beside what `compare` leaves out everywhere."""

KEPT_IN_PYTHON: Final[Mapping[str, str]] = {
    "/tokenize": "no tokens are streamed, so nothing is gained",
    "/detokenize": "no tokens are streamed, so nothing is gained",
}
"""What could move to the Rust front end, and why it does not."""


def reason_of(name: str, difference: Difference) -> Known | None:
    """Return why a case may differ in this way; None where it may not."""
    return next(
        (
            known
            for known in KNOWN
            if difference.kind in known.kinds and known.names.fullmatch(name)
        ),
        None,
    )
