"""What a request can meet, at every moment of any history of an edge.

- A request that the Rust front end cannot answer never meets one: not when HAProxy refuses a
  command, when a lease is lost, after any wait in a pool, or when its server dies before its first
  byte and HAProxy tries another one.
- A request that some staying replica could answer finds one after each step as well, and so does
  one that is tried again.
- Everything settles; then names meet Rust front ends exactly where all of them know the name.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts.ids import Incarnation, ModelName, ReplicaId
from libs.contracts.lease import (
    FrontEnd,
    ReplicaLease,
    ReplicaState,
    UnixEndpoint,
    Versions,
)
from libs.contracts.model_spec import (
    AdapterSpec,
    EngineSpec,
    FrontEndChoice,
    ModelSpec,
    RoutingPolicy,
    RoutingSpec,
)
from services.router_config.domain.desire import desire
from services.router_config.domain.model import (
    Admin,
    Desired,
    FrontEnds,
    Health,
    Known,
    Observed,
    ObservedServer,
    PoolName,
    ServerKey,
    is_twin,
    main_of,
    twin_of,
)
from services.router_config.domain.plan import (
    Action,
    Adjust,
    Drain,
    Join,
    Publish,
    Resume,
    Retire,
    plan,
)

Model = Callable[..., ModelSpec]

POOLS = 3
NAMES = ("m0", "m1", "x", "y", "w")


def rust_names(server: str) -> frozenset[str] | None:
    """Return the names that an incarnation's Rust front end knows; None where it has none."""
    model, _, replica = server.partition("-")
    known = {
        "r1.aa": ("x", "y"),
        "r1.bb": ("x", "y"),
        "r2.aa": ("x",),
        "r2.bb": ("x", "y"),
        "r3.bb": (),
    }
    names = known.get(replica)
    return None if names is None else frozenset((model, *names))


def lease(model: str, replica: str, incarnation: str, state: ReplicaState) -> ReplicaLease:
    """Return a lease; an incarnation always tells the same of its front ends and addresses."""
    replica_id = ReplicaId(f"{model}-{replica}")
    names = rust_names(f"{replica_id}.{incarnation}")
    path = f"/run/{replica_id}-{incarnation}"
    return ReplicaLease(
        replica_id=replica_id,
        incarnation=Incarnation(incarnation),
        model=ModelName(model),
        state=state,
        address=UnixEndpoint(path=f"{path}.r" if names else f"{path}.p"),
        max_num_seqs=4,
        executor="x",
        device="simulated",
        pid=1,
        versions=Versions(sluice="0", vllm="0", ray="0"),
        started_at=1.0,
        adapters=("w",),
        front_end=FrontEnd.RUST if names else FrontEnd.PYTHON,
        python_address=UnixEndpoint(path=f"{path}.p") if names else None,
        rust_names=tuple(sorted(names or ())),
    )


leases = st.builds(
    lease,
    st.sampled_from(["m0", "m1"]),
    st.sampled_from(["r0", "r1", "r2", "r3"]),
    st.sampled_from(["aa", "bb"]),
    st.sampled_from([ReplicaState.READY] * 3 + [ReplicaState.DRAINING]),
)
models = st.builds(
    ModelSpec,
    name=st.sampled_from(["m0", "m1"]).map(ModelName),
    source=st.just("builtin:none"),
    aliases=st.sets(st.sampled_from(["x", "y"])).map(lambda s: tuple(sorted(s))),
    adapters=st.sampled_from([(), (AdapterSpec(name="w", source="/w"),)]),
    engine=st.builds(
        EngineSpec, max_loras=st.just(1), front_end=st.sampled_from(list(FrontEndChoice))
    ),
    routing=st.builds(
        RoutingSpec, policy=st.sampled_from([RoutingPolicy.LEAST_LOADED] * 3 + [*RoutingPolicy])
    ),
)
knowns = st.builds(
    Known,
    leases=st.lists(leases, max_size=5, unique_by=lambda each: (each.model, each.replica_id)).map(
        tuple
    ),
    models=st.none() | st.lists(models, max_size=2, unique_by=lambda spec: spec.name).map(tuple),
    connected_for_s=st.sampled_from([None, 1.0, 100.0]),
)
seeds = st.integers(0, 2**32)
histories = st.lists(st.tuples(knowns, seeds, st.integers(1, 4)), min_size=1, max_size=5)


@dataclass(frozen=True)
class Request:
    """A request without a first byte: held, queued, or on a server that may die.

    HAProxy gives it to any server of its pool that takes requests, and again when that one dies.
    """

    pool: PoolName
    model: str
    name: str
    needs_python: bool


