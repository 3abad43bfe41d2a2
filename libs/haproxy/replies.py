"""Pure renderer of error answers in OpenAI's shape, in HAProxy's configuration language.

What HAProxy finds malformed before it has a request (a broken request line, headers that never
end) it answers in its own words: its HTTP/1 parser does not look at the configured errors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SERVER_ERRORS_FROM: Final = 500
_ASKED_MODEL: Final = "%[var(txn.model),bytes(0,256),json(utf8s)]"


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorReply:
    """One error answer; `%[...]` in its message is evaluated for each request.

    Attributes:
        headers: each as `Name value`.
    """

    status: int
    code: str
    message: str
    param: str | None = None
    headers: tuple[str, ...] = ()

    def render(self) -> str:
        """Render what follows `http-request return` or `http-error`."""
        form = "lf-string" if "%[" in self.message else "string"
        headers = "".join(f" hdr {header}" for header in self.headers)
        return (
            f"status {self.status} content-type application/json{headers} {form} '{self._body()}'"
        )

    def _body(self) -> str:
        kind = "server_error" if self.status >= _SERVER_ERRORS_FROM else "invalid_request_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return json.dumps({"error": error}, separators=(",", ":"))


REPLIES: Final[Mapping[str, ErrorReply]] = {
    "unknown_path": ErrorReply(status=404, code="not_found", message="Unknown path."),
    "use_get": ErrorReply(
        status=405,
        code="method_not_allowed",
        message="Use GET for this path.",
        headers=("Allow GET",),
    ),
    "use_post": ErrorReply(
        status=405,
        code="method_not_allowed",
        message="Use POST for this path.",
        headers=("Allow POST",),
    ),
    "length_required": ErrorReply(
        status=411, code="length_required", message="Send the body with a Content-Length."
    ),
    "too_large": ErrorReply(
        status=413,
        code="request_too_large",
        message="The body is larger than <body_bytes_max> bytes.",
    ),
    "no_model": ErrorReply(
        status=400,
        code="model_required",
        message="No `model` found: send a JSON object with a string `model` within its first"
        " 250 kB, or the header x-model.",
        param="model",
    ),
    "unknown_model": ErrorReply(
        status=404,
        code="model_not_found",
        message=f"The model `{_ASKED_MODEL}` does not exist.",
        param="model",
    ),
}
"""What rules of the configuration answer."""


def http_errors(*, retry_after_s: int) -> tuple[ErrorReply, ...]:
    """Return an answer for every error that HAProxy itself may have to report."""
    return (
        ErrorReply(status=400, code="bad_request", message="The request is malformed."),
        ErrorReply(status=403, code="forbidden", message="The request is not allowed."),
        ErrorReply(
            status=408, code="request_timeout", message="The request did not arrive in time."
        ),
        ErrorReply(status=413, code="request_too_large", message="The request is too large."),
        ErrorReply(status=500, code="internal_error", message="The edge failed."),
        ErrorReply(
            status=502,
            code="bad_gateway",
            message="The replica ended the connection without a valid answer.",
        ),
        ErrorReply(
            status=503,
            code="no_replica_available",
            message=f"No replica of the model `{_ASKED_MODEL}` could take the request in time;"
            " try again.",
            headers=(f"Retry-After {retry_after_s}",),
        ),
        ErrorReply(
            status=504, code="gateway_timeout", message="The replica did not answer in time."
        ),
    )
