"""The text of HAProxy's configuration; `config.py` fills in what stands in angle brackets.

A line that is indented deeper continues the line before it. `<reply:name>` is an error answer
of `replies.py`.
"""

from __future__ import annotations

from typing import Final

GLOBAL: Final = """
global
    # `show info` says with it from which configuration a running HAProxy was started.
    description "<description>"
    # More than the API may have: the body reader's connections and a metrics server's always fit.
    maxconn <connections_all_max>
    nbthread <threads>
    stats socket "<admin_socket>" mode 600 level admin expose-fd listeners
    stats timeout 30s
    tune.bufsize <buffer_bytes>
    # What a pattern says of a body is not worth remembering: no two bodies are the same.
    tune.pattern.cache-size 0
    hard-stop-after <hard_stop_after_s>s
    <hold_load>
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
    timeout connect 2s
    # How long a client may leave unread what it asked for; waiting for an answer is not counted.
    timeout client <client_timeout_s>s
    timeout server <response_timeout_s>s
    timeout queue <queue_timeout_s>s
    timeout http-request <request_timeout_s>s
    timeout http-keep-alive 60s
"""

POOL_DEFAULTS: Final = """
defaults <pool_name> from sluice
    # The answer must come from the server's own replica: its port may be another process's by now.
    option httpchk
    http-check send meth GET uri <health_path> hdr <server_header> %[srv_name]<front_end_check>
    http-check expect status 200
    <identity_check>
    # So long a check may take, however soon the next one is due.
    timeout check 1s
    # A request that finds no usable server waits for one, unless none can be expected; the limits
    # are the script's.
    http-request set-var(txn.failing) var(txn.pool),map_str(<failing_map>) if { nbsrv eq 0 }
    <hold_rule>
    http-request set-var(txn.now_s) date if { var(txn.failing) -m found }
    http-request set-var(txn.again_s) var(txn.failing),field(1,:),sub(txn.now_s)
        if { var(txn.failing) -m found }
    http-request set-var(txn.again_s) int(<retry_after_being_tried_s>)
        if { var(txn.again_s) -m int lt 1 }
    http-request set-var(txn.again_s) int(<retry_after_max_s>)
        if { var(txn.again_s) -m int gt <retry_after_max_s> }
    <reply:model_failing> if { nbsrv eq 0 } { var(txn.failing) -m found }
    # The Rust front end sends a stream's headers before its first token. They are held until then,
    # so that a stream which never begins is an error that clients can retry.
    http-response wait-for-body time <response_timeout_s>s at-least 1
    <answer:never_begun> if { res.body_size eq 0 }
        { res.hdr(content-type) -m beg text/event-stream }
    # Who answered; the Rust front end does not know its name.
    http-response set-header x-sluice-replica %s unless { res.hdr(x-sluice-replica) -m found }
"""

