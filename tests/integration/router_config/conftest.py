"""router-config as a process, with a real nats-server, a real HAProxy and fake replicas."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from libs.testing.edge_world import EdgeWorld, edge_world


@pytest.fixture
async def world() -> AsyncIterator[EdgeWorld]:
    """Offer an edge that is up and knows nothing yet."""
    async with edge_world() as made:
        yield made


@pytest.fixture
async def idle_world() -> AsyncIterator[EdgeWorld]:
    """Offer the same before router-config was started."""
    async with edge_world(start=False) as made:
        yield made
