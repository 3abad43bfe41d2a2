"""Commands of HAProxy's runtime API, one frozen dataclass each.

`codec.py` turns them into lines and reads the replies; nothing here knows how they travel.
Source: HAProxy 2.8 management guide, section 9.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

WEIGHT_MIN: Final = 1
WEIGHT_MAX: Final = 256

CHECK_INTERVAL_S: Final = 1

SERVER_OPTIONS: Final = (
    "fastinter 200ms downinter 500ms fall 2 rise 1 "
    "observe layer4 error-limit 3 on-error mark-down pool-max-conn -1 pool-purge-delay 5s"
)
"""Said in full for every server, because `default-server` does not reach dynamic ones."""


class AdminState(StrEnum):
    """What an administrator asked of a server."""

    READY = "ready"
    DRAIN = "drain"
    MAINT = "maint"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSpec:
    """A server as it is declared, in a configuration file or at runtime.

    Attributes:
        number: the numeric id, unique in its pool; it decides the place on a hash ring.
        address: `host:port`, or `unix@PATH` for a socket on this machine.
        weight: 1 to 256.
        maxconn: requests that are sent at once; the others wait in HAProxy.
        check_interval_s: seconds between two health checks of a server that is up.
        check_at: where health checks go, as `address`; None means `address` itself.
    """

    name: str
    number: int
    address: str
    weight: int
    maxconn: int
    check_interval_s: int = CHECK_INTERVAL_S
    check_at: str | None = None

    def __post_init__(self) -> None:
        """Refuse weights that HAProxy would refuse or that would mean no traffic."""
        if not WEIGHT_MIN <= self.weight <= WEIGHT_MAX:
            raise ValueError(f"weight {self.weight} of {self.name} is not within 1 to 256")
        if any(c.isspace() or c == ";" for c in f"{self.name}{self.address}{self.check_at}"):
            raise ValueError(f"server {self.name!r} at {self.address!r} must be plain tokens")

    def keywords(self) -> str:
        """Render everything after `server <name>`."""
        return (
            f"{self.address} id {self.number} weight {self.weight} "
            f"maxconn {self.maxconn} check{self._check_address()}"
            f" inter {self.check_interval_s}s {SERVER_OPTIONS}"
        )

    def _check_address(self) -> str:
        """Render where checks go; a port is a keyword of its own."""
        if self.check_at is None or self.check_at == self.address:
            return ""
        if self.check_at.startswith("unix@"):
            return f" addr {self.check_at}"
        host, _, port = self.check_at.rpartition(":")
        return f" addr {host} port {port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRef:
    """Names one server of one pool."""

    pool: str
    name: str

    def __str__(self) -> str:
        """Render `<pool>/<name>`."""
        return f"{self.pool}/{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddServer:
    """Create a server; it starts in maintenance."""

    pool: str
    server: ServerSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class EnableHealth:
    """Start a server's health checks, which `add server` only configures."""

    ref: ServerRef


@dataclass(frozen=True, slots=True, kw_only=True)
class SetServerState:
    """Set a server's admin state."""

    ref: ServerRef
    state: AdminState


@dataclass(frozen=True, slots=True, kw_only=True)
class SetServerWeight:
    """Set a server's weight, which moves its share on a hash ring too."""

    ref: ServerRef
    weight: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SetServerMaxconn:
    """Set how many requests a server gets at once."""

    ref: ServerRef
    maxconn: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ShutdownSessions:
    """Cut everything that runs on a server."""

    ref: ServerRef


@dataclass(frozen=True, slots=True, kw_only=True)
class DelServer:
    """Delete a server; refused until it is in maintenance without any connection."""

    ref: ServerRef


@dataclass(frozen=True, slots=True, kw_only=True)
class PrepareMap:
    """Open a new version of a map beside the one that is served."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AddToMap:
    """Add entries to a prepared version; the whole command must be below HAProxy's bufsize."""

    file: str
    version: int
    entries: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitMap:
    """Serve a prepared version instead of the present one, at once and whole."""

    file: str
    version: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AddMapEntry:
    """Give one more key to the version that is served; HAProxy does not look whether it is new."""

    file: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetMapEntry:
    """Change the value of a key of the version that is served."""

    file: str
    key: str
    value: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DelMapEntry:
    """Take a key from the version that is served."""

    file: str
    key: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SetCertificate:
    """Offer another content for a certificate file; it is served once it is committed.

    Attributes:
        file: as the configuration names it.
        pem: certificate, chain and private key; empty lines in it are left out.
    """

    file: str
    pem: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitCertificate:
    """Serve the offered content to every new connection."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AbortCertificate:
    """Forget the offered content."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowInfo:
    """Ask for the running program's facts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowStat:
    """Ask for the counters of every pool and server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowServersState:
    """Ask for the admin and operational state of every server."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowMaps:
    """Ask which maps there are, with their versions and sizes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowMap:
    """Ask for every entry of one map."""

    file: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ShowHolds:
    """Ask how many requests each pool holds; answered by the script in `hold.py`."""


ServerCommand = (
    AddServer
    | EnableHealth
    | SetServerState
    | SetServerWeight
    | SetServerMaxconn
    | ShutdownSessions
    | DelServer
)
MapCommand = PrepareMap | AddToMap | CommitMap
MapEdit = AddMapEntry | SetMapEntry | DelMapEntry
CertificateCommand = SetCertificate | CommitCertificate | AbortCertificate
Query = ShowInfo | ShowStat | ShowServersState | ShowMaps | ShowMap | ShowHolds
RuntimeCommand = ServerCommand | MapCommand | MapEdit | CertificateCommand | Query
