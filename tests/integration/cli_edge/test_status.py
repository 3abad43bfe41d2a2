"""`status` tries NATS: one that answers may store nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import nats

from libs.bus.nats_bus import connect
from libs.bus.permissions import ADMIN, CLI
from libs.contracts.subjects import TARGETS_BUCKET, bucket_stream
from libs.testing.nats_server import NatsServer, nats_server
from tools.cli.observe import read_buckets, try_writing


async def test_a_bus_that_stores_nothing_is_noticed(tmp_path: Path) -> None:
    """Although it gives all that it has; a try leaves no record."""
    async with nats_server(tmp_path) as server, connect(server.settings(CLI)) as bus:
        well = await try_writing(bus)
        await fill_up(server, TARGETS_BUCKET)
        full = await try_writing(bus)
        targets = await read_buckets(bus, (TARGETS_BUCKET,))

    assert (well.answers, well.takes_writes) == (True, True)
    assert (full.answers, full.takes_writes) == (True, False)
    assert full.cause
    assert targets == []


async def fill_up(server: NatsServer, bucket: str) -> None:
    """Leave a bucket no room for another value, as a full disk does."""
    found = server.credentials(ADMIN)
    client = await nats.connect(found.url, user=found.user, password=found.password)
    stream = client.jetstream()
    config = (await stream.stream_info(bucket_stream(bucket))).config
    await stream.update_stream(replace(config, max_bytes=1))
    await client.close()
