"""Whatever somebody did to a real HAProxy, looking and acting again brings it back.

- Any difference converges: after some rounds a plan has no step left.
- What is left then is what was there before the difference: servers, states, routes, listing.
- A round on that state changes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from libs.contracts.ids import ModelName
from libs.contracts.lease import Endpoint, FrontEnd, ReplicaLease, UnixEndpoint
from libs.contracts.model_spec import RoutingPolicy, RoutingSpec
from libs.haproxy.client import HaproxyClient
from libs.testing.real_haproxy import edge_config, real_haproxy, short_folder
from libs.testing.records import a_lease, a_model
from services.router_config.adapters.haproxy.codec import pool_configs
from services.router_config.adapters.haproxy.edge import HaproxyEdge
from services.router_config.adapters.haproxy.maps import MAP_REREAD_S
from services.router_config.domain.access import KnownTenants
from services.router_config.domain.desire import desire
from services.router_config.domain.model import (
    Known,
    Observed,
    PoolName,
    Server,
    ServerKey,
    ServerName,
    twin_of,
)
from services.router_config.domain.plan import Join, RoutingPlan, plan
from services.router_config.ports import Done, Outcome, Refused

POOLS: Final = 4


async def nobody_objects(joins: Sequence[Join]) -> Sequence[str]:
    """Take every replica for the one that is meant: none of them runs."""
    return [""] * len(joins)


ROUNDS_MAX: Final = 60
MODELS: Final = ("a", "b", "c")

SERVERS: Final = [f"{model}{number}.0a1b2c3d" for model in MODELS for number in range(2)]
SERVER_POOLS: Final = dict(zip(SERVERS, ("lc0", "lc0", "px0", "px0", "lc1", "lc1"), strict=True))
NAMES: Final = ("a", "b", "c", "alias-a", "alias-b", "alias-c", "foreign", "sp.ecial/x")

servers = st.builds(
    lambda name, twin: f"{SERVER_POOLS[name]}{twin}/{name}",
    st.sampled_from(SERVERS),
    st.sampled_from(["", "-py"]),
)
pools = st.sampled_from(["lc0", "lc1", "lc1-py", "lc3", "px0", "px2"])
names = st.sampled_from(NAMES)
values = st.sampled_from(
    ["lc0:a:any", "lc1:c:split", "px3:b:python", "lc2:nobody:any", "lc0:a", "lc0:a:x", "junk"]
)
edits = st.one_of(
    st.builds("set server {0} state maint; del server {0}".format, servers),
    st.builds(
        (
            "add server {0}/{1} 127.0.0.1:9 id {2} weight 16 maxconn 1;set server {0}/{1} state {3}"
        ).format,
        pools,
        st.sampled_from(["foreign", "foreign.0a", "x.y.z"]),
        st.integers(1, 1000),
        st.sampled_from(["ready", "drain", "maint"]),
    ),
    st.builds(
        "set server {} state {}".format, servers, st.sampled_from(["ready", "drain", "maint"])
    ),
    st.builds("set maxconn server {} {}".format, servers, st.integers(1, 100)),
    st.builds("disable health {}".format, servers),
    st.builds("set map models.map {} {}".format, names, values),
    st.builds("add map models.map {} {}".format, names, values),
    st.builds("del map models.map {}".format, names),
    st.sampled_from(
        [
            "clear map models.map",
            "clear map listing.map",
            "add map listing.map other text",
            "clear map tenants.map",
            "prepare map models.map",
        ]
    ),
)


def leases() -> Iterator[ReplicaLease]:
    """Say that two replicas of each model are ready; nobody listens there, which is no matter.

    One of `a` has a Rust front end, and both of `c`, these on unix sockets.
    """
    for port, (model, number) in enumerate(itertools.product(MODELS, range(2)), start=20_001):
        name = f"{model}{number}"
        said = replace(a_lease(name, model=model), address=Endpoint(host="127.0.0.1", port=port))
        if model == "c":
            yield replace(
                said,
                address=UnixEndpoint(path=f"/run/{name}.r"),
                python_address=UnixEndpoint(path=f"/run/{name}.p"),
                front_end=FrontEnd.RUST,
                rust_names=("c", "alias-c"),
            )
        elif name == "a1":
            python = Endpoint(host="127.0.0.1", port=port + 100)
            yield replace(said, python_address=python, front_end=FrontEnd.RUST, rust_names=("a",))
        else:
            yield said


KNOWN: Final = Known(
    leases=tuple(leases()),
    models=tuple(
        replace(
            a_model(model),
            name=ModelName(model),
            aliases=(f"alias-{model}",),
            routing=RoutingSpec(
                policy=RoutingPolicy.PREFIX if model == "b" else RoutingPolicy.LEAST_LOADED
            ),
        )
        for model in MODELS
    ),
    tenants=KnownTenants(open_to_all=True),
    connected_for_s=100.0,
)


@dataclass(slots=True, kw_only=True)
class Edge:
    """A real HAProxy with router-config's eyes and hands, and a clock that the test moves."""

    client: HaproxyClient
    now: float = 0.0
    sees: HaproxyEdge = field(init=False)

    def __post_init__(self) -> None:
        """Look through the same client."""
        self.sees = HaproxyEdge(
            self.client, addresses={}, now=lambda: self.now, vouch=nobody_objects
        )

    async def round(self) -> tuple[Observed, RoutingPlan]:
        """Look, decide and act once; return what was seen and what was to be done."""
        self.now += MAP_REREAD_S + 1  # a map that was edited in place is read again by then
        observed = (await self.sees.observe()).observed
        steps = plan(
            desire(KNOWN, observed, grace_s=15.0),
            observed,
            leaving_since={},
            now=self.now,
            drain_timeout_s=1e9,
        )
        for action in steps.actions:
            await self.sees.apply(action)
        return observed, steps

    async def settle(self) -> Observed:
        """Go on until nothing is to be done."""
        for _ in range(ROUNDS_MAX):
            observed, steps = await self.round()
            assert steps.reload == ()
            if not steps.actions:
                return observed
            await asyncio.sleep(0.005)
        raise AssertionError("it never settles")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """An edge and the loop in which it lives."""

    runner: asyncio.Runner
    edge: Edge
    socket: Path


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    """Run one HAProxy for all examples; every one leaves it settled."""
    with short_folder() as folder, asyncio.Runner() as runner:
        config = edge_config(folder)
        running = real_haproxy(config, pool_configs((), pools_per_kind=POOLS))
        runner.run(running.__aenter__())
        try:
            edge = Edge(client=HaproxyClient(config.admin_socket, timeout_s=5))
            yield Bench(runner=runner, edge=edge, socket=config.admin_socket)
        finally:
            runner.run(running.__aexit__(None, None, None))


