"""A few names of a large map change where they stand, in a real HAProxy and in the files.

- Whatever changed, HAProxy's map and the file hold what was wanted, and nothing else.
- A few names among many make no new version of the map; many names do, and so does a small map.
- A map that somebody edited by hand meanwhile is put right.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from libs.contracts.ids import ModelName
from libs.haproxy.client import HaproxyClient
from libs.haproxy.commands import DelMapEntry, ShowMap, ShowMaps
from libs.haproxy.config import MODELS_MAP
from libs.haproxy.tables import MapInfo, parse_map, parse_maps
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder
from services.router_config.adapters.haproxy.codec import (
    EDITS_MAX,
    REPLACED_NAMES_MAX,
    pool_configs,
)
from services.router_config.adapters.haproxy.edge import HaproxyEdge
from services.router_config.adapters.haproxy.files import StateFiles
from services.router_config.domain.model import FrontEnds, PoolName, Route, Routes
from services.router_config.domain.plan import Publish
from services.router_config.ports import Done, Refused, SavedRouting

MANY: Final = REPLACED_NAMES_MAX + 500
ROUTES: Final = (
    Route(pool=PoolName("lc0"), model=ModelName("m")),
    Route(pool=PoolName("px0"), model=ModelName("n")),
    Route(pool=PoolName("lc0"), model=ModelName("m"), front_ends=FrontEnds.SPLIT),
)

Names = dict[str, Route]


@pytest.fixture
async def client() -> AsyncIterator[HaproxyClient]:
    """Run a HAProxy without servers."""
    with short_folder() as folder:
        config = edge_config(folder)
        async with real_haproxy(config, pool_configs((), pools_per_kind=2)):
            yield HaproxyClient(config.admin_socket, timeout_s=10)


@pytest.fixture
async def edge(client: HaproxyClient) -> HaproxyEdge:
    """Return router-config's eyes and hands, which have looked once; time stands still."""
    sees = HaproxyEdge(client, addresses={}, now=lambda: 0.0)
    await sees.observe()
    return sees


def names(count: int) -> Names:
    """Return names of the first model."""
    return {f"name-{index}": ROUTES[0] for index in range(count)}


def varied(before: Names, *, seed: int) -> Names:
    """Add, move and remove up to five names each, wherever they stand."""
    chance = random.Random(seed)
    picked = chance.sample(sorted(before), 10)
    after = {name: route for name, route in before.items() if name not in picked[:5]}
    after |= dict.fromkeys(picked[5 : 5 + chance.randint(0, 5)], chance.choice(ROUTES))
    return after | {f"new/{seed}-{index}": ROUTES[1] for index in range(chance.randint(0, 5))}


async def publish(edge: HaproxyEdge, routes: Names) -> None:
    """Bring HAProxy there."""
    publish = Publish(routes=Routes.of(routes), listing="{}")
    assert isinstance(await edge.apply(publish), Done)


async def shown(client: HaproxyClient) -> dict[str, str]:
    """Return HAProxy's own map, in which no key may stand twice."""
    entries = parse_map(await client.query(ShowMap(file=MODELS_MAP)))
    assert len(dict(entries)) == len(entries)
    return dict(entries)


async def info(client: HaproxyClient) -> MapInfo:
    """Return the map's version and size."""
    return next(i for i in parse_maps(await client.query(ShowMaps())) if i.file == MODELS_MAP)


def written(routes: Names) -> dict[str, str]:
    """Return what a map of these should hold."""
    return {name: f"{r.pool}:{r.model}:{r.front_ends}" for name, r in routes.items()}


async def test_a_few_names_among_many_change_where_they_stand(
    client: HaproxyClient, edge: HaproxyEdge
) -> None:
    """Whatever they are: new, moved or gone; what is seen next is what was written."""
    routes = names(MANY)
    await publish(edge, routes)
    version = (await info(client)).version

    for seed in range(10):
        routes = varied(routes, seed=seed)
        await publish(edge, routes)

        seen = (await edge.observe()).observed
        assert await shown(client) == written(routes)
        assert seen.routes == routes
        assert not seen.foreign
    assert (await info(client)).version == version


@pytest.mark.parametrize(
    ("before", "after"),
    [(MANY, MANY + EDITS_MAX + 1), (REPLACED_NAMES_MAX, REPLACED_NAMES_MAX + 1)],
)
async def test_many_names_or_a_small_map_are_replaced_in_one_commit(
    client: HaproxyClient, edge: HaproxyEdge, before: int, after: int
) -> None:
    """No request sees a part of a change that is not small."""
    await publish(edge, names(before))
    version = (await info(client)).version

    await publish(edge, names(after))

    assert (await info(client)).version > version
    assert await shown(client) == written(names(after))


async def test_names_that_a_command_could_not_carry_are_replaced_with_the_others(
    client: HaproxyClient, edge: HaproxyEdge
) -> None:
    """An alias may end with what makes HAProxy wait for a payload; nobody waits."""
    odd = {"a<<": ROUTES[0], "b;c": ROUTES[0], "größe": ROUTES[1]}
    await publish(edge, names(MANY))

    for wanted in (names(MANY) | odd, names(MANY)):
        await publish(edge, wanted)

        assert await shown(client) == written(wanted)


async def test_another_reader_finds_what_was_changed_in_place(
    client: HaproxyClient, edge: HaproxyEdge
) -> None:
    """A router-config that starts beside the same HAProxy."""
    await publish(edge, names(MANY))
    await publish(edge, routes := varied(names(MANY), seed=1))

    other = HaproxyEdge(client, addresses={}, now=lambda: 0.0)

    assert (await other.observe()).observed.routes == routes


async def test_a_map_that_is_not_what_it_was_taken_for_is_read_again(
    client: HaproxyClient, edge: HaproxyEdge
) -> None:
    """Somebody removed by hand what was to be removed, and nobody has looked since."""
    await publish(edge, names(MANY))
    await client.execute_all((DelMapEntry(file=MODELS_MAP, key="name-0"),))
    wanted = {name: route for name, route in names(MANY).items() if name != "name-0"}

    refused = await edge.apply(Publish(routes=Routes.of(wanted), listing="{}"))
    seen = (await edge.observe()).observed

    assert isinstance(refused, Refused)
    assert seen.routes == wanted


def test_the_file_follows_a_few_names_among_many(tmp_path: Path) -> None:
    """A HAProxy that starts from it knows what the other knew."""
    files = StateFiles(tmp_path, pools_per_kind=1)
    routes = names(MANY)
    for seed in range(10):
        saved = SavedRouting(servers=(), routes=Routes.of(routes), listing="", access=None)
        files.save(saved, files.counters())

        lines = (tmp_path / MODELS_MAP).read_text().splitlines()
        found = dict(line.rsplit(" ", 1) for line in lines)
        assert (found, len(lines)) == (written(routes), len(routes))
        routes = varied(routes, seed=seed)
