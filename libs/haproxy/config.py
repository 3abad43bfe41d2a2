"""Pure renderer of HAProxy's configuration: what never changes while it runs, and the pools.

`render_base` gives listeners, rules and errors; `render_pools` gives every pool with its servers.
HAProxy reads both, and the map files, from one directory: file names in them are relative to it.

`models.map` holds `<model or alias> <pool>:<model>:<front ends>` (`FrontEnds`), where a missing
third field means `python`; `listing.map` holds the answer to /v1/models.
`tenants.map` holds `access open` or `access keys`, and for the hash of each key
`<tenant>:<requests per minute>:<concurrent requests>:<priority>`, where 0 means no limit.
`failing.map` holds, for each main pool whose model does not come, `<next try>:<error>`: Unix time
in whole seconds, 0 while it is being tried, and one line.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from libs.contracts.exposure import Listener
from libs.contracts.health import (
    FRONT_END_HEADER,
    HEALTH_PATH,
    REPLICA_HEADER,
    RUST,
    SERVER_HEADER,
)
from libs.haproxy.body_reader import READER_BUSY
from libs.haproxy.commands import ServerSpec
from libs.haproxy.front_ends import TABLE
from libs.haproxy.hold import HOLD_FILE, HOLD_RULE, HOLD_SCRIPT, HoldLimits, hold_load
from libs.haproxy.replies import NEVER_BEGUN, REPLIES, REQUEST_TIMEOUT, http_errors
from libs.haproxy.template import (
    ADDRESSES,
    API,
    CARD,
    DEFAULTS,
    FRONT_END,
    GLOBAL,
    GRANT,
    LOG_FORMAT,
    MODEL,
    POOL_DEFAULTS,
    REQUEST_ID,
    ROUTE,
    STATS,
    TENANT_SALT,
    TENANTS,
    UNTRACED,
    logical_lines,
    quoted,
)

BUFFER_BYTES: Final = 64 * 1024
"""What holds one request; a larger body goes through the body reader (`body_reader.py`)."""

HEADER_BYTES_MAX: Final = 16 * 1024
"""Larger headers get 431; they share the buffer with the body."""

WHOLE_BODY_BYTES: Final = BUFFER_BYTES - HEADER_BYTES_MAX - 2 * 1024
"""The largest body that the edge reads itself; HAProxy keeps 1 KiB, and some for its own notes."""

TAIL_FROM_BYTES: Final = 1024
"""In a shorter body the model is found as fast from its beginning."""

TAIL_OFFSETS: Final = (12 * 1024, 3 * 1024, 0)
"""Where the end of a body begins that is looked at, the largest that leaves `TAIL_BYTES_MIN`."""

TAIL_BYTES_MIN: Final = 512
"""Room for what clients write behind the messages."""

HUGE_FROM_BYTES: Final = 1024 * 1024
"""Bodies beyond this have fewer places in the body reader."""

MODELS_MAP: Final = "models.map"
LISTING_MAP: Final = "listing.map"
LISTING_KEY: Final = "models"
TENANTS_MAP: Final = "tenants.map"
FAILING_MAP: Final = "failing.map"
ACCESS_KEY: Final = "access"
ACCESS_OPEN: Final = "open"
ACCESS_KEYS_ONLY: Final = "keys"
ADDRESSES_TRACKED_MAX: Final = 65_536
CONNECTIONS_SPARE: Final = 32
"""Connections of metrics' readers and of a body reader that is being replaced."""

TENANTS_TRACKED_MAX: Final = 4096
"""Tenants whose requests are counted at once, with room for those that left a minute ago."""

RETRY_AFTER_BEING_TRIED_S: Final = 10
"""When to ask again for a model that is being tried again; how long that takes is unknown."""

RETRY_AFTER_MAX_S: Final = 600
"""The longest pause that a client is asked for, whatever the map says."""

CERTIFICATE_FILE: Final = "certificate.pem"
BASE_FILE: Final = "base.cfg"
POOLS_FILE: Final = "pools.cfg"

INFERENCE_PATHS: Final = (
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
    "/v1/messages/count_tokens",
    "/v1/embeddings",
    "/v1/score",
    "/v1/rerank",
    "/v1/classify",
    "/v1/audio/transcriptions",
    "/v1/audio/translations",
    "/classify",
    "/pooling",
    "/rerank",
    "/score",
    "/tokenize",
    "/detokenize",
)
"""What reaches a replica; every other path is answered by the edge, most of them with 404."""

CIPHERS: Final = ":".join(
    f"ECDHE-{key}-{cipher}"
    for cipher in ("AES128-GCM-SHA256", "AES256-GCM-SHA384", "CHACHA20-POLY1305")
    for key in ("ECDSA", "RSA")
)
"""What TLS 1.2 may use: forward-secret and authenticated; TLS 1.3 has nothing else.

Source: Mozilla, Server Side TLS 5.7, "intermediate", without finite-field Diffie-Hellman.
"""

