"""Reads what an edge's exporters print, as Prometheus does."""

from __future__ import annotations

from typing import Final

import httpx
from prometheus_client.parser import text_string_to_metric_families

from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually
from libs.testing.free_port import free_port
from libs.testing.records import a_model

PREFIX: Final = "sluice_router_config_"

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]
"""Values by the sample's name and its labels."""


async def start_measured(world: EdgeWorld) -> None:
    """Start router-config with both exporters, and one replica of model `m`."""
    await world.router_config.start(metrics_port=free_port(), stats_port=free_port())
    await world.until_up()
    await world.declare(a_model())
    await world.join(await world.replica("r1"))
    await world.until_servers(1)
    await world.until_answers(200)


async def page(world: EdgeWorld, path: str = "/metrics", *, port: str = "metrics_port") -> str:
    """Fetch one page of an exporter, named by the setting of its port."""
    async with httpx.AsyncClient() as client:
        found = await client.get(f"http://127.0.0.1:{world.router_config.settings[port]}{path}")
    return found.raise_for_status().text


async def scrape(world: EdgeWorld, *, port: str = "metrics_port") -> Samples:
    """Read every value of an exporter."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(await page(world, port=port))
        for sample in family.samples
    }


async def value(world: EdgeWorld, name: str, **labels: str) -> float | None:
    """Return one of router-config's values; None where it prints none."""
    return (await scrape(world)).get((PREFIX + name, frozenset(labels.items())))


async def until_value(world: EdgeWorld, wanted: float, name: str, **labels: str) -> None:
    """Wait until one of router-config's values is this; an exporter that is away has none."""

    async def reached() -> bool:
        try:
            return await value(world, name, **labels) == wanted
        except httpx.HTTPError:
            return False

    await eventually(reached, within_s=30, what=f"{name} {labels} at {wanted}")
