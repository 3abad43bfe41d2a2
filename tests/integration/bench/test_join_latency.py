"""The measuring of joins, against a real edge."""

from __future__ import annotations

import asyncio

import pytest

from libs.bus.permissions import REPLICA
from libs.testing.edge_world import edge_world
from libs.testing.records import a_model
from tools.bench.join import JoinReport, measure_joins, percentile


async def test_joins_are_measured_and_leave_nothing_behind() -> None:
    """Every join is reached, no request fails, and the edge is as it was."""
    async with edge_world() as world:
        await world.declare(a_model("resident"))
        await world.until_listed("resident")
        file = world.nats.write_credentials(REPLICA, world.folder / "replica.json")

        report = await asyncio.to_thread(
            measure_joins, 5, api_url=str(world.http.base_url), credentials_file=file
        )
        await world.until_servers(0)
        listed = (await world.http.get("/v1/models")).json()

    assert len(report.latencies_ms) == 5
    assert report.failed_requests == 0
    assert 0 < report.p50_ms <= report.p99_ms <= report.max_ms
    assert [each["id"] for each in listed["data"]] == ["resident"]


@pytest.mark.parametrize(("rank", "value"), [(50, 2.0), (99, 4.0), (100, 4.0), (25, 1.0)])
def test_percentiles_are_values_that_were_measured(rank: float, value: float) -> None:
    """Nothing is interpolated."""
    assert percentile([4.0, 1.0, 3.0, 2.0], rank) == value


def test_a_report_names_the_slowest() -> None:
    """With few joins the 99th percentile is the slowest."""
    report = JoinReport(latencies_ms=(5.0, 7.0, 6.0), failed_requests=0)

    assert (report.p50_ms, report.p99_ms, report.max_ms) == (6.0, 7.0, 7.0)