TLS: Final = f" ssl crt {CERTIFICATE_FILE} ssl-min-ver TLSv1.2 ciphers {CIPHERS} alpn h2,http/1.1"

BOUND_PERCENT: Final = 200
"""Less makes requests leave their prefix for a server that has none of it. Source: ADR 0009."""

DIGEST_DIGITS: Final = 16

_IDENTITY_CHECK: Final = f"http-check expect hdr name {REPLICA_HEADER} value-lf %[srv_name]"

_PLACEHOLDER: Final = re.compile(r"<([a-z_:]+)>")


MAIN_POOL: Final = "pool"
TWIN_POOL: Final = "twin"
"""The sections of defaults for main pools and for their twins."""

TWIN_SUFFIX: Final = "-py"
"""What a twin pool's name has behind its main pool's."""


class FrontEnds(StrEnum):
    """Which front ends answer to a name in `models.map`; any other value means PYTHON.

    SPLIT: every Rust front end of the main pool knows the name; `front_ends.py` decides between
        the main pool and its twin.
    PYTHON: the twin takes all requests.
    """

    SPLIT = "split"
    PYTHON = "python"


class Balance(StrEnum):
    """How a pool chooses among its servers.

    ROUND_ROBIN is no model's policy: it is what measurements compare the others with.
    """

    LEAST_LOADED = "least_loaded"
    PREFIX = "prefix"
    ROUND_ROBIN = "round_robin"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Everything that `base.cfg` depends on.

    Attributes:
        encrypted: the API speaks TLS with `certificate.pem`: certificate, chain and key.
        stats_port: where Prometheus finds metrics, on loopback; None for nowhere.
        connections_max: open connections of clients; HAProxy needs twice as many file descriptors,
            and some for its own connections (`connections_all_max`).
        connections_per_address_max: of those, how many one address may have (IPv6: one /64) until
            a request from there was let in, within the last hour; more are closed. 0 is no limit.
        queue_timeout_s: the longest wait for a free server, then 503 with Retry-After.
        holds: how requests wait for a pool that has no server; None refuses them at once.
        response_timeout_s: the longest wait for a first byte, and between two of them.
        hard_stop_after_s: how long an old HAProxy may finish its streams after a reload.
        request_timeout_s: how long headers may take, and a body that fits the buffer.
        body_timeout_s: how long a larger body may take.
        client_timeout_s: how long a client may leave unread what it asked for.
        body_bytes_max: larger requests get 413.
        large_bodies_max: requests at once whose body does not fit the buffer; the others wait.
        huge_bodies_max: the same for bodies above 1 MiB.
        prefix_bytes: how much of a body decides about the server in a prefix pool.
        trace_ratio: share of requests that are traced, 0 to 1.
        prefix_cache_by_tenant: no tenant's prompts are in the prefix cache of another.
        proves_identity: a server must say that it is the one that is meant; False for servers
            that are no replicas.
    """

    admin_socket: Path
    span_socket: Path
    host: str
    port: int
    encrypted: bool = False
    stats_port: int | None
    threads: int = 1
    connections_max: int = 4000
    connections_per_address_max: int = 500
    queue_timeout_s: int = 10
    holds: HoldLimits | None = None
    response_timeout_s: int = 600
    hard_stop_after_s: int = 1800
    retry_after_s: int = 2
    request_timeout_s: int = 10
    body_timeout_s: int = 60
    client_timeout_s: int = 300
    body_bytes_max: int = 8 * 1024 * 1024
    large_bodies_max: int = 256
    huge_bodies_max: int = 16
    prefix_bytes: int = 1024
    trace_ratio: float = 1.0
    prefix_cache_by_tenant: bool = True
    proves_identity: bool = True

    @property
    def connections_all_max(self) -> int:
        """How many connections there may be, with those of the body reader and of metrics."""
        return self.connections_max + connections_inside(
            self.large_bodies_max, self.huge_bodies_max
        )

    @property
    def large_socket(self) -> Path:
        """Where the body reader takes requests."""
        return self.admin_socket.with_name("large.sock")

    @property
    def read_socket(self) -> Path:
        """Where the body reader brings them back."""
        return self.admin_socket.with_name("read.sock")


def connections_inside(large_bodies_max: int, huge_bodies_max: int) -> int:
    """Return how many connections are no client's: the body reader's, and some for metrics."""
    return large_bodies_max + huge_bodies_max + CONNECTIONS_SPARE


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """One pool and its twin, with the servers that are in them from the start.

    Attributes:
        servers: the main pool's: each replica's main front end, where some replica has Rust.
        python_servers: the twin's: the Python application of each replica. A server has the same
            name and number in both pools.
        bound_percent: where a prefix chooses, a server with so much of its fair share of the
            requests is passed over; 100 is the share itself, more keeps more prefixes in place.
    """

    name: str
    balance: Balance
    servers: tuple[ServerSpec, ...] = ()
    python_servers: tuple[ServerSpec, ...] = ()
    bound_percent: int = BOUND_PERCENT


def render_base(config: EdgeConfig) -> str:
    """Render everything but the pools."""
    return _render_base(config, description=config_digest(config))


def config_digest(config: EdgeConfig) -> str:
    """Return what tells one configuration with its scripts from another; a HAProxy shows it."""
    texts = (_render_base(config, description=""), *render_scripts(config).values())
    return hashlib.sha256("\0".join(texts).encode()).hexdigest()[:DIGEST_DIGITS]


def _render_base(config: EdgeConfig, *, description: str) -> str:
    values = {**_values(config), "description": description}
    errors = (
        f"    http-error {e.render()}" for e in http_errors(retry_after_s=config.retry_after_s)
    )
    sections = (
        logical_lines(GLOBAL),
        [*logical_lines(DEFAULTS), *errors],
        *(logical_lines(_pool_defaults(kind)) for kind in (MAIN_POOL, TWIN_POOL)),
        logical_lines(_with_blocks(API)),
        logical_lines(TENANTS),
        logical_lines(ADDRESSES) if config.connections_per_address_max else [],
        logical_lines(STATS) if config.stats_port is not None else [],
    )
    text = "\n".join("\n".join(lines) + "\n" for lines in sections if lines)
    return _fill(text, values)


def render_routing(config: EdgeConfig) -> str:
    """Render a frontend that does nothing but route by the body: for measuring what that costs."""
    lines = (
        "frontend api from sluice",
        "    bind <host>:<port>",
        "    acl named var(txn.named) -m found",
        "    http-request set-var(txn.size) req.body_size",
        "<model>",
        "<route>",
        "<front_end>",
    )
    text = _with_blocks("\n".join(lines) + "\n")
    return _fill("\n".join(logical_lines(text)) + "\n", _values(config))


def _pool_defaults(kind: str) -> str:
    check = f" hdr {FRONT_END_HEADER} {RUST}" if kind == MAIN_POOL else ""
    return POOL_DEFAULTS.replace("<pool_name>", kind).replace("<front_end_check>", check)


def _with_blocks(text: str) -> str:
    for name, block in (
        ("model", MODEL),
        ("route", ROUTE),
        ("front_end", FRONT_END),
        ("tails", _tail_rules()),
    ):
        text = text.replace(f"<{name}>\n", block)
    return text


def _tail_rules() -> str:
    """Render a rule for each place where the end of a body may begin; one of them counts."""
    rules = []
    for offset in TAIL_OFFSETS:
        taken = f"req.body,bytes({offset})" if offset else "req.body"
        longer = max(TAIL_FROM_BYTES, offset + TAIL_BYTES_MIN)
        rules.append(
            f"    http-request set-var(txn.tail) '{taken},field(-2,\"[]{{}}\")'"
            f" if {{ var(txn.size) -m int gt {longer} }} !{{ var(txn.tail) -m found }} !named\n"
        )
    return "".join(rules)


def render_scripts(config: EdgeConfig) -> dict[str, str]:
    """Render the Lua files that the base loads, by file name."""
    return {HOLD_FILE: HOLD_SCRIPT} if config.holds else {}


def render_pools(pools: tuple[PoolConfig, ...]) -> str:
    """Render every pool and its twin; an empty one answers 503 until a server joins it."""
    return "\n".join(
        _backend(name, pool, servers)
        for pool in pools
        for name, servers in (
            (pool.name, pool.servers),
            (twin_of(pool.name), pool.python_servers),
        )
    )


def twin_of(pool: str) -> str:
    """Return the name of a main pool's twin, whose servers are Python applications."""
    return f"{pool}{TWIN_SUFFIX}"