@dataclass
class Edge:
    """HAProxy, its clients and the loop's memory."""

    observed: Observed = field(default_factory=lambda: Observed(pools_per_kind=POOLS))
    requests: list[Request] = field(default_factory=list)
    addresses: dict[ServerKey, UnixEndpoint] = field(default_factory=dict)

    def look(self, known: Known) -> Desired:
        """Observe and decide."""
        self.observed = replace(self.observed, busy=frozenset(each.pool for each in self.requests))
        return desire(known, self.observed, grace_s=15.0)

    def steps(self, wanted: Desired) -> tuple[Action, ...]:
        """Plan, long before any deadline."""
        return plan(wanted, self.observed, leaving_since={}, now=0.0, drain_timeout_s=1e9).actions

    def do(self, action: Action) -> None:
        """Do one step, and remember what is behind a server: the loop may forget it."""
        if isinstance(action, Join):
            assert isinstance(action.server.endpoint, UnixEndpoint)
            self.addresses[action.server.key] = action.server.endpoint
        self.observed = do(self.observed, action)

    def arrive(self, chance: random.Random) -> None:
        """Let requests come, and go where HAProxy's rules send them."""
        for name, route in self.observed.routes.items():
            if chance.random() < 0.2:
                needs_python = chance.random() < 0.5
                is_main = route.front_ends is FrontEnds.SPLIT and not needs_python
                pool = route.pool if is_main else twin_of(route.pool)
                self.requests.append(Request(pool, route.model, name, needs_python))

    def live(self, chance: random.Random) -> None:
        """Let checks, drains by hand and memory be what they like; requests are served."""
        self.observed = replace(
            self.observed, servers=tuple(_lived(each, chance) for each in self.observed.servers)
        )
        self.requests = [each for each in self.requests if chance.random() < 0.7]

    def rust(self) -> Iterator[tuple[PoolName, frozenset[str]]]:
        """Return the names of each Rust front end that takes requests, in any pool."""
        for seen in self.observed.servers:
            key = seen.server.key
            names = rust_names(key.name)
            if names is not None and seen.admin is Admin.READY and not self.is_python(key):
                yield key.pool, names

    def is_python(self, key: ServerKey) -> bool:
        """Whether the Python application of a replica with Rust is behind a server."""
        return self.addresses[key].path.endswith(".p")

    def require_safe(self) -> None:
        """No request that comes or has no first byte meets a Rust front end that cannot answer."""
        routes = self.observed.routes
        for pool, names in self.rust():
            assert not is_twin(pool)
            for name, route in routes.items():
                assert route.pool != pool or route.front_ends is FrontEnds.PYTHON or name in names
            for each in self.requests:
                assert each.pool != pool or not each.needs_python
                is_routed = each.name in routes and routes[each.name].model == each.model
                assert each.pool != pool or each.name in names or not is_routed

    def able(self, staying: set[str]) -> set[PoolName]:
        """Return the pools in which some staying replica takes requests."""
        return {
            seen.server.key.pool
            for seen in self.observed.servers
            if seen.admin is Admin.READY and seen.server.key.name in staying
        }

    def answers(self, staying: set[str]) -> set[str]:
        """Return the names for which some staying Python application takes requests."""
        pools = self.able(staying)
        routes = self.observed.routes.items()
        return {name for name, route in routes if twin_of(route.pool) in pools}


def _lived(seen: ObservedServer, chance: random.Random) -> ObservedServer:
    forgets = chance.random() < 0.1
    return replace(
        seen,
        server=replace(seen.server, endpoint=None) if forgets else seen.server,
        health=chance.choice([*Health, Health.UP]),
        admin=chance.choice([seen.admin] * 8 + [Admin.DRAIN]),
        sessions=chance.choice([0, 0, 1]),
    )


def do(observed: Observed, action: Action) -> Observed:
    """Do what HAProxy does."""
    servers = {seen.server.key: seen for seen in observed.servers}
    match action:
        case Join(server=server):
            assert server.key not in servers
            assert server.endpoint is not None
            servers[server.key] = ObservedServer(
                server=server,
                admin=Admin.READY,
                health=Health.UNKNOWN,
                checked=True,
                sessions=0,
                queued=0,
            )
        case Resume(key=key):
            servers[key] = replace(servers[key], admin=Admin.READY, checked=True)
        case Adjust(server=server):
            servers[server.key] = replace(servers[server.key], server=server)
        case Drain(key=key):
            servers[key] = replace(servers[key], admin=Admin.DRAIN)
        case Retire(key=key):
            servers.pop(key)
        case Publish(routes=routes, listing=listing):
            observed = replace(observed, routes=routes, listing=listing)
    return replace(observed, servers=tuple(servers.values()))


def staying_in(known: Known) -> set[str]:
    """Return the servers of replicas that say they are ready."""
    return {
        f"{each.replica_id}.{each.incarnation}"
        for each in known.leases
        if each.state is ReplicaState.READY
    }