API: Final = r"""
frontend api from sluice
    bind <host>:<port><tls>
    maxconn <connections_max>
    <address_limit>
    log global
    log-format '<log_format>'
    http-request set-log-level silent

    # Every answer has the client's own id, if it is short and plain, or the edge's.
    acl identified var(txn.request_id) -m found
    # What is matched and what is used is one variable: a header that comes twice has a second
    # value, which no condition on the header would have to agree with.
    http-request set-var(txn.client_id) req.fhdr(x-request-id)
    http-request set-var(txn.request_id) var(txn.client_id)
        if { var(txn.client_id) -m reg <request_id> }
    http-after-response set-header x-request-id %[var(txn.request_id)] if identified
    http-after-response set-header x-request-id %[date(0,us),hex]-%[rand,hex]
        unless identified
    # A connection is worth keeping once a request on it was let in.
    acl admitted var(txn.admitted) -m found
    http-after-response set-header connection close unless admitted

    # `/models/<name>/v1/...`: the model's name leads, a replica sees the rest.
    acl inference path <inference_paths>
    acl named var(txn.named) -m found
    http-request set-var(txn.named) path,regsub(^/models/,),regsub(/v1/[a-z_/]+$,),url_dec
        if { path_beg /models/ } { path_reg ^/models/.+/v1/[a-z_]+(/[a-z_]+)?$ }
    http-request replace-path ^/models/.+(/v1/[a-z_]+(/[a-z_]+)?)$ \1 if named
    http-request return status 200 content-type application/json string '{"status":"ok"}'
        if METH_GET { path /health }

    # Who asks. While nobody ever said who may, nobody is let in; a replica never sees a key.
    # What begins with x-sluice- replicas trust, so only the edge writes it.
    http-request del-header x-sluice- -m beg
    http-request set-var(txn.access) str(<access_key>),map_str(<tenants_map>)
    http-request set-var(txn.grant) req.fhdr(authorization),regsub('^Bearer +','',i),<grant>
    http-request set-var(txn.grant) req.fhdr(x-api-key),<grant> unless { var(txn.grant) -m found }
    http-request del-header authorization
    http-request del-header x-api-key
    <reply:access_unknown> unless { var(txn.access) -m found }
    <reply:invalid_key> unless <is_open> or { var(txn.grant) -m found }
    http-request set-var(txn.admitted) bool(true)
    <address_known>
    http-request set-var(txn.tenant) var(txn.grant),field(1,:)
    http-request set-header x-sluice-tenant %[var(txn.tenant)] if { var(txn.tenant) -m found }

    # What no replica has to do with is answered by the backend `answers`.
    http-request allow unless METH_POST inference

    # vLLM trusts these headers: an id could repeat another request's, a priority is a tenant's,
    # and the edge chooses the replica. `x-session-id` leaves when it has chosen.
    http-request del-header x-data-parallel-rank
    http-request del-header endpoint-load-metrics-format

    # Trace context: a client's valid one goes on, else one begins; the span id is HAProxy's own.
    # Who is not traced costs little here, and the replica is told not to trace either.
    # An expression of a variable that is not set sets nothing: cheaper than a condition.
    acl tp_shaped var(txn.parent) -m reg ^00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$
    acl tp_zero var(txn.parent)
        -m sub 00000000000000000000000000000000- -0000000000000000-
    acl followed var(txn.trace_id) -m found
    acl traced var(txn.flags) -m end 1 3 5 7 9 b d f
    http-request set-var(txn.parent) req.fhdr(traceparent)
        if { req.fhdr_cnt(traceparent) eq 1 }
    http-request set-var(txn.trace_id) var(txn.parent),field(2,-) if tp_shaped !tp_zero
    http-request set-var(txn.parent_id) var(txn.parent),field(3,-) if followed
    http-request set-var(txn.flags) var(txn.parent),field(4,-) if followed
    http-request set-var(txn.flags) str(01)
        if !followed { rand(1000000) lt <sampled_per_million> }
    http-request del-header tracestate unless followed
    http-request set-header traceparent <untraced> unless followed or traced
    http-request set-var(txn.ids) uuid,sha2(256),hex,lower if traced
    http-request set-var(txn.span_id) var(txn.ids),bytes(32,16)
    http-request set-var(txn.trace_id) var(txn.ids),bytes(0,32) unless followed
    http-request set-var(txn.path) path if traced
    http-request set-var(txn.method) method if traced
    http-request set-var(txn.started_us) date(0,us) if traced
    http-request set-header traceparent
        00-%[var(txn.trace_id)]-%[var(txn.span_id)]-%[var(txn.flags)] if traced
    # vLLM makes its own ids of this one, so its engine core knows which requests are traced. Every
    # request has one: without it vLLM takes the body's `request_id`, which could forge a trace.
    http-request set-var-fmt(txn.engine_id) %[var(txn.trace_id)]-%[var(txn.span_id)]-01 if traced
    http-request set-var-fmt(txn.engine_id) %[date(0,us),hex]-%[rand,hex] unless traced
    http-request set-header x-request-id %[var(txn.engine_id)]
    # By the end of the id the engine core keeps the prefix caches of tenants apart.
    <tenant_salt>
    http-request set-var(txn.request_id) var(txn.engine_id) unless identified
    http-request set-log-level info if traced
    http-after-response set-header x-sluice-trace-id %[var(txn.trace_id)]
        if { var(txn.trace_id) -m found }

    # Who asks too much. A refused request counts in no minute; class -1 leaves a queue first.
    # Without a tenant nothing of this has a value, and nothing is counted.
    http-request set-var(txn.rate_max) var(txn.grant),field(2,:),add(0)
    http-request set-var(txn.concurrent_max) var(txn.grant),field(3,:),add(0)
    http-request track-sc1 var(txn.tenant) table tenants
    <reply:too_many_at_once> if { var(txn.concurrent_max) -m int gt 0 }
        { sc_conn_cur(1),sub(txn.concurrent_max) gt 0 }
    <reply:too_many_a_minute> if { var(txn.rate_max) -m int gt 0 }
        { sc_gpc0_rate(1),sub(txn.rate_max) ge 0 }
    http-request sc-inc-gpc0(1)
    http-request set-priority-class var(txn.grant),field(4,:),add(0)
    # Said on every request: without the header vLLM takes the body's `priority`.
    http-request set-header x-vllm-priority %[var(txn.grant),field(4,:),add(0)]
        if { var(txn.tenant) -m found }
    http-request set-header x-vllm-priority 0 unless { var(txn.tenant) -m found }

    # Limits: a chunked body has no length that could be checked.
    http-request set-var(txn.size) req.body_size
    <reply:headers_too_large> if { req.hdrs,length gt <header_bytes_max> }
    <reply:length_required> unless { req.hdr(content-length) -m found }
    <reply:too_large> if { var(txn.size) -m int gt <body_bytes_max> }

    # A body that does not fit the buffer goes to the body reader, which waits for all of it and
    # comes back to the frontend `read`.
    acl large var(txn.size) -m int gt <whole_body_bytes>
    acl huge var(txn.size) -m int gt <huge_from_bytes>
    http-request set-header x-sluice-named %[var(txn.named)] if large named
    http-request set-header x-sluice-priority %[var(txn.grant),field(4,:)]
        if large { var(txn.tenant) -m found }
    http-request allow if large

<model>
<route>
    http-request set-var(txn.owner) var(txn.route),field(2,:) if traced
    use_backend answers unless METH_POST inference
    use_backend huge if huge
    use_backend large if large
<front_end>

backend answers from sluice
    # Whoever may ask; the frontend has settled that.
    acl inference path <inference_paths>
    acl named var(txn.named) -m found
    acl one_model path_beg /v1/models/
    http-request return status 200 content-type application/json
        lf-string %[str(<listing_key>),map_str(<listing_map>)]
        if METH_GET { path /v1/models } !named
    http-request set-var(txn.model) path,regsub(^/v1/models/,),url_dec if one_model
    http-request set-var(txn.model) var(txn.named) if named
    <reply:unknown_model> if { var(txn.model) -m reg [[:cntrl:]] }
    http-request set-var(txn.route) var(txn.model),map_str(<models_map>) if METH_GET
    http-request return status 200 content-type application/json lf-string '<card>'
        if METH_GET one_model !named { var(txn.route) -m found }
    http-request return status 200 content-type application/json
        lf-string '{"object":"list","data":[<card>]}'
        if METH_GET named { path /v1/models } { var(txn.route) -m found }
    <reply:unknown_model> if METH_GET one_model or METH_GET named { path /v1/models }
    <reply:use_get> if one_model or { path /health /v1/models }
    <reply:unknown_path> unless inference
    <reply:use_post>

frontend read from sluice
    bind "unix@<read_socket>" mode 600
    log global
    http-request set-log-level silent
    http-request set-var(txn.large) bool(true)
    http-request set-var(txn.model) req.hdr(x-sluice-named)
    http-request set-var(txn.model) req.hdr(x-sluice-body-model)
        unless { var(txn.model) -m found }
    http-request set-var(txn.model) req.hdr(x-model) unless { var(txn.model) -m found }
    http-request set-priority-class req.hdr(x-sluice-priority),add(0)
        if { req.hdr(x-sluice-priority) -m found }
    http-request del-header x-sluice-named
    http-request del-header x-sluice-body-model
    http-request del-header x-sluice-priority
    http-request wait-for-body time <request_timeout_s>s at-least <prefix_bytes>
    http-request set-var(txn.unread) bool(true) if { req.hdr(x-sluice-front-end) -m found }
    http-request del-header x-sluice-front-end
<route>
<front_end>

defaults reader from sluice
    # How many pass at once bounds the body reader's memory.
    retry-on conn-failure
    <error:reader_busy>

backend large from reader
    # Said here again, a client that still sends is cut off; it would keep the place otherwise.
    <answer:request_timeout> if { status 408 }
    server reader "unix@<large_socket>" maxconn <large_bodies_max>

backend huge from reader
    <answer:request_timeout> if { status 408 }
    server reader "unix@<large_socket>" maxconn <huge_bodies_max>
"""

