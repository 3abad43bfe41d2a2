"""What both exporters of a healthy edge print; one edge serves all of these tests."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import pytest_asyncio

from libs.testing.edge_world import EdgeWorld, edge_world
from libs.testing.exporters import page, scrape, start_measured, until_value, value
from services.router_config.metrics import CATALOGUE

pytestmark = pytest.mark.asyncio(loop_scope="module")

DASHBOARD = Path(__file__).parents[3] / "deploy" / "grafana" / "sluice.json"
POOL = re.compile(r"(?:lc|px)\d")
NAME = re.compile(r"\b(?:sluice_router_config_|haproxy_)\w+")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def measured() -> AsyncIterator[EdgeWorld]:
    """Offer an edge with both exporters and one replica."""
    async with edge_world(start=False) as made:
        await start_measured(made)
        yield made


async def test_every_metric_of_the_catalogue_is_printed(measured: EdgeWorld) -> None:
    """Each with its meaning; counters are there before they count anything."""
    text = await page(measured)

    for metric in CATALOGUE:
        assert f"# HELP {metric.full_name} {metric.meaning}\n" in text
        assert re.search(rf"^{metric.full_name}(_bucket)?[ {{]", text, re.MULTILINE), metric


async def test_a_healthy_edge_says_so_in_numbers(measured: EdgeWorld) -> None:
    """Membership, commands and the bus."""
    await until_value(measured, 1, "servers", pool="lc0", state="up")

    assert await value(measured, "leases", state="ready") == 1
    assert await value(measured, "bus_connected") == 1
    assert await value(measured, "bus_away_seconds") == 0
    assert await value(measured, "commands_total", action="join") == 3
    assert await value(measured, "actions_refused_total", action="join") == 0
    assert (await value(measured, "apply_duration_seconds_count") or 0) >= 1
    for reason in ("edge", "certificate", "bus", "tenants"):
        assert await value(measured, "degraded", reason=reason) == 0
    for what in ("server", "routes", "tenants"):
        assert await value(measured, "drift_found_total", what=what) == 0
    for reason in ("config_changed", "pools_exhausted"):
        assert await value(measured, "reloads_total", reason=reason) == 0
    status = await measured.status()
    assert status is not None
    assert await value(measured, "routing_revision") == status.revision


async def test_prometheus_is_told_where_the_replicas_are(measured: EdgeWorld) -> None:
    """As its HTTP service discovery reads it."""
    listed = json.loads(await page(measured, "/replicas"))

    (group,) = listed
    assert group["targets"] == [f"127.0.0.1:{measured.router_config.settings['metrics_port']}"]
    assert (group["labels"]["model"], group["labels"]["replica"]) == ("m", "r1")
    assert 'front_end="python"' in await page(measured, group["labels"]["__metrics_path__"])


async def test_metrics_of_both_front_ends_are_handed_on(measured: EdgeWorld) -> None:
    """From sockets that Prometheus could not open; one that is away hides nothing of the other."""
    pair = await measured.front_ends("org")
    text = '# HELP vllm:x X.\n# TYPE vllm:x gauge\nvllm:x{a="b"} %d\n'
    pair.rust.metrics, pair.python.metrics = text % 1, text % 2
    await measured.join_pair(pair, model="other")
    await measured.until_listed("other")

    found = await page(measured, "/replicas/other/org/metrics")
    await pair.rust.kill()
    alone = await page(measured, "/replicas/other/org/metrics")

    assert 'vllm:x{front_end="rust",a="b"} 1\nvllm:x{front_end="python",a="b"} 2\n' in found
    assert found.count("# TYPE vllm:x") == 1
    assert 'sluice_replica_front_end_up{front_end="rust"} 0\n' in alone
    assert 'vllm:x{front_end="python",a="b"} 2\n' in alone


@pytest.mark.parametrize("path", ["/replicas/m/r9/metrics", "/replicas/m/metrics", "/replicas/x"])
async def test_only_known_replicas_are_asked(measured: EdgeWorld, path: str) -> None:
    """A path names a replica; it is no way to any other address."""
    with pytest.raises(httpx.HTTPStatusError, match="404"):
        await page(measured, path)


async def test_the_dashboard_asks_for_nothing_that_no_exporter_prints(
    measured: EdgeWorld,
) -> None:
    """Every name in every query, of router-config and of HAProxy."""
    samples = {**await scrape(measured), **await scrape(measured, port="stats_port")}
    printed = {name for name, _ in samples}

    asked = {name for query in dashboard_queries() for name in NAME.findall(query)}

    assert len(asked) > 10
    assert asked - printed == set()


async def test_the_dashboard_shows_every_pool_and_its_twin(measured: EdgeWorld) -> None:
    """Its patterns match the names that HAProxy prints, as a whole: Prometheus anchors them."""
    samples = await scrape(measured, port="stats_port")
    proxies = {dict(labels).get("proxy", "") for _, labels in samples}
    pools = set(filter(POOL.match, proxies))

    patterns = {
        pattern
        for query in dashboard_queries()
        for pattern in re.findall(r'proxy=~"([^"]+)"', query)
    }

    assert pools >= {"lc0", "lc0-py", "px0", "px0-py"}
    assert patterns
    assert all(re.fullmatch(pattern, pool) for pattern in patterns for pool in pools)


def dashboard_queries() -> list[str]:
    """Return every query of the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]
