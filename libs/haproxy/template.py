"""The text of HAProxy's configuration; `config.py` fills in what stands in angle brackets.

A line that is indented deeper continues the line before it. `<reply:name>` is an error answer
of `replies.py`.
"""

from __future__ import annotations

from typing import Final

GLOBAL: Final = """
global
    maxconn <connections_max>
    nbthread <threads>
    stats socket "<admin_socket>" mode 600 level admin expose-fd listeners
    stats timeout 30s
    tune.bufsize <buffer_bytes>
    hard-stop-after <hard_stop_after_s>s
    log "<span_socket>" len 8192 format raw local0
"""

DEFAULTS: Final = """
defaults sluice
    mode http
    # Every token leaves at once; without it they wait for each other for 100 ms.
    option http-no-delay
    # A replica learns within a millisecond that its client is gone.
    option abortonclose
    # Tried again is what never reached a replica, or whose replica died before its first byte;
    # never what a living replica may still work on.
    option redispatch 1
    retry-on conn-failure empty-response
    retries 2
    http-reuse always
    option httpchk GET /health
    timeout connect 2s
    timeout client 3600s
    timeout server <response_timeout_s>s
    timeout queue <queue_timeout_s>s
    timeout http-request 10s
    timeout http-keep-alive 60s
"""

API: Final = r"""
frontend api from sluice
    bind <host>:<port>
    log global
    log-format '<log_format>'

    # What the edge answers itself.
    http-request set-log-level silent
    acl inference path <inference_paths>
    acl one_model path_beg /v1/models/
    http-request return status 200 content-type application/json string '{"status":"ok"}'
        if METH_GET { path /health }
    http-request return status 200 content-type application/json
        lf-string %[str(<listing_key>),map_str(<listing_map>)] if METH_GET { path /v1/models }
    http-request set-var(txn.model) path,regsub(^/v1/models/,),url_dec if one_model
    http-request set-var(txn.route) var(txn.model),map_str(<models_map>) if one_model
    http-request return status 200 content-type application/json lf-string '<card>'
        if METH_GET one_model { var(txn.route) -m found }
    <reply:unknown_model> if METH_GET one_model
    <reply:use_get> if one_model or { path /health /v1/models }
    <reply:unknown_path> unless inference
    <reply:use_post> unless METH_POST

    # Trace context: a client's valid one goes on, else one begins; the span id is HAProxy's own.
    acl tp_shaped req.hdr(traceparent) -m reg ^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$
    acl tp_zero req.hdr(traceparent)
        -m sub 00000000000000000000000000000000- -0000000000000000-
    http-request set-var(txn.path) path
    http-request set-var(txn.method) method
    http-request set-var(txn.started_us) date(0,us)
    http-request set-var(txn.trace_id) req.hdr(traceparent),field(2,-) if tp_shaped !tp_zero
    http-request set-var(txn.parent_id) req.hdr(traceparent),field(3,-) if tp_shaped !tp_zero
    http-request set-var(txn.flags) req.hdr(traceparent),field(4,-) if tp_shaped !tp_zero
    http-request del-header tracestate unless { var(txn.trace_id) -m found }
    http-request set-var(txn.flags) str(01)
        if !{ var(txn.flags) -m found } { rand(1000000) lt <sampled_per_million> }
    http-request set-var(txn.flags) str(00) unless { var(txn.flags) -m found }
    http-request set-var(txn.trace_id) uuid,regsub(-,,g),lower
        unless { var(txn.trace_id) -m found }
    http-request set-var(txn.span_id) uuid,regsub(-,,g),bytes(16,16),lower
    http-request set-header traceparent
        00-%[var(txn.trace_id)]-%[var(txn.span_id)]-%[var(txn.flags)]
    http-request set-log-level info if { var(txn.flags) -m end 1 3 5 7 9 b d f }
    http-after-response set-header x-sluice-trace-id %[var(txn.trace_id)]
        if { var(txn.trace_id) -m found }

    # Limits: a chunked body has no length that could be checked.
    <reply:length_required> unless { req.hdr(content-length) -m found }
    <reply:too_large> if { req.body_size gt <body_bytes_max> }

    # The model: the body's word counts, the header only where HAProxy cannot see one.
    # The replica compares x-sluice-model with what it reads itself, and refuses a difference.
    http-request del-header x-sluice- -m beg
    http-request wait-for-body time 10s
    http-request set-var(txn.model) req.body,json_query('$.model')
    http-request set-var(txn.model) req.hdr(x-model) unless { var(txn.model) -m found }
    <reply:no_model> unless { var(txn.model) -m found }
    http-request set-var(txn.route) var(txn.model),map_str(<models_map>)
    <reply:unknown_model> unless { var(txn.route) -m found }
    http-request set-header x-sluice-model %[var(txn.model)]

    # The pool, and for prefix pools the key that keeps a conversation on one server.
    http-request set-var(txn.pool) var(txn.route),field(1,:)
    http-request set-var(txn.owner) var(txn.route),field(2,:)
    http-request set-var(txn.affinity) req.hdr(x-session-id)
    http-request set-var(txn.affinity) req.body,bytes(0,<prefix_bytes>),xxh64,hex
        if { var(txn.pool) -m beg px } !{ var(txn.affinity) -m found }
    use_backend %[var(txn.pool)]
"""

STATS: Final = """
frontend stats from sluice
    bind 127.0.0.1:<stats_port>
    http-request use-service prometheus-exporter if { path /metrics }
    <reply:unknown_path>
"""

CARD: Final = (
    '{"id":"%[var(txn.model),json(utf8s)]","object":"model","created":0,'
    '"owned_by":"sluice","root":"%[var(txn.route),field(2,:)]"}'
)

LOG_FORMAT: Final = (
    '{"trace_id":"%[var(txn.trace_id)]"',
    '"span_id":"%[var(txn.span_id)]"',
    '"parent_id":"%[var(txn.parent_id)]"',
    '"started_us":%[var(txn.started_us)]',
    '"request_ms":%TR',
    '"queue_ms":%Tw',
    '"connect_ms":%Tc',
    '"response_ms":%Tr',
    '"data_ms":%Td',
    '"active_ms":%Ta',
    '"status":%ST',
    '"bytes_out":%B',
    '"method":"%[var(txn.method)]"',
    '"path":"%[var(txn.path),json(utf8s)]"',
    '"model":"%[var(txn.owner),json(utf8s)]"',
    '"pool":"%b"',
    '"server":"%s"',
    '"server_ip":"%si"',
    '"server_port":"%sp"',
    '"ended":"%tsc"',
    '"retries":"%rc"',
    '"queued_before":%bq}',
)
"""One JSON object for each traced request; durations in ms, -1 for what was not reached."""


def logical_lines(text: str) -> list[str]:
    """Drop comments and blank lines, and join a deeper indented line to the one before it."""
    lines: list[str] = []
    for line in text.splitlines():
        stripped = line.strip()
        if not stripped or stripped.startswith("#"):
            continue
        if line.startswith(" " * 8):
            lines[-1] = f"{lines[-1]} {stripped}"
        else:
            lines.append(line)
    return lines