MODEL: Final = r"""
    # The model: the path's word counts, then the body's, then the header's.
    http-request wait-for-body time <request_timeout_s>s
    http-request set-var(txn.model) var(txn.named)
    # What stands between the last two brackets of a JSON object is its own members, so a model
    # behind the messages is found without reading them; if not, the whole body is read.
    # HAProxy goes through every byte that it takes for text, so only the body's end is taken.
<tails>
    http-request set-var(txn.model)
        'str("{\"_\":0"),concat("",txn.tail,"}"),json_query("$.model")'
        if { var(txn.tail) -m beg , }
    http-request set-var(txn.model) req.body,json_query('$.model')
        unless { var(txn.model) -m found }
    http-request set-var(txn.unread) bool(true) if named or !{ var(txn.model) -m found }
    http-request set-var(txn.model) req.hdr(x-model) unless { var(txn.model) -m found }
"""

ROUTE: Final = r"""
    # A name with control characters would become a header of its own.
    # The replica compares x-sluice-model with what it reads itself, and refuses a difference.
    <reply:no_model> unless { var(txn.model) -m found }
    <reply:unknown_model> if { var(txn.model) -m reg [[:cntrl:]] }
    http-request set-var(txn.route) var(txn.model),map_str(<models_map>)
    <reply:unknown_model> unless { var(txn.route) -m found }
    http-request set-header x-sluice-model %[var(txn.model)]

    # The pool, and for prefix pools the key that keeps a conversation on one server.
    http-request set-var(txn.pool) var(txn.route),field(1,:)
    http-request set-var(txn.front_ends) var(txn.route),field(3,:)
    http-request set-var(txn.affinity) req.hdr(x-session-id)
    http-request set-var(txn.affinity) req.body,bytes(0,<prefix_bytes>),xxh64,hex
        if { var(txn.pool) -m beg px } !{ var(txn.affinity) -m found }
    http-request del-header x-session-id
"""