def route_value(*, pool: str, model: str, front_ends: FrontEnds) -> str:
    """Render what `models.map` holds for a name."""
    return f"{pool}:{model}:{front_ends}"


def failing_value(*, next_try_at: int, error: str) -> str:
    """Render what `failing.map` holds for a pool."""
    return f"{next_try_at}:{error}"


def render_map(entries: tuple[tuple[str, str], ...]) -> str:
    """Render a map file."""
    return "".join(f"{key} {value}\n" for key, value in entries)


def _backend(name: str, pool: PoolConfig, servers: tuple[ServerSpec, ...]) -> str:
    lines = (
        f"backend {name} from {MAIN_POOL if name == pool.name else TWIN_POOL}",
        *_balance(pool),
        *(f"server {server.name} {server.keywords()}" for server in servers),
    )
    return "\n    ".join(lines) + "\n"


def _balance(pool: PoolConfig) -> tuple[str, ...]:
    """Prefix pools send a key to one server until that is beyond its bound."""
    match pool.balance:
        case Balance.LEAST_LOADED:
            return ("balance leastconn",)
        case Balance.ROUND_ROBIN:
            return ("balance roundrobin",)
        case Balance.PREFIX:
            key = "balance hash var(txn.affinity)"
            return (key, "hash-type consistent", f"hash-balance-factor {pool.bound_percent}")


