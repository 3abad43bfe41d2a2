"""Where a churn run happens: an edge of its own without Ray, or the stack that runs here."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

from libs.bus.nats_bus import connect
from libs.bus.permissions import ADMIN, CLI, REPLICA
from libs.bus.ports import StateStore
from libs.bus.settings import BusSettings, Credentials, read_credentials
from libs.contracts.reports import RoutingStatus
from libs.haproxy.binary import find_haproxy
from libs.testing.edge_world import EDGE, edge_world, read_status
from tools.cli.stack.layout import Layout
from tools.cli.stack.programs import EDGE_ID
from tools.cli.stack.record import require

_PATIENCE_S: Final = 10.0
"""A write that a busy disk holds up shows in the times that are measured, and ends no run."""


class Against(StrEnum):
    """Which edge is measured."""

    OWN = "own"
    RUNNING = "running"


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """What a run needs of an edge.

    Attributes:
        leases: a bus that may write leases.
        reports: a bus that may read the routing status.
        admin_socket: HAProxy's runtime API.
        edge_id: under which it reports.
    """

    api_url: str
    leases: StateStore
    reports: StateStore
    admin_socket: Path
    edge_id: str = EDGE

    async def status(self) -> RoutingStatus | None:
        """Return what the edge says of itself; None where it says nothing."""
        return await read_status(self.reports, edge_id=self.edge_id)


@asynccontextmanager
async def own_edge() -> AsyncIterator[Edge]:
    """Run NATS, router-config and HAProxy in a temporary folder while the body runs.

    Raises:
        UsageError: there is no HAProxy that can be used.
    """
    find_haproxy(None)
    async with edge_world() as world, connect(_settings(world.nats.credentials(ADMIN))) as bus:
        yield Edge(
            api_url=str(world.http.base_url),
            leases=bus,
            reports=bus,
            admin_socket=world.folder / "run" / "admin.sock",
        )


@asynccontextmanager
async def running_edge(layout: Layout) -> AsyncIterator[Edge]:
    """Use the edge of the stack that runs here.

    Raises:
        NoStackError: none runs here.
        PeerUnreachableError: its bus does not answer.
    """
    record = require(layout.record)
    async with AsyncExitStack() as stack:
        buses = {
            user: await stack.enter_async_context(
                connect(_settings(read_credentials(layout.credentials(user))))
            )
            for user in (REPLICA, CLI)
        }
        yield Edge(
            api_url=record.api_url,
            leases=buses[REPLICA],
            reports=buses[CLI],
            admin_socket=layout.run / "admin.sock",
            edge_id=EDGE_ID,
        )


def _settings(credentials: Credentials) -> BusSettings:
    return BusSettings(credentials=credentials, name="bench-churn", request_timeout_s=_PATIENCE_S)
