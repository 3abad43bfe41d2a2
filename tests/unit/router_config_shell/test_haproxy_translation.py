"""Between routing's words and HAProxy's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from libs.contracts.lease import Endpoint, UnixEndpoint
from libs.haproxy import config as ha_config
from libs.haproxy.codec import render
from libs.haproxy.commands import AdminState, DelMapEntry
from libs.haproxy.config import Balance, render_pools
from libs.haproxy.tables import ServerState, Stat
from services.router_config.adapters.haproxy.codec import (
    busy_pools,
    listing_entries,
    observed_servers,
    pool_configs,
    pool_demand,
    read_addresses,
    read_routes,
    route_edits,
    route_entries,
    server_commands,
)
from services.router_config.domain import model
from services.router_config.domain.model import (
    Admin,
    Health,
    Observed,
    ObservedServer,
    PoolName,
    ServerName,
    twin_of,
)
from services.router_config.domain.plan import (
    Adjust,
    Drain,
    Join,
    Resume,
    Retire,
    Weigh,
)
from services.router_config.domain.route_changes import route_changes

Seen = Callable[..., ObservedServer]
Edge = Callable[..., Observed]

STATE = ServerState(
    pool="lc0",
    name="r1.aa",
    number=7,
    host="127.0.0.1",
    port=8000,
    admin=AdminState.DRAIN,
    up=True,
    checked=True,
    weight=16,
)
STAT = Stat(pool="lc0", server="r1.aa", queued=1, sessions=2, maxconn=64, refused_count=0)
POOL = Stat(pool="lc0", server=None, queued=4, sessions=2, maxconn=None, refused_count=9)


def lines(action: Join | Resume | Adjust | Weigh | Drain | Retire) -> list[str]:
    """Return the first words of each command."""
    return [" ".join(render(c).split()[:5]) for c in server_commands(action)]


def test_a_join_is_add_check_and_ready_in_this_order(seen: Seen) -> None:
    """A server takes requests only when it is checked."""
    added, checked, ready = lines(Join(server=seen().server))

    assert added.startswith("add server lc0/r1.aa 127.0.0.1:8000")
    assert checked == "enable health lc0/r1.aa"
    assert ready == "set server lc0/r1.aa state ready"


def test_a_retirement_is_maintenance_then_deletion(seen: Seen) -> None:
    """With a cut between them where time is over."""
    key = seen().server.key

    assert lines(Retire(key=key)) == ["set server lc0/r1.aa state maint", "del server lc0/r1.aa"]
    assert lines(Retire(key=key, cut=True))[1] == "shutdown sessions server lc0/r1.aa"


def test_other_actions_are_what_they_say(seen: Seen) -> None:
    """Each about one server."""
    server = seen().server

    assert lines(Drain(key=server.key)) == ["set server lc0/r1.aa state drain"]
    assert lines(Resume(key=server.key))[-1] == "set server lc0/r1.aa state ready"
    assert lines(Adjust(server=server)) == ["set maxconn server lc0/r1.aa 64"]
    assert lines(Weigh(key=server.key, weight=9)) == ["set server lc0/r1.aa weight 9"]


def test_routes_survive_their_way_through_a_map(an_edge: Edge) -> None:
    """What is written is what is read."""
    routes = an_edge(routes={"m": ("lc0", "m"), "a/b": ("px1", "n")}).routes

    found = read_routes(route_entries(routes))

    assert (found.routes, found.foreign) == (routes, False)


def test_what_we_never_write_is_foreign() -> None:
    """Values without a pool or model, and a key's second entry."""
    assert read_routes((("m", "lc0"),)).foreign
    assert read_routes((("m", "lc0:m"), ("m", "lc1:m"))).foreign


def test_the_listing_has_one_key_or_none() -> None:
    """An empty one is no entry."""
    assert listing_entries("[]") == (("models", "[]"),)
    assert listing_entries("") == ()


def test_single_names_are_added_set_and_deleted(an_edge: Edge) -> None:
    """New ones, moved ones, gone ones, in this order."""
    before = an_edge(routes={"m": ("lc0", "m"), "old": ("lc0", "m")}).routes
    after = an_edge(routes={"m": ("px0", "m"), "a/b": ("px0", "m")}).routes

    changes = route_changes(before, after, at_most=3)

    assert changes is not None
    edits = route_edits(changes)
    assert edits is not None
    assert [render(edit) for edit in edits] == [
        "add map models.map a/b px0:m:python\n",
        "set map models.map m px0:m:python\n",
        "del map models.map old\n",
    ]


@pytest.mark.parametrize("name", ["", "<<", "a<<", "a;b", "a b", "a\\", "a\nshow map", "größe"])
def test_a_name_that_could_mean_more_than_itself_is_in_no_command(an_edge: Edge, name: str) -> None:
    """HAProxy would wait for a payload, or take a part of it for a command: the map goes whole."""
    changes = route_changes(
        an_edge().routes, an_edge(routes={name: ("lc0", "m")}).routes, at_most=1
    )

    assert changes is not None
    assert route_edits(changes) is None
    with pytest.raises(ValueError, match="command line"):
        render(DelMapEntry(file="models.map", key=name))


