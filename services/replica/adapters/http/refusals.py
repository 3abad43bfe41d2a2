"""Answers that a replica gives itself, in the shape of OpenAI's errors: pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

RETRY_AFTER_S: Final = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """A whole answer: status, headers in lower case, body."""

    status: int
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def draining() -> Refusal:
    """Refuse a request because the replica is leaving; another one can answer it."""
    retry = (b"retry-after", str(RETRY_AFTER_S).encode())
    return _refusal(503, "service_unavailable", "This replica is leaving; try again.", retry)


def rust_does_not_answer() -> Refusal:
    """Say that the replica's other front end is not healthy."""
    return _refusal(503, "service_unavailable", "The Rust front end does not answer.")


def closed_path(path: str) -> Refusal:
    """Refuse a path that is not for clients."""
    return _refusal(404, "invalid_request_error", f"There is nothing at {path}.")


def unsupported(path: str) -> Refusal:
    """Refuse an operation that clients may ask for and that this model cannot do."""
    message = f"This model does not support {path}."
    return _refusal(404, "invalid_request_error", message)


def different_model(*, routed: str, body: str) -> Refusal:
    """Refuse a body that names another model than the router read."""
    message = f"The router read model {routed!r}, but the body says {body}."
    return _refusal(400, "invalid_request_error", message)


def body_too_large(limit_bytes: int) -> Refusal:
    """Refuse a body over the limit."""
    message = f"The body is larger than {limit_bytes} bytes."
    return _refusal(413, "invalid_request_error", message)


def too_much(excess: str) -> Refusal:
    """Refuse a request that asks for more work than one request may."""
    return _refusal(400, "invalid_request_error", f"This request has {excess}.")


def _refusal(status: int, kind: str, message: str, *extra: tuple[bytes, bytes]) -> Refusal:
    error = {"message": message, "type": kind, "param": None, "code": status}
    body = json.dumps({"error": error}).encode()
    length = (b"content-length", str(len(body)).encode())
    return Refusal(
        status=status, headers=((b"content-type", b"application/json"), length, *extra), body=body
    )
