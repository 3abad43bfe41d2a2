"""Identifiers: one `NewType` per kind of thing, with their checked constructors."""

from __future__ import annotations

import re
from typing import NewType

ModelName = NewType("ModelName", str)
"""A model's own name: a token that is safe in subjects, file names and HAProxy identifiers."""

ReplicaId = NewType("ReplicaId", str)
"""One replica of a model, as Ray Serve numbers it; the same token rules as `ModelName`."""

Incarnation = NewType("Incarnation", str)
"""One start of a replica: hexadecimal digits, eight as replicas choose them, never used twice."""

EdgeId = NewType("EdgeId", str)
"""One HAProxy together with the router-config beside it."""

TenantName = NewType("TenantName", str)
"""Who sends requests, as their owner calls them; the same token rules as `ModelName`."""

EventId = NewType("EventId", str)
"""One event: 32 hexadecimal digits."""

_TOKEN = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_INCARNATION = re.compile(r"[0-9a-f]{1,32}")
_EVENT_ID = re.compile(r"[0-9a-f]{32}")
_NOT_IN_ALIASES = re.compile(r"""[ "'\\#]""")
ALIAS_LENGTH_MAX = 256


def model_name(text: str) -> ModelName:
    """Check and return a model name.

    Raises:
        ValueError: the text is not 1 to 63 of `a-z 0-9 _ -` starting with a letter or digit.
    """
    return ModelName(_token("model name", text))


def replica_id(text: str) -> ReplicaId:
    """Check and return a replica id.

    Raises:
        ValueError: the text breaks the rules of a model name.
    """
    return ReplicaId(_token("replica id", text))


def incarnation(text: str) -> Incarnation:
    """Check and return an incarnation.

    Raises:
        ValueError: the text is not 1 to 32 hexadecimal digits in lower case.
    """
    if not _INCARNATION.fullmatch(text):
        message = f"incarnation {text[:80]!r} must be 1 to 32 of 0-9 a-f"
        raise ValueError(message)
    return Incarnation(text)


def event_id(text: str) -> EventId:
    """Check and return an event's id.

    Raises:
        ValueError: the text is not 32 hexadecimal digits in lower case.
    """
    if not _EVENT_ID.fullmatch(text):
        message = f"event id {text[:80]!r} must be 32 of 0-9 a-f"
        raise ValueError(message)
    return EventId(text)


def edge_id(text: str) -> EdgeId:
    """Check and return an edge id.

    Raises:
        ValueError: the text breaks the rules of a model name.
    """
    return EdgeId(_token("edge id", text))


def tenant_name(text: str) -> TenantName:
    """Check and return a tenant's name.

    Raises:
        ValueError: the text breaks the rules of a model name.
    """
    return TenantName(_token("tenant name", text))


def alias(text: str) -> str:
    """Check and return an alias: what clients may send as `model` beside the model's name.

    Raises:
        ValueError: the text is empty, longer than 256 characters, or has white space,
            a quote, a backslash or a control character.
    """
    if not text or len(text) > ALIAS_LENGTH_MAX:
        message = f"alias {text[:40]!r} must have 1 to {ALIAS_LENGTH_MAX} characters"
        raise ValueError(message)
    # Of all white space only the space counts as printable.
    if not text.isprintable() or _NOT_IN_ALIASES.search(text):
        message = f"alias {text!r} must not contain white space, quotes, backslashes or #"
        raise ValueError(message)
    return text


def _token(what: str, text: str) -> str:
    if not _TOKEN.fullmatch(text):
        message = (
            f"{what} {text[:80]!r} must be 1 to 63 of a-z 0-9 _ - and start with a letter or digit"
        )
        raise ValueError(message)
    return text