def test_both_tables_make_one_server() -> None:
    """Counters and states are joined by pool and name."""
    (found,) = observed_servers([STATE], [STAT, POOL], {})

    assert found.server.endpoint == Endpoint(host="127.0.0.1", port=8000)
    assert (found.server.number, found.server.maxconn, found.weight) == (7, 64, 16)
    assert (found.admin, found.health, found.checked) == (Admin.DRAIN, Health.UP, True)
    assert (found.sessions, found.queued) == (2, 1)


def test_a_server_of_one_table_alone_is_left_for_the_next_look() -> None:
    """It joined or left between the two."""
    assert observed_servers([STATE], [POOL], {}) == ()


def test_a_pools_queue_includes_its_servers_queues() -> None:
    """HAProxy counts them apart."""
    (demand,) = pool_demand([STAT, POOL], {})

    assert (demand.pool, demand.queued, demand.refused_count) == ("lc0", 5, 9)


def test_a_pool_is_busy_while_any_request_is_in_it() -> None:
    """HAProxy counts those that are held, queued or between two tries among a pool's sessions."""
    twin = replace(POOL, pool="lc0-py", queued=0, sessions=1)
    idle = replace(POOL, pool="lc1", sessions=0)
    reader = replace(POOL, pool="large", sessions=3)

    assert busy_pools([STAT, POOL, twin, idle, reader]) == {"lc0", "lc0-py"}
    assert busy_pools([STAT, idle]) == frozenset()


@pytest.mark.parametrize(("holds", "held"), [({"lc0": 3, "lc7": 1}, 3), ({"lc7": 1}, 0), (None, 0)])
def test_a_pool_that_is_not_among_the_holds_holds_nothing(
    holds: dict[str, int] | None, held: int
) -> None:
    """Nor does one of a HAProxy that cannot hold."""
    (demand,) = pool_demand([STAT, POOL], holds)

    assert demand.held == held


def test_every_pool_is_declared_with_its_servers(seen: Seen) -> None:
    """So that HAProxy starts with them."""
    pools = pool_configs([seen().server], pools_per_kind=2)

    assert [(pool.name, pool.balance) for pool in pools] == [
        ("lc0", Balance.LEAST_LOADED),
        ("lc1", Balance.LEAST_LOADED),
        ("px0", Balance.PREFIX),
        ("px1", Balance.PREFIX),
    ]
    assert [server.name for server in pools[0].servers] == ["r1.aa"]


def test_unix_sockets_survive_their_way_through_the_pools_file(seen: Seen) -> None:
    """HAProxy shows no path, so this file is what a restart knows them from."""
    main = replace(seen().server, endpoint=UnixEndpoint(path="/run/r.sock"))
    twin = replace(
        main,
        key=replace(main.key, pool=twin_of(main.key.pool)),
        endpoint=UnixEndpoint(path="/run/p.sock"),
    )
    lost = replace(main, key=replace(main.key, name=ServerName("r2.aa")), endpoint=None)

    text = render_pools(pool_configs([main, twin, lost], pools_per_kind=2))

    assert read_addresses(text) == {main.key: main.endpoint, twin.key: twin.endpoint}
    assert "r2.aa" not in text


def test_a_python_application_beside_rust_is_checked_less_often(seen: Seen) -> None:
    """A replica's only front end is checked every second, in whichever pool it is."""
    rust, alone = seen("r1.aa").server, seen("r2.aa").server
    twin = replace(
        rust,
        key=replace(rust.key, pool=twin_of(rust.key.pool)),
        endpoint=Endpoint(host="127.0.0.1", port=8001),
    )
    alone_twin = replace(alone, key=replace(alone.key, pool=twin_of(alone.key.pool)))

    (pool,) = pool_configs([rust, alone, twin, alone_twin], pools_per_kind=1)[:1]

    intervals = {spec.name: spec.check_interval_s for spec in pool.python_servers}
    assert intervals == {"r1.aa": 5, "r2.aa": 1}
    assert {spec.check_interval_s for spec in pool.servers} == {1}
    assert "inter 5s" in render(server_commands(Join(server=twin, is_second=True))[0])
    assert "inter 1s" in render(server_commands(Join(server=alone_twin))[0])


def test_a_server_on_a_unix_socket_is_known_by_its_name(seen: Seen) -> None:
    """Its address is None where nothing tells it."""
    there = replace(STATE, host=None, port=None)
    path = UnixEndpoint(path="/run/r.sock")

    (known,) = observed_servers([there], [STAT], {seen().server.key: path})
    (unknown,) = observed_servers([there], [STAT], {})

    assert (known.server.endpoint, unknown.server.endpoint) == (path, None)


def test_a_value_without_front_ends_is_read_and_written_again() -> None:
    """As maps of earlier releases have it; HAProxy takes every word but `split` for `python`."""
    found = read_routes((("m", "lc0:m"), ("x", "lc0:m:any"), ("y", "lc0:m:split")))

    assert found.foreign
    assert {name: str(route.front_ends) for name, route in found.routes.items()} == {
        "m": "python",
        "x": "python",
        "y": "split",
    }


def test_the_domain_and_haproxys_configuration_mean_the_same() -> None:
    """The domain imports nothing of HAProxy, so both name these words."""
    assert ha_config.TWIN_SUFFIX == model.TWIN_SUFFIX
    assert [each.value for each in ha_config.FrontEnds] == [e.value for e in model.FrontEnds]
    assert ha_config.twin_of("lc0") == twin_of(PoolName("lc0"))
