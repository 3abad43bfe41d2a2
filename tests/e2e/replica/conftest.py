"""One replica for all the tests of a file: its start costs most of a minute."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from libs.testing.replica_world import ReplicaWorld, replica_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ReplicaWorld]:
    """Run a replica and everything that it needs."""
    async with replica_world(tmp_path_factory.mktemp("replica")) as made:
        yield made