def looks(history: list[tuple[Known, int, int]]) -> Iterator[tuple[Known, random.Random]]:
    """Return what is known at each look at HAProxy, with what decides its chances."""
    for known, seed, count in history:
        chance = random.Random(seed)
        for _ in range(count):
            yield known, chance


@settings(max_examples=400)
@given(histories)
def test_no_request_meets_a_rust_front_end_that_cannot_answer_it(
    history: list[tuple[Known, int, int]],
) -> None:
    """Not between any two steps, and not one that waited; a quarter of the steps are refused."""
    edge = Edge()

    for known, chance in looks(history):
        for action in edge.steps(edge.look(known)):
            if chance.random() < 0.75:
                edge.do(action)
            edge.require_safe()
            edge.arrive(chance)
        edge.arrive(chance)
        edge.live(chance)


@settings(max_examples=400)
@given(histories)
def test_a_name_that_could_be_answered_can_be_after_every_step(
    history: list[tuple[Known, int, int]],
) -> None:
    """By replicas that stay: a route leads to the twin only once their applications are there.

    HAProxy may refuse a server of a twin; checks and drains by hand are left out.
    """
    edge = Edge()

    for known, chance in looks(history):
        wanted = edge.look(known)
        staying = staying_in(known)
        before = edge.answers(staying) & {
            name
            for name, route in wanted.routes.items()
            if name in edge.observed.routes
            and (held := edge.observed.routes[name]).model == route.model
            and held.pool == route.pool
        }
        for action in edge.steps(wanted):
            joins_twin = isinstance(action, Join) and is_twin(action.server.key.pool)
            if not joins_twin or chance.random() < 0.7:
                edge.do(action)
            assert before <= edge.answers(staying)
        idle = tuple(replace(each, sessions=0) for each in edge.observed.servers)
        edge.observed = replace(edge.observed, servers=idle)


@settings(max_examples=400)
@given(histories)
def test_a_request_that_could_be_tried_again_can_be_after_every_step(
    history: list[tuple[Known, int, int]],
) -> None:
    """By replicas that stay, while the model keeps its pool: a pool empties only when idle."""
    edge = Edge()

    for known, chance in looks(history):
        wanted = edge.look(known)
        staying = staying_in(known)
        kept = {route.pool for route in wanted.routes.by_route}
        kept |= {twin_of(pool) for pool in kept}
        before = edge.able(staying) & kept & {each.pool for each in edge.requests}
        for action in edge.steps(wanted):
            if chance.random() < 0.75:
                edge.do(action)
            assert before <= edge.able(staying)
            edge.arrive(chance)
        edge.live(chance)


@settings(max_examples=200)
@given(histories, knowns)
def test_names_meet_rust_exactly_where_all_front_ends_know_them(
    history: list[tuple[Known, int, int]], known: Known
) -> None:
    """Once everything has settled."""
    edge = Edge()
    for earlier, seed, looks in history:
        chance = random.Random(seed)
        for _ in range(looks):
            for action in edge.steps(edge.look(earlier)):
                edge.do(action)
            edge.live(chance)
    lasting = replace(known, models=known.models or (), connected_for_s=100.0)

    actions: tuple[Action, ...] = ()
    for _ in range(12):
        edge.requests = []
        idle = tuple(replace(each, sessions=0, health=Health.UP) for each in edge.observed.servers)
        edge.observed = replace(edge.observed, servers=idle)
        wanted = edge.look(lasting)
        actions = edge.steps(wanted)
        for action in actions:
            edge.do(action)
    assert actions == ()

    leased = {f"{each.replica_id}.{each.incarnation}" for each in lasting.leases}
    for name, route in edge.observed.routes.items():
        keys = [seen.server.key for seen in edge.observed.servers]
        inside = [key.name for key in keys if main_of(key.pool) == route.pool]
        fronts = [rust_names(each) for each in inside]
        known_to = [names for names in fronts if names is not None]
        if not inside or not set(inside) <= leased:
            continue
        is_split = bool(known_to) and all(name in names for names in known_to)
        assert route.front_ends is (FrontEnds.SPLIT if is_split else FrontEnds.PYTHON)
        assert known_to or not any(key.pool == route.pool for key in keys)


@settings(max_examples=200)
@given(histories)
def test_both_servers_of_a_replica_have_one_number(history: list[tuple[Known, int, int]]) -> None:
    """So that a prefix leads to the same replica in either pool."""
    edge = Edge()

    for known, chance in looks(history):
        wanted = edge.look(known)
        numbers: dict[tuple[str, str], set[int]] = {}
        for server in wanted.servers:
            key = (main_of(server.key.pool), server.key.name)
            numbers.setdefault(key, set()).add(server.number)
        assert all(len(each) == 1 for each in numbers.values())
        for action in edge.steps(wanted):
            edge.do(action)
        edge.live(chance)
