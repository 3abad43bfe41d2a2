"""Which requests are traced: about so many a second at most, and whatever a client traces."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from libs.haproxy.config import EdgeConfig
from libs.testing.fake_replica import FakeReplica
from libs.testing.real_haproxy import edge_config

COMPLETIONS = "/v1/completions"
REQUESTS = 200
TRACED = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}


@pytest.fixture
def config(folder: Path) -> EdgeConfig:
    """Trace one request a second."""
    return replace(edge_config(folder), traces_per_s_max=1)


async def ask(http: httpx.AsyncClient, headers: dict[str, str] | None = None) -> bool:
    """Send a request; return whether it was traced."""
    answer = await http.post(COMPLETIONS, json={"model": "m"}, headers=headers)
    assert answer.status_code == 200
    return "x-sluice-trace-id" in answer.headers


async def test_many_requests_in_a_second_are_sampled(
    http: httpx.AsyncClient, replica: FakeReplica
) -> None:
    """The first one is traced, most others are not, and the replica is told the same."""
    traced = [await ask(http) for _ in range(REQUESTS)]

    assert traced[0]
    assert sum(traced) < REQUESTS / 2
    flags = [seen.headers["traceparent"].endswith("-01") for seen in replica.seen]
    assert flags == traced


async def test_a_trace_that_a_client_has_begun_is_followed_whatever_the_rate(
    http: httpx.AsyncClient,
) -> None:
    """Its other spans exist already."""
    for _ in range(REQUESTS // 4):
        await ask(http)

    assert all([await ask(http, TRACED) for _ in range(REQUESTS // 4)])
