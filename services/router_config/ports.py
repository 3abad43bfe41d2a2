"""What router-config needs from outside: an edge to observe and change, a program, a memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from libs.errors import TransientError
from services.router_config.domain.access import Access
from services.router_config.domain.certificate import Offered, Unusable
from services.router_config.domain.model import Blocked, Observed, PoolName, Routes, Server
from services.router_config.domain.plan import Action
from services.router_config.domain.reload import Build


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolDemand:
    """What waits in front of a pool, and what it turned away since the program started.

    Attributes:
        queued: requests that wait until one of its servers has room.
        held: requests that wait until it has a server at all.
    """

    pool: PoolName
    queued: int
    held: int
    refused_count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EdgeView:
    """The edge at one moment.

    Attributes:
        config: from which configuration it was started; empty where it does not say it.
        dropped_spans: span log lines lost since the program started.
    """

    observed: Observed
    demand: tuple[PoolDemand, ...]
    version: str
    pid: int
    dropped_spans: int
    config: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """The action is in effect; it took this many commands."""

    commands: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """The edge is not ready for it; the next reconcile tries again."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """The edge does not accept it."""

    reason: str


Outcome = Done | Pending | Refused


class Edge(Protocol):
    """A running edge.

    Every call raises `PeerUnreachableError` when it does not answer in time.
    """

    async def observe(self) -> EdgeView:
        """Read the whole state."""
        ...

    async def apply(self, action: Action) -> Outcome:
        """Do one action; doing it twice is harmless."""
        ...

    async def apply_all(self, actions: Sequence[Action]) -> Sequence[Outcome]:
        """Do actions in their order, whatever comes of each; return an outcome for each."""
        ...


class ProgramSilentError(TransientError):
    """A HAProxy has the admin socket and does not answer; it may serve, so nothing ends it."""


class Program(Protocol):
    """The edge's process."""

    async def adopt(self) -> int | None:
        """Take over the one that already serves, answering or not; None when there is none.

        Raises:
            ProgramSilentError: it does not answer, and it is not known which process it is.
        """
        ...

    async def start(self, *, replace: int | None = None) -> int:
        """Start one from the state on disk and return its pid once it answers.

        With `replace` it takes over the listeners of that process, which finishes its streams.
        Whatever goes wrong, a program that serves goes on.

        Raises:
            UsageError: its port is taken by somebody else.
            TransientError: it did not come up; the message says what it said.
        """
        ...

    def running(self) -> int | None:
        """Return the pid of the one that serves; None when it ended."""
        ...

    def on_end(self, wake: Callable[[], None]) -> None:
        """Call back as soon as it ends."""
        ...

    async def stop(self, *, timeout_s: float) -> None:
        """End it: streams may finish within the limit, then they are cut."""
        ...


class Certificate(Protocol):
    """A file with what TLS needs, and a running edge that serves its content."""

    def look(self) -> Offered | Unusable:
        """Read the file."""
        ...

    @property
    def copy_trouble(self) -> str:
        """Why a start would not serve what is served; empty when it would."""
        ...

    async def serve(self) -> Done | Refused:
        """Serve what was seen at the last look to new connections; doing it twice is harmless.

        Raises:
            PeerUnreachableError: the edge does not answer in time.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Counters:
    """What outlives every process: counted since the state directory was made.

    Attributes:
        applied_at: Unix time in seconds of the last change; None before the first.
    """

    revision: int = 0
    reloads: int = 0
    applied_at: float | None = None
    pools_per_kind: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRouting:
    """What an edge that starts without anybody's help must serve."""

    servers: tuple[Server, ...]
    routes: Routes
    listing: str
    access: Access | None
    blocked: Mapping[PoolName, Blocked] = field(default_factory=dict)


class Memory(Protocol):
    """The state on disk, from which the edge's program starts.

    What cannot be written is `trouble`, and is tried again with each `restore`.
    """

    def counters(self) -> Counters:
        """Return the counters."""
        ...

    def restore(self) -> None:
        """Write again what was saved and has been lost since."""
        ...

    def save(self, routing: SavedRouting, counters: Counters) -> None:
        """Write routing and counters; a crash leaves each file old or new, never half."""
        ...

    def save_counters(self, counters: Counters) -> None:
        """Write the counters, and what depends on them, with the routing as last saved."""
        ...

    def build(self) -> Build | None:
        """Return what a start would give; None while it is not what it should be."""
        ...

    @property
    def trouble(self) -> str:
        """Which files cannot be written, and why; empty when all are as they should be."""
        ...
