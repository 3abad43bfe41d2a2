"""The command line's way to the bus."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.settings import BusSettings, read_credentials
from libs.errors import PeerUnreachableError
from tools.cli.stack.layout import Layout
from tools.cli.stack.record import require


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
        message = f"NATS at {record.nats_url} does not answer; see `./sluice logs nats` ({exc})"
        raise PeerUnreachableError(message) from exc
