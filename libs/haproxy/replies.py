"""Pure renderer of error answers in OpenAI's shape, in HAProxy's configuration language.

What HAProxy finds malformed before it has a request (a broken request line, headers that never
end) it answers in its own words: its HTTP/1 parser does not look at the configured errors, of which
`http_errors` has every one that HAProxy 2.8 knows. Source: HAProxy 2.8, src/mux_h1.c,
`h1_send_error`, which writes `http_err_msgs` as they were compiled.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_SERVER_ERRORS_FROM: Final = 500
_KINDS: Final[Mapping[int, str]] = {429: "requests"}
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
        kind = _KINDS.get(self.status, "invalid_request_error")
        if self.status >= _SERVER_ERRORS_FROM:
            kind = "server_error"
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
    "access_unknown": ErrorReply(
        status=503,
        code="starting",
        message="The edge does not know yet who may ask; try again.",
        headers=("Retry-After 1",),
    ),
    "invalid_key": ErrorReply(
        status=401,
        code="invalid_api_key",
        message="The API key is missing or wrong: send the header `Authorization: Bearer KEY`.",
        headers=("WWW-Authenticate Bearer",),
    ),
    "too_many_at_once": ErrorReply(
        status=429,
        code="concurrency_limit_exceeded",
        message="The tenant `%[var(txn.tenant)]` has %[var(txn.concurrent_max)] requests under"
        " way, which is its limit; try again when one has ended.",
        headers=("Retry-After 1",),
    ),
    "too_many_a_minute": ErrorReply(
        status=429,
        code="rate_limit_exceeded",
        message="The tenant `%[var(txn.tenant)]` has sent %[var(txn.rate_max)] requests within a"
        " minute, which is its limit; try again later.",
        headers=("Retry-After %[int(59),div(txn.rate_max),add(1)]",),
    ),
    "length_required": ErrorReply(
        status=411, code="length_required", message="Send the body with a Content-Length."
    ),
    "headers_too_large": ErrorReply(
        status=431,
        code="headers_too_large",
        message="The headers are larger than <header_bytes_max> bytes.",
    ),
    "too_large": ErrorReply(
        status=413,
        code="request_too_large",
        message="The body is larger than <body_bytes_max> bytes.",
    ),
    "no_model": ErrorReply(
        status=400,
        code="model_required",
        message="No `model` found: send a JSON object with a string `model`, or the header x-model,"
        " or use the path /models/NAME/v1/.",
        param="model",
    ),
    "unknown_model": ErrorReply(
        status=404,
        code="model_not_found",
        message=f"The model `{_ASKED_MODEL}` does not exist.",
        param="model",
    ),
    "model_failing": ErrorReply(
        status=503,
        code="model_failing",
        message=f"The model `{_ASKED_MODEL}` does not start:"
        " %[var(txn.failing),field(2,:,0),json(utf8s)]; try again in %[var(txn.again_s)] s.",
        headers=("Retry-After %[var(txn.again_s)]",),
    ),
}
"""What rules of the configuration answer."""


REQUEST_TIMEOUT: Final = ErrorReply(
    status=408, code="request_timeout", message="The request did not arrive in time."
)

NEVER_BEGUN: Final = ErrorReply(
    status=502,
    code="bad_gateway",
    message="The replica ended before the stream began; try again.",
    headers=("x-sluice-replica %s",),
)


def http_errors(*, retry_after_s: int) -> tuple[ErrorReply, ...]:
    """Return an answer for every error that HAProxy itself may have to report."""
    return (
        ErrorReply(status=400, code="bad_request", message="The request is malformed."),
        ErrorReply(status=401, code="unauthorized", message="The request needs a key."),
        ErrorReply(status=403, code="forbidden", message="The request is not allowed."),
        ErrorReply(status=404, code="not_found", message="Unknown path."),
        ErrorReply(status=405, code="method_not_allowed", message="Use another method."),
        ErrorReply(status=407, code="unauthorized", message="The request needs a key."),
        REQUEST_TIMEOUT,
        ErrorReply(status=410, code="gone", message="There is nothing any more."),
        ErrorReply(status=413, code="request_too_large", message="The request is too large."),
        ErrorReply(status=421, code="bad_request", message="The request is for another server."),
        ErrorReply(status=422, code="bad_request", message="The request is malformed."),
        ErrorReply(status=425, code="too_early", message="Send the request again."),
        ErrorReply(status=429, code="rate_limit_exceeded", message="Too many requests."),
        ErrorReply(status=500, code="internal_error", message="The edge failed."),
        ErrorReply(status=501, code="not_implemented", message="The edge cannot do this."),
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
