"""A Ray node for the whole suite, and for each test a NATS server and the autoscaler's process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.testing.autoscaler_process import AutoscalerProcess
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.ray_node import RayNode, ray_node
from services.autoscaler.adapters.ray_serve.client import (
    RayServeClient,
    ServeLimits,
    open_client,
)
from services.autoscaler.domain.applications import DeployApplications

REMOVED_WITHIN_S = 60.0


@pytest.fixture(scope="session")
def head() -> Iterator[RayNode]:
    """Run one Ray node; it can import the stand-in application beside this file."""
    with ray_node(import_folders=[Path(__file__).parent]) as running:
        yield running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[NatsServer]:
    """Run a provisioned NATS server."""
    async with nats_server(tmp_path) as running:
        yield running


@pytest.fixture
async def serve(head: RayNode) -> AsyncIterator[RayServeClient]:
    """Look at Serve from outside; begin and end without applications."""
    async with open_client(head.dashboard_url, token=head.token, limits=ServeLimits()) as client:
        await _removed(client)
        yield client
        await _removed(client)


async def _removed(client: RayServeClient) -> None:
    await client.deploy(DeployApplications(applications=(), changed=()))
    async with asyncio.timeout(REMOVED_WITHIN_S):
        while True:
            if not await client.observe():
                return
            await asyncio.sleep(0.1)


@pytest.fixture
async def autoscaler(
    head: RayNode, server: NatsServer, serve: RayServeClient, tmp_path: Path
) -> AsyncIterator[AutoscalerProcess]:
    """Offer the autoscaler as a process of its own, not started yet.

    It needs `serve`, so that it has ended when applications are removed: it would deploy them anew.
    """
    ours = AutoscalerProcess(head=head, server=server, folder=tmp_path)
    try:
        yield ours
    finally:
        await ours.kill()
