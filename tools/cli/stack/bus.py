"""The command line's way to the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.provision import provision
from libs.bus.settings import BusSettings, read_credentials
from libs.errors import PeerUnreachableError
from tools.cli.stack.layout import Layout
from tools.cli.stack.record import StackRecord, require


async def make_buckets(layout: Layout) -> None:
    """Make the buckets that a broker has lost; where it has them all, nothing changes.

    Raises:
        NoStackError: no stack runs here.
        PeerUnreachableError: its broker does not answer.
    """
    record = require(layout.record)
    settings = BusSettings(credentials=read_credentials(layout.credentials("admin")), name="cli")
    try:
        await provision(settings)
    except PeerUnreachableError as exc:
        raise PeerUnreachableError(_explained(exc, record)) from exc


@asynccontextmanager
async def stack_bus(layout: Layout) -> AsyncIterator[NatsBus]:
    """Connect as the user `cli`.

    Raises:
        NoStackError: no stack runs here.
        PeerUnreachableError: its broker does not answer.
    """
    record = require(layout.record)
    settings = BusSettings(credentials=read_credentials(layout.credentials("cli")), name="cli")
    try:
        async with connect(settings) as bus:
            yield bus
    except PeerUnreachableError as exc:
        raise PeerUnreachableError(_explained(exc, record)) from exc


def _explained(exc: PeerUnreachableError, record: StackRecord) -> str:
    """Say what a person can do; requests are served meanwhile."""
    if "bucket" in exc.details:
        return (
            f"NATS at {record.nats_url} does not give the bucket {exc.details['bucket']};"
            " where it was lost, requests are served from what was known, and"
            " `./sluice apply FILE` makes it again"
        )
    return f"NATS at {record.nats_url} does not answer; see `./sluice logs nats` ({exc})"