FRONT_END: Final = r"""
    # The main pool gets only what every Rust front end in it serves, by name, path and body. Rust
    # reads the model from the body, so a body that was not looked at for it goes to Python.
    # Retries stay in the pool, so nothing that needs Python can ever meet Rust.
    use_backend %[var(txn.pool)]-py unless { var(txn.front_ends) -m str split }
    use_backend %[var(txn.pool)]-py if { var(txn.unread) -m found }
    use_backend %[var(txn.pool)]-py unless { path <rust_paths> }
    use_backend %[var(txn.pool)]-py if { req.body -m reg <needs_python> }
    use_backend %[var(txn.pool)]
"""

TENANTS: Final = """
backend tenants from sluice
    # What every tenant does at once and did within a minute, as HAProxy's threads count it.
    stick-table type string len 64 size <tenants_tracked_max> expire 2m
        store gpc0_rate(60s),conn_cur
"""

ADDRESSES: Final = """
backend addresses from sluice
    # What comes from where: connections now, and whether a request was let in within the hour.
    stick-table type ipv6 size <addresses_tracked_max> expire 1h store conn_cur,gpt0
"""

STATS: Final = """
frontend stats from sluice
    bind 127.0.0.1:<stats_port>
    http-request use-service prometheus-exporter if { path /metrics }
    <reply:unknown_path>
"""

TENANT_SALT: Final = (
    "http-request set-header x-request-id"
    " %[var(txn.engine_id)]-t%[var(txn.tenant),sha2(256),hex,lower,bytes(0,32)]"
    " if { var(txn.tenant) -m found }"
)
"""Tells the engine core whose request it is. It must not be secret, since a client sets no part of
this header, and the engine core keeps it apart from the salt of a body."""

GRANT: Final = "sha2(256),hex,lower,map_str(<tenants_map>)"
"""What a key gives: its tenant and the tenant's limits."""

UNTRACED: Final = f"00-{'f' * 32}-{'f' * 16}-00"
"""The trace context of a request that nobody follows; nothing is ever recorded under it."""

REQUEST_ID: Final = "^[0-9A-Za-z._:-]{1,128}$"
"""A client's id that answers repeat and the log keeps; nothing in it means anything to JSON."""

CARD: Final = (
    '{"id":"%[var(txn.model),json(utf8s)]","object":"model","created":0,'
    '"owned_by":"sluice","root":"%[var(txn.route),field(2,:)]"}'
)

LOG_FORMAT: Final = (
    '{"trace_id":"%[var(txn.trace_id)]"',
    '"span_id":"%[var(txn.span_id)]"',
    '"parent_id":"%[var(txn.parent_id)]"',
    '"request_id":"%[var(txn.request_id)]"',
    '"started_us":%[var(txn.started_us)]',
    '"request_ms":%TR',
    '"held_ms":"%[var(txn.held_ms)]"',
    '"queue_ms":%Tw',
    '"connect_ms":%Tc',
    '"response_ms":%Tr',
    '"data_ms":%Td',
    '"active_ms":%Ta',
    '"status":%ST',
    '"bytes_out":%B',
    '"method":"%[var(txn.method)]"',
    '"path":"%[var(txn.path),json(utf8s)]"',
    '"tenant":"%[var(txn.tenant),json(utf8s)]"',
    '"model":"%[var(txn.owner),json(utf8s)]"',
    '"front_ends":"%[var(txn.front_ends)]"',
    '"pool":"%b"',
    '"server":"%s"',
    '"server_ip":"%si"',
    '"server_port":"%sp"',
    '"ended":"%tsc"',
    '"retries":"%rc"',
    '"queued_before":%bq}',
)
"""One JSON object for each traced request; durations in ms, -1 for what was not
reached. What a request was held for is part of `request_ms` too. A Rust front end can only have
served a request if `front_ends` is `split` and `pool` has no `-py` behind it."""


def quoted(text: str) -> str:
    """Quote a word of the configuration, so that HAProxy reads every character as it is."""
    return "'" + text.replace("'", "'\\''") + "'"


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
