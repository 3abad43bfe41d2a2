"""Pure renderer of HAProxy's configuration: what never changes while it runs, and the pools.

`render_base` gives listeners, rules and errors; `render_pools` gives every pool with its servers.
HAProxy reads both, and the map files, from one directory: file names in them are relative to it.

`models.map` holds `<model or alias> <pool>:<model>`; `listing.map` holds the answer to /v1/models.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from libs.haproxy.commands import ServerSpec
from libs.haproxy.replies import REPLIES, http_errors
from libs.haproxy.template import API, CARD, DEFAULTS, GLOBAL, LOG_FORMAT, STATS, logical_lines

BUFFER_BYTES: Final = 262_144
"""How much of a body HAProxy sees: a `model` beyond about 260 kB is not found."""

MODELS_MAP: Final = "models.map"
LISTING_MAP: Final = "listing.map"
LISTING_KEY: Final = "models"
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

_PLACEHOLDER: Final = re.compile(r"<([a-z_:]+)>")


class Balance(StrEnum):
    """How a pool chooses among its servers."""

    LEAST_LOADED = "least_loaded"
    PREFIX = "prefix"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeConfig:
    """Everything that `base.cfg` depends on.

    Attributes:
        stats_port: where Prometheus finds metrics, on loopback; None for nowhere.
        connections_max: open connections; needs twice as many file descriptors.
        queue_timeout_s: the longest wait for a free server, then 503 with Retry-After.
        response_timeout_s: the longest wait for a first byte, and between two of them.
        hard_stop_after_s: how long an old HAProxy may finish its streams after a reload.
        body_bytes_max: larger requests get 413.
        prefix_bytes: how much of a body decides about the server in a prefix pool.
        trace_ratio: share of requests that are traced, 0 to 1.
    """

    admin_socket: Path
    span_socket: Path
    host: str
    port: int
    stats_port: int | None
    threads: int = 1
    connections_max: int = 4000
    queue_timeout_s: int = 10
    response_timeout_s: int = 600
    hard_stop_after_s: int = 1800
    retry_after_s: int = 2
    body_bytes_max: int = 8 * 1024 * 1024
    prefix_bytes: int = 1024
    trace_ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolConfig:
    """One pool with the servers that are in it from the start."""

    name: str
    balance: Balance
    servers: tuple[ServerSpec, ...] = ()


def render_base(config: EdgeConfig) -> str:
    """Render everything but the pools."""
    values = _values(config)
    errors = (
        f"    http-error {e.render()}" for e in http_errors(retry_after_s=config.retry_after_s)
    )
    sections = (
        logical_lines(GLOBAL),
        [*logical_lines(DEFAULTS), *errors],
        logical_lines(API),
        logical_lines(STATS) if config.stats_port is not None else [],
    )
    text = "\n".join("\n".join(lines) + "\n" for lines in sections if lines)
    return _fill(text, values)


def render_pools(pools: tuple[PoolConfig, ...]) -> str:
    """Render every pool; an empty one answers 503 until a server joins it."""
    return "\n".join(_pool(pool) for pool in pools)


def render_map(entries: tuple[tuple[str, str], ...]) -> str:
    """Render a map file."""
    return "".join(f"{key} {value}\n" for key, value in entries)


def _pool(pool: PoolConfig) -> str:
    lines = (
        f"backend {pool.name} from sluice",
        *_balance(pool.balance),
        *(f"server {server.name} {server.keywords()}" for server in pool.servers),
    )
    return "\n    ".join(lines) + "\n"


def _balance(balance: Balance) -> tuple[str, ...]:
    """Prefix pools send a key to one server until that has half more than its share."""
    if balance is Balance.LEAST_LOADED:
        return ("balance leastconn",)
    return ("balance hash var(txn.affinity)", "hash-type consistent", "hash-balance-factor 150")


def _values(config: EdgeConfig) -> dict[str, str]:
    numbers = (
        "host port stats_port threads connections_max queue_timeout_s response_timeout_s"
        " hard_stop_after_s body_bytes_max prefix_bytes admin_socket span_socket"
    )
    return {
        **{f"reply:{name}": f"http-request return {r.render()}" for name, r in REPLIES.items()},
        **{name: str(getattr(config, name)) for name in numbers.split()},
        "sampled_per_million": str(round(config.trace_ratio * 1_000_000)),
        "buffer_bytes": str(BUFFER_BYTES),
        "inference_paths": " ".join(INFERENCE_PATHS),
        "models_map": MODELS_MAP,
        "listing_map": LISTING_MAP,
        "listing_key": LISTING_KEY,
        "card": CARD,
        "log_format": ",".join(LOG_FORMAT),
    }


def _fill(text: str, values: Mapping[str, str]) -> str:
    """Put values in; twice, because an error's message may hold a placeholder of its own."""
    for _ in range(2):
        text = _PLACEHOLDER.sub(lambda found: values[found[1]], text)
    return text
