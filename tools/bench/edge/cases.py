"""What is compared: configurations of HAProxy, and the request that each of them gets (pure)."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from libs.contracts.tenant import key_hash
from libs.errors import UsageError
from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import (
    ACCESS_KEY,
    ACCESS_KEYS_ONLY,
    ACCESS_OPEN,
    BASE_FILE,
    FAILING_MAP,
    LISTING_MAP,
    MODELS_MAP,
    POOLS_FILE,
    TENANTS_MAP,
    Balance,
    EdgeConfig,
    FrontEnds,
    PoolConfig,
    render_base,
    render_map,
    render_pools,
    render_routing,
    render_scripts,
    route_value,
)

MODEL: Final = "model"
KEY: Final = "sk-measured"
SERVERS: Final = 4
ANSWER_END: Final = b'{"whole":true}'
NUMBER: Final = b"00000000"
"""Stands in each body once; the client puts another number there, so that no two are the same."""

TURNS: Final = 16
"""Messages of a conversation."""

MESSAGE_BYTES_MIN: Final = 128
"""A shorter body has fewer messages."""

BODY_BYTES_MIN: Final = 256
BODY_BYTES_MAX: Final = 128 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgePlan:
    """One run.

    Attributes:
        requests: in one turn of one case.
        rounds: each case has one turn in each, after a turn that is not counted.
        body_bytes: of every request.
        clients: connections, each of which waits for its answer.
    """

    requests: int = 10_000
    rounds: int = 7
    body_bytes: int = 4096
    clients: int = 32

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of them.
        """
        if not BODY_BYTES_MIN <= self.body_bytes <= BODY_BYTES_MAX:
            limits = f"from {BODY_BYTES_MIN} to {BODY_BYTES_MAX}"
            raise UsageError(f"--body-bytes must be {limits}, not {self.body_bytes}")
        if self.requests < self.clients:
            raise UsageError(f"--requests must be {self.clients} or more, one for each client")


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """One HAProxy.

    Attributes:
        files: its folder's content; those that end in `.cfg` are its configuration.
        headers: more header lines of its requests.
        messages: among how many the text of its requests is divided.
    """

    name: str
    config: EdgeConfig
    files: Mapping[str, str]
    headers: tuple[str, ...] = ()
    messages: int = 1

    @property
    def folder(self) -> Path:
        """Where its files are."""
        return self.config.admin_socket.parent

    @property
    def configuration(self) -> tuple[str, ...]:
        """Return the files that HAProxy is started with."""
        return tuple(name for name in self.files if name.endswith(".cfg"))


UPSTREAM: Final = """
global
    maxconn 2000
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 60s
    timeout server 60s
frontend upstream
    bind 127.0.0.1:<port>
    acl asked path /health
    http-request return status 200 hdr x-sluice-replica %[req.hdr(x-sluice-server)] if asked
    http-request wait-for-body time 10s
    http-request return status 200 content-type application/json string '{"whole":true}'
"""
"""The server behind every case: it reads the body and answers; its CPU time is not counted."""

_PLAIN: Final = """
global
    maxconn 4000
    nbthread 1
    stats socket "<admin_socket>" mode 600 level admin
defaults sluice
    mode http
    option http-no-delay
    option abortonclose
    http-reuse always
    option httpchk GET /health
    timeout connect 2s
    timeout client 300s
    timeout server 600s
    timeout queue 10s
    timeout http-request 10s
    timeout http-keep-alive 60s
defaults pool from sluice
defaults twin from sluice
"""

_PLAIN_FRONTEND: Final = """
frontend api from sluice
    bind 127.0.0.1:<port>
    default_backend lc0
"""


def upstream(config: EdgeConfig) -> Case:
    """Return the server behind every case."""
    files = {"upstream.cfg": UPSTREAM.replace("<port>", str(config.port))}
    return Case(name="upstream", config=config, files=files)


def plain(config: EdgeConfig, upstream_port: int) -> Case:
    """Return a plain proxy: HAProxy's own buffers, leastconn, nothing looked at."""
    text = _PLAIN.replace("<admin_socket>", str(config.admin_socket))
    return _without_rules("plain proxy", text, config, upstream_port)


def without_rules(config: EdgeConfig, upstream_port: int) -> Case:
    """Return Sluice's global section and defaults around a plain proxy."""
    text = render_base(config).partition("\nfrontend ")[0]
    return _without_rules("Sluice's options, no rules", text, config, upstream_port)


