"""The suite's subjects: Serve's REST API in memory, and a real Ray head node."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from libs.testing.fake_serve import FakeServe
from libs.testing.ray_node import RayNode, ray_node
from services.autoscaler.adapters.ray_serve.client import (
    RayServeClient,
    ServeLimits,
    open_client,
)
from services.autoscaler.domain.applications import DeployApplications

STANDIN = Path(__file__).parents[2] / "integration" / "autoscaler"


@pytest.fixture(scope="session")
def head() -> Iterator[RayNode]:
    """Run one Ray node for the whole suite; it can import the stand-in application."""
    with ray_node(import_folders=[STANDIN]) as running:
        yield running


@pytest.fixture(params=["fake", "ray"])
async def serve(request: pytest.FixtureRequest) -> AsyncIterator[RayServeClient]:
    """Offer the fake first, then the real one, without any application."""
    if request.param == "fake":
        async with FakeServe(token="s3cret").client() as http:
            yield RayServeClient(http, ServeLimits())
        return
    node: RayNode = request.getfixturevalue("head")
    async with open_client(node.dashboard_url, token=node.token, limits=ServeLimits()) as client:
        await client.deploy(DeployApplications(applications=(), changed=()))
        yield client
        await client.deploy(DeployApplications(applications=(), changed=()))


@pytest.fixture(params=["fake", "ray"])
async def stranger(request: pytest.FixtureRequest) -> AsyncIterator[RayServeClient]:
    """Offer a client with a token that is not the cluster's."""
    if request.param == "fake":
        async with FakeServe(token="s3cret").client() as http:
            http.headers["Authorization"] = "Bearer wrong"
            yield RayServeClient(http, ServeLimits())
        return
    node: RayNode = request.getfixturevalue("head")
    async with open_client(node.dashboard_url, token="wrong", limits=ServeLimits()) as client:
        yield client