_MAPS: Final = {
    "models_map": MODELS_MAP,
    "listing_map": LISTING_MAP,
    "listing_key": LISTING_KEY,
    "failing_map": FAILING_MAP,
    "tenants_map": TENANTS_MAP,
}


def _values(config: EdgeConfig) -> dict[str, str]:
    numbers = (
        "host port stats_port threads connections_max connections_all_max"
        " queue_timeout_s response_timeout_s"
        " hard_stop_after_s body_bytes_max prefix_bytes admin_socket span_socket"
        " request_timeout_s client_timeout_s large_bodies_max huge_bodies_max"
        " large_socket read_socket"
    )
    return {
        **{f"reply:{name}": f"http-request return {r.render()}" for name, r in REPLIES.items()},
        **{name: str(getattr(config, name)) for name in numbers.split()},
        "error:reader_busy": f"http-error {READER_BUSY.render()}",
        "answer:request_timeout": f"http-response return {REQUEST_TIMEOUT.render()}",
        "answer:never_begun": f"http-response return {NEVER_BEGUN.render()}",
        "health_path": HEALTH_PATH,
        "server_header": SERVER_HEADER,
        "identity_check": _IDENTITY_CHECK if config.proves_identity else "# Any server may answer.",
        "header_bytes_max": str(HEADER_BYTES_MAX),
        "untraced": UNTRACED,
        "request_id": quoted(REQUEST_ID),
        "huge_from_bytes": str(HUGE_FROM_BYTES),
        "whole_body_bytes": str(WHOLE_BODY_BYTES),
        "tls": TLS if config.encrypted else "",
        "hold_load": hold_load(config.holds, failing_map=FAILING_MAP)
        if config.holds
        else "# No request is held.",
        "hold_rule": HOLD_RULE if config.holds else "# No request is held.",
        "tenant_salt": TENANT_SALT if config.prefix_cache_by_tenant else "# One prefix cache.",
        "sampled_per_million": str(round(config.trace_ratio * 1_000_000)),
        "buffer_bytes": str(BUFFER_BYTES),
        "inference_paths": " ".join(INFERENCE_PATHS),
        "rust_paths": " ".join(TABLE.rust_paths),
        "needs_python": quoted(TABLE.python_pattern),
        **_MAPS,
        "retry_after_being_tried_s": str(RETRY_AFTER_BEING_TRIED_S),
        "retry_after_max_s": str(RETRY_AFTER_MAX_S),
        **_address_rules(config),
        "addresses_tracked_max": str(ADDRESSES_TRACKED_MAX),
        "tenants_tracked_max": str(TENANTS_TRACKED_MAX),
        "access_key": ACCESS_KEY,
        "is_open": _is_open(config),
        "grant": GRANT,
        "card": CARD,
        "log_format": ",".join(LOG_FORMAT),
    }


def _address_rules(config: EdgeConfig) -> dict[str, str]:
    """Return the rules about a client's address; without a limit nothing is counted."""
    limit = config.connections_per_address_max
    if not limit:
        return dict.fromkeys(("address_limit", "address_known"), "# No address has a limit.")
    return {
        "address_limit": "tcp-request connection track-sc0 src,ipmask(32,64) table addresses\n"
        f"    tcp-request connection reject if {{ sc0_conn_cur gt {limit} }}"
        " { sc0_get_gpt0 eq 0 }",
        "address_known": "http-request sc-set-gpt0(0) 1 if { sc0_get_gpt0 eq 0 }",
    }


def _is_open(config: EdgeConfig) -> str:
    """Return when no key is needed: beyond loopback never, whatever the map says."""
    listener = Listener(host=config.host, encrypted=config.encrypted)
    if not listener.may_be_open:
        return "{ always_false }"
    return f"{{ var(txn.access) -m str {ACCESS_OPEN} }}"


def _fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in; twice, because an error's message may hold a placeholder of its own."""
    for _ in range(2):
        text = _PLACEHOLDER.sub(lambda found: values[found[1]], text)
    return text