def routing_alone(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the rules for model and prefix alone: no keys, no limits, no traces."""
    case = _edge("model by body, prefix hash", config, upstream_port)
    text = render_base(config).partition("\nfrontend ")[0] + "\n" + render_routing(config)
    return replace(case, files={**case.files, BASE_FILE: text})


def untraced(config: EdgeConfig, upstream_port: int) -> Case:
    """Return Sluice's edge with a prefix pool and no request traced."""
    return _edge("Sluice", replace(config, trace_ratio=0.0), upstream_port)


def split(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the edge where the body decides between two front ends."""
    case = untraced(config, upstream_port)
    files = {**case.files, MODELS_MAP: _routes(FrontEnds.SPLIT)}
    return replace(case, name="Sluice, front end by body", files=files)


def conversation(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the edge whose requests have many messages."""
    case = untraced(config, upstream_port)
    return replace(case, name=f"Sluice, {TURNS} messages", messages=TURNS)


def split_conversation(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the edge where a body of many messages decides between two front ends."""
    case = split(config, upstream_port)
    return replace(case, name=f"Sluice, {TURNS} messages, front end by body", messages=TURNS)


def traced(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the same with every request traced."""
    return _edge("Sluice, every request traced", config, upstream_port)


def with_key(config: EdgeConfig, upstream_port: int) -> Case:
    """Return the edge where every request has an API key with limits."""
    case = _edge("Sluice, with an API key", replace(config, trace_ratio=0.0), upstream_port)
    grants = ((ACCESS_KEY, ACCESS_KEYS_ONLY), (key_hash(KEY), "tenant:1000000000:1000:0"))
    return replace(
        case,
        files={**case.files, TENANTS_MAP: render_map(grants)},
        headers=(f"authorization: Bearer {KEY}",),
    )


CASES: Final[tuple[Callable[[EdgeConfig, int], Case], ...]] = (
    plain,
    without_rules,
    routing_alone,
    untraced,
    split,
    conversation,
    split_conversation,
    traced,
    with_key,
)
"""In the order of the table; the first is what the others are compared with."""


def config_in(folder: Path, port: int) -> EdgeConfig:
    """Return settings as they are by default."""
    return EdgeConfig(
        admin_socket=folder / "admin.sock",
        span_socket=folder.parent / "span.sock",
        host="127.0.0.1",
        port=port,
        stats_port=None,
    )


def request(case: Case, *, body_bytes: int) -> bytes:
    """Return the request; its messages come before its model, as OpenAI's own client has them."""
    messages = min(case.messages, body_bytes // MESSAGE_BYTES_MIN)
    lines = (
        "POST /v1/chat/completions HTTP/1.1",
        f"host: 127.0.0.1:{case.config.port}",
        "content-type: application/json",
        *case.headers,
        f"content-length: {body_bytes}",
    )
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + _body(messages, body_bytes)


def _body(messages: int, body_bytes: int) -> bytes:
    """Return a body of this length; its first message begins with the number."""
    left = body_bytes - len(_written([""] * messages)) - len(NUMBER)
    share = left // messages
    texts = [_text(share)] * (messages - 1) + [_text(left - share * (messages - 1))]
    return _written([NUMBER.decode() + texts[0], *texts[1:]])


def _text(length: int) -> str:
    return ("word " * length)[:length]


def _written(texts: list[str]) -> bytes:
    said = [{"role": "user", "content": text} for text in texts]
    return json.dumps({"messages": said, "model": MODEL}).encode()


def _without_rules(name: str, text: str, config: EdgeConfig, upstream_port: int) -> Case:
    frontend = _PLAIN_FRONTEND.replace("<port>", str(config.port))
    pools = _pools("lc0", Balance.LEAST_LOADED, upstream_port)
    files = {**_maps(), **render_scripts(config), BASE_FILE: text + frontend, POOLS_FILE: pools}
    return Case(name=name, config=config, files=files)


def _edge(name: str, config: EdgeConfig, upstream_port: int) -> Case:
    pools = _pools("px0", Balance.PREFIX, upstream_port)
    files = {
        **_maps(),
        **render_scripts(config),
        BASE_FILE: render_base(config),
        POOLS_FILE: pools,
    }
    return Case(name=name, config=config, files=files)


def _maps() -> dict[str, str]:
    return {
        MODELS_MAP: _routes(FrontEnds.PYTHON),
        LISTING_MAP: "",
        FAILING_MAP: "",
        TENANTS_MAP: render_map(((ACCESS_KEY, ACCESS_OPEN),)),
    }


def _routes(front_ends: FrontEnds) -> str:
    return render_map(((MODEL, route_value(pool="px0", model=MODEL, front_ends=front_ends)),))


def _pools(name: str, balance: Balance, upstream_port: int) -> str:
    servers = tuple(
        ServerSpec(
            name=f"r{number}.aa",
            number=101 + number,
            address=f"127.0.0.1:{upstream_port}",
            weight=16,
            maxconn=256,
        )
        for number in range(SERVERS)
    )
    pool = PoolConfig(name=name, balance=balance, servers=servers, python_servers=servers)
    return render_pools((pool,))
