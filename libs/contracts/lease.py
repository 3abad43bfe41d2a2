"""A replica's lease: what it says of itself once a second, and what its silence means.

States: starting -> ready -> draining -> stopped, and failed from anywhere.
Only `ready` takes new requests. An expired lease means *unknown*, not *gone*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Final, Literal

from libs.contracts.checks import line, require_count, require_time
from libs.contracts.ids import (
    Incarnation,
    ModelName,
    ReplicaId,
    alias,
    incarnation,
    model_name,
    replica_id,
)

LEASE_TTL_S: Final = 5.0
"""A lease that is not refreshed for this long expires; the bus tells every watcher."""

LEASE_REFRESH_S: Final = 1.0
"""How often a replica refreshes its lease: four may be lost before it expires."""


PORT_MAX: Final = 65_535

UNIX_PATH_BYTES_MAX: Final = 107
"""The longest path of a unix socket. Source: unix(7), `sun_path`, less its final zero byte."""

MAX_NUM_SEQS_MAX: Final = 1_000_000
"""More sequences at once than any engine runs; HAProxy takes 0 for no limit at all."""

_NOT_IN_PATHS: Final = re.compile(r"""[\s"'\\;#$]""")
"""Characters that end or change an address in HAProxy's files and commands; it expands `$NAME`.

Source: HAProxy 2.8, src/tools.c, str2sa_range; management guide, section 9.3.
"""

_HOST: Final = re.compile(r"[0-9A-Za-z]([0-9A-Za-z.-]{0,251}[0-9A-Za-z])?|[0-9A-Fa-f:.]{2,45}")
"""A name or an address without an IPv6 zone (`%eth0`), which only means something locally."""


class FrontEnd(StrEnum):
    """Which of vLLM's front ends answers."""

    RUST = "rust"
    PYTHON = "python"


class ReplicaState(StrEnum):
    """Where a replica is in its life."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    STOPPED = "stopped"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """A TCP address on which a replica serves HTTP."""

    host: str
    port: int

    def __post_init__(self) -> None:
        """Refuse ports outside 1 to 65535, and hosts that are neither a name nor an address."""
        if not _HOST.fullmatch(self.host) or not 0 < self.port <= PORT_MAX:
            message = f"endpoint {self.host[:80]!r} needs a host and a port from 1 to 65535"
            raise ValueError(message)

    def __str__(self) -> str:
        """Render `host:port`, with brackets around an IPv6 host."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnixEndpoint:
    """A unix socket on which a replica serves HTTP, on the edge's own machine.

    Attributes:
        path: absolute, without `..`, at most 107 bytes, all of them printable, and none of them
            white space, a quote, a backslash, `;`, `#` or `$`.
    """

    path: str

    def __post_init__(self) -> None:
        """Refuse paths that a socket or a line of HAProxy's configuration cannot hold."""
        path = PurePosixPath(self.path)
        if not path.is_absolute() or ".." in path.parts:
            message = f"socket path {self.path[:200]!r} must be absolute, without `..`"
            raise ValueError(message)
        if not self.path.isprintable() or _NOT_IN_PATHS.search(self.path):
            message = f"socket path {self.path[:200]!r} must be without white space or quotes"
            raise ValueError(message)
        if len(self.path.encode()) > UNIX_PATH_BYTES_MAX:
            message = f"socket path {self.path[:200]!r} is longer than {UNIX_PATH_BYTES_MAX} bytes"
            raise ValueError(message)

    def __str__(self) -> str:
        """Render `unix@PATH`, as HAProxy writes addresses."""
        return f"unix@{self.path}"


Address = Endpoint | UnixEndpoint
"""Where a replica serves HTTP."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Versions:
    """The software that a replica runs."""

    sluice: str
    vllm: str
    ray: str

    def __post_init__(self) -> None:
        """Make single lines of them."""
        for name in ("sluice", "vllm", "ray"):
            object.__setattr__(self, name, line(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterTrouble:
    """A declared adapter that a replica cannot serve as declared, and why."""

    adapter: str
    cause: str

    def __post_init__(self) -> None:
        """Refuse an invalid name, and make a single line of the cause."""
        alias(self.adapter)
        object.__setattr__(self, "cause", line(self.cause))


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaLease:
    """One replica's present state, as it stands in the `replicas` bucket.

    Attributes:
        address: where its main front end serves HTTP; None while it has no port yet.
        front_end: which front end `address` is; with RUST, vLLM's Python application on the same
            engine core has an address of its own.
        front_end_reason: why `front_end` is not RUST; empty when it is.
        python_address: where vLLM's Python application serves HTTP; None where it is `address`.
        rust_names: names of the model that the Rust front end answers to; every other name is
            answered by the Python application alone.
        max_num_seqs: how many sequences the engine runs at once; the server's maxconn.
        executor: class name of vLLM's executor, such as `RayExecutorV2`.
        device: `cpu`, `cuda` or `simulated`.
        pid: process id of the replica's HTTP process on its own host.
        started_at: Unix time in seconds of this incarnation's start.
        ready_at: Unix time in seconds when it became ready; None before.
        adapters: names of the LoRA adapters that it serves, sorted.
        adapter_troubles: adapters that it was asked for and could not load.
    """

    replica_id: ReplicaId
    incarnation: Incarnation
    model: ModelName
    state: ReplicaState
    address: Address | None
    max_num_seqs: int
    executor: str
    device: str
    pid: int
    versions: Versions
    started_at: float
    ready_at: float | None = None
    adapters: tuple[str, ...] = ()
    adapter_troubles: tuple[AdapterTrouble, ...] = ()
    reason: str = ""
    front_end: FrontEnd = FrontEnd.PYTHON
    front_end_reason: str = ""
    python_address: Address | None = None
    rust_names: tuple[str, ...] = ()
    schema: Literal["replica.lease.v1"] = "replica.lease.v1"

    def __post_init__(self) -> None:
        """Refuse values that HAProxy could not carry, and make single lines of free text."""
        replica_id(self.replica_id)
        incarnation(self.incarnation)
        model_name(self.model)
        for name in (*self.adapters, *self.rust_names):
            alias(name)
        require_count("max_num_seqs", self.max_num_seqs, low=1, high=MAX_NUM_SEQS_MAX)
        require_count("pid", self.pid)
        require_time("started_at", self.started_at)
        require_time("ready_at", self.ready_at)
        for field in ("executor", "device", "reason", "front_end_reason"):
            object.__setattr__(self, field, line(getattr(self, field)))
