"""Pure renderer of the body reader: a second, small HAProxy that finds the model of a large body.

HAProxy reads a model only in what fits its buffer, and every request pays for the buffer's size.
So the edge keeps small buffers and sends a body that does not fit them through the body reader,
whose buffers hold the largest body. The reader waits for the whole body, writes what it found into
`x-sluice-body-model` and `x-sluice-front-end` (`python` unless a Rust front end may serve the
request), and hands it back to the edge, which knows models and replicas; the reader knows nothing
and is told nothing. ADR 0005 has the figures.

    client -> edge `api` -> body reader -> edge `read` -> replica
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from libs.haproxy.front_ends import TABLE
from libs.haproxy.replies import ErrorReply, http_errors
from libs.haproxy.template import DEFAULTS, logical_lines, quoted

if TYPE_CHECKING:
    from libs.haproxy.config import EdgeConfig

READER_FILE: Final = "reader.cfg"

SPARE_BYTES: Final = 64 * 1024
"""Room in a buffer for a request's headers and HAProxy's own use."""

CONNECTIONS_SPARE: Final = 16
RETRY_AFTER_S: Final = 1

READER_BUSY: Final = ErrorReply(
    status=503,
    code="too_many_large_bodies",
    message="Too many requests with large bodies at once; try again.",
    headers=(f"Retry-After {RETRY_AFTER_S}",),
)
"""What the edge says when the body reader has no room within the queue's time, or is not there."""

_READER: Final = """
global
    maxconn <connections_max>
    nbthread 1
    tune.bufsize <buffer_bytes>
    tune.pattern.cache-size 0
    hard-stop-after <hard_stop_after_s>s
"""

_PASSES: Final = r"""
frontend large from sluice
    bind "unix@<large_socket>" mode 600
    http-request wait-for-body time <body_timeout_s>s
    http-request set-var(txn.model) req.body,json_query('$.model')
    http-request set-header x-sluice-body-model %[var(txn.model)]
        if { var(txn.model) -m found } !{ var(txn.model) -m reg [[:cntrl:]] }
    http-request set-header x-sluice-front-end python
        if { req.hdr(x-sluice-named) -m found } or !{ var(txn.model) -m found }
        or !{ path <rust_paths> } or { req.body -m reg <needs_python> }
    default_backend edge

backend edge from sluice
    retry-on conn-failure
    server edge "unix@<read_socket>"
"""


def render_reader(config: EdgeConfig) -> str:
    """Render the body reader's configuration, a file of its own beside the edge's."""
    values = {
        "connections_max": config.large_bodies_max + config.huge_bodies_max + CONNECTIONS_SPARE,
        "buffer_bytes": config.body_bytes_max + SPARE_BYTES,
        "hard_stop_after_s": config.hard_stop_after_s,
        "large_socket": config.large_socket,
        "read_socket": config.read_socket,
        "body_timeout_s": config.body_timeout_s,
        "client_timeout_s": config.client_timeout_s,
        "response_timeout_s": config.response_timeout_s,
        "queue_timeout_s": config.queue_timeout_s,
        "request_timeout_s": config.request_timeout_s,
        "rust_paths": " ".join(TABLE.rust_paths),
        "needs_python": quoted(TABLE.python_pattern),
    }
    errors = [f"    http-error {e.render()}" for e in http_errors(retry_after_s=RETRY_AFTER_S)]
    sections = (logical_lines(_READER), [*logical_lines(DEFAULTS), *errors], logical_lines(_PASSES))
    text = "\n".join("\n".join(lines) + "\n" for lines in sections)
    for name, value in values.items():
        text = text.replace(f"<{name}>", str(value))
    return text
