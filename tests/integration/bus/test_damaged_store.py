"""A NATS whose store is damaged on disk: what is made again stays, and what is whole comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.bus.nats_bus import connect
from libs.bus.permissions import ADMIN
from libs.bus.provision import provision
from libs.contracts.subjects import MODELS_BUCKET
from libs.testing.nats_server import NatsServer
from libs.testing.records import a_model


async def names(server: NatsServer) -> set[str]:
    """Return the stored models' names."""
    async with connect(server.settings(ADMIN)) as bus, bus.view(MODELS_BUCKET) as view:
        return set(view.snapshot().entries)


def damage(folder: Path, pattern: str) -> None:
    """Change the first byte of every file of a name."""
    for file in folder.rglob(pattern):
        file.write_bytes(b"\x00" + file.read_bytes()[1:])


@pytest.mark.parametrize(("pattern", "kept"), [("meta.inf", {"m", "n"}), ("*.blk", set[str]())])
async def test_a_damaged_store_is_whole_again_after_it_was_provisioned(
    tmp_path: Path, pattern: str, kept: set[str]
) -> None:
    """Also after the next restart, at which the server would find the same damage again."""
    server = NatsServer(tmp_path)
    await server.start()
    async with connect(server.settings(ADMIN)) as bus:
        for name in ("m", "n"):
            await bus.put(MODELS_BUCKET, name, a_model(name))
    await server.kill()
    damage(tmp_path, pattern)

    await server.start()
    await server.kill()
    await server.start(provisioned=False)

    try:
        assert await names(server) == kept
        await provision(server.settings(ADMIN))
        assert await names(server) == kept
    finally:
        await server.stop()