async def edit(socket: Path, line: str) -> None:
    """Do by hand what a person at the admin socket could do; a refusal is no matter."""
    reader, writer = await asyncio.open_unix_connection(str(socket))
    writer.write(f"{line}\n".encode())
    await reader.read()
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()


def gist(observed: Observed) -> object:
    """Return what must be as it was; the pool in which a model lies is nobody's business.

    What checks say is left out: nobody listens at these addresses.
    """
    behind: dict[str, set[object]] = {}
    for each in observed.servers:
        server = replace(each.server, key=ServerKey(pool=PoolName(""), name=each.server.key.name))
        behind.setdefault(each.server.key.pool, set()).add((server, each.admin, each.checked))
    led = {
        text: (to.model, to.front_ends, behind.get(to.pool), behind.get(twin_of(to.pool)))
        for text, to in observed.routes.items()
    }
    count = len(observed.servers)
    return led, count, observed.listing, observed.foreign, observed.access


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(edits, min_size=1, max_size=8))
def test_any_difference_is_removed(bench: Bench, made: list[str]) -> None:
    """Deleted, foreign, drained and unchecked servers, wrong limits, wrong and missing entries."""

    async def example() -> tuple[object, object, RoutingPlan]:
        before = await bench.edge.settle()
        for line in made:
            await edit(bench.socket, line)
        after = await bench.edge.settle()
        _, again = await bench.edge.round()
        return gist(before), gist(after), again

    before, after, again = bench.runner.run(example())

    assert after == before
    assert again.actions == ()


def test_many_joins_at_once_tell_which_of_them_was_refused(bench: Bench) -> None:
    """One line for all of them; a refusal hides neither those before nor those after it."""

    def join(pool: str, name: str) -> Join:
        return Join(
            server=Server(
                key=ServerKey(pool=PoolName(pool), name=ServerName(name)),
                number=len(name),
                endpoint=Endpoint(host="127.0.0.1", port=9),
                maxconn=1,
            )
        )

    joins = [join("lc3", "x.0a"), join("lc99", "xx.0a"), join("lc3", "xxx.0a")]

    async def example() -> tuple[Sequence[Outcome], set[str]]:
        outcomes = await bench.edge.sees.apply_all(joins)
        seen = (await bench.edge.sees.observe()).observed.servers
        await bench.edge.settle()
        return outcomes, {each.server.key.name for each in seen}

    outcomes, there = bench.runner.run(example())

    assert [type(outcome) for outcome in outcomes] == [Done, Refused, Done], outcomes
    assert {"x.0a", "xxx.0a"} <= there
