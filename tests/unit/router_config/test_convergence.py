"""Properties of deciding and planning together, over random histories of an edge.

- Planning on the applied state gives nothing, once what drains has become idle.
- Nothing depends on the order of the inputs.
- Joins stand before publishing, drains after it, retirements last.
- Only an idle server retires before the deadline, and no number is used twice in a pool.
- A healthy server whose lease is lost is left alone.
"""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from libs.contracts.failing import FailingModel
from libs.contracts.ids import Incarnation, ModelName, ReplicaId, TenantName
from libs.contracts.lease import (
    Endpoint,
    FrontEnd,
    ReplicaLease,
    ReplicaState,
    Versions,
)
from libs.contracts.model_spec import (
    AdapterSpec,
    EngineSpec,
    ModelSpec,
    RoutingPolicy,
    RoutingSpec,
)
from libs.contracts.tenant import KeyHash, Tenant
from services.router_config.domain.access import KnownTenants, Open
from services.router_config.domain.desire import desire
from services.router_config.domain.model import (
    KIND_OF_POLICY,
    Admin,
    Desired,
    Health,
    Known,
    Observed,
    ObservedServer,
    Routes,
    ServerKey,
    main_of,
)
from services.router_config.domain.plan import (
    Action,
    Adjust,
    Admit,
    Block,
    Drain,
    Join,
    Publish,
    Resume,
    Retire,
    RoutingPlan,
    plan,
)

settings.register_profile("histories", max_examples=40, deadline=None)
settings.load_profile("histories")

GRACE_S = 15.0
POOLS = 3
ROUNDS_MAX = 8
RANK = {Admit: -2, Block: -1, Adjust: 0, Resume: 0, Join: 0, Publish: 1, Drain: 2, Retire: 3}

leases = st.builds(
    ReplicaLease,
    replica_id=st.sampled_from(["r0", "r1", "r2", "r3"]).map(ReplicaId),
    incarnation=st.sampled_from(["aa", "bb"]).map(Incarnation),
    model=st.sampled_from(["m0", "m1", "m2"]).map(ModelName),
    state=st.sampled_from([ReplicaState.READY, *ReplicaState]),
    address=st.none() | st.integers(1, 6).map(lambda port: Endpoint(host="127.0.0.1", port=port)),
    max_num_seqs=st.sampled_from([4, 64]),
    executor=st.just("x"),
    device=st.just("simulated"),
    pid=st.just(1),
    versions=st.just(Versions(sluice="0", vllm="0", ray="0")),
    started_at=st.integers(0, 3).map(float),
    adapters=st.sets(st.sampled_from(["w", "z"])).map(lambda s: tuple(sorted(s))),
)


def with_rust(lease: ReplicaLease) -> ReplicaLease:
    """Give a replica the front ends that its incarnation has: some know fewer names."""
    number = int(lease.replica_id[1]) + (lease.incarnation == "bb")
    if number % 2 == 0 or not isinstance(lease.address, Endpoint):
        return lease
    known = [lease.model, "x", "y"][:number]
    return replace(
        lease,
        front_end=FrontEnd.RUST,
        python_address=replace(lease.address, port=lease.address.port + 100),
        rust_names=tuple(known),
    )


leases = leases.map(with_rust)
lease_sets = st.lists(
    leases, max_size=6, unique_by=lambda lease: (lease.model, lease.replica_id)
).map(tuple)
models = st.builds(
    ModelSpec,
    name=st.sampled_from(["m0", "m1", "m2", "m3", "m4"]).map(ModelName),
    source=st.just("builtin:none"),
    aliases=st.sets(st.sampled_from(["m1", "x", "y"]), max_size=2).map(lambda s: tuple(sorted(s))),
    adapters=st.sets(st.sampled_from(["w", "z"])).map(
        lambda s: tuple(AdapterSpec(name=name, source="/adapters") for name in sorted(s))
    ),
    engine=st.just(EngineSpec(max_loras=2)),
    routing=st.builds(RoutingSpec, policy=st.sampled_from(RoutingPolicy)),
)
model_sets = st.lists(models, max_size=5, unique_by=lambda model: model.name).map(tuple)
tenants = st.builds(
    Tenant,
    name=st.sampled_from(["t0", "t1", "t2"]).map(TenantName),
    key_hashes=st.sets(st.sampled_from("abc"), max_size=2).map(
        lambda letters: tuple(KeyHash(letter * 64) for letter in sorted(letters))
    ),
    requests_per_minute=st.none() | st.integers(1, 3),
)
tenant_sets = st.lists(tenants, max_size=3, unique_by=lambda tenant: tenant.name).map(tuple)
failing = st.builds(
    FailingModel,
    model=st.sampled_from(["m0", "m1", "m9"]).map(ModelName),
    error=st.sampled_from(["no such file", "no room"]),
    failed_starts=st.just(3),
    failed_at=st.just(0.0),
    next_try_at=st.none() | st.sampled_from([1.5, 2.0]),
    blocked=st.booleans(),
)
failing_sets = st.lists(failing, max_size=3, unique_by=lambda each: each.model).map(tuple)
knowns = st.builds(
    Known,
    failing=failing_sets,
    leases=lease_sets,
    models=st.none() | model_sets,
    tenants=st.none() | st.builds(KnownTenants, tenants=tenant_sets, open_to_all=st.booleans()),
    connected_for_s=st.sampled_from([None, 1.0, 100.0]),
)
seeds = st.integers(0, 2**32)
histories = st.lists(st.tuples(knowns, seeds), min_size=1, max_size=3)


def decide(known: Known, observed: Observed) -> tuple[Desired, RoutingPlan]:
    """Decide and plan, long before any deadline."""
    wanted = desire(known, observed, grace_s=GRACE_S)
    steps = plan(wanted, observed, leaving_since={}, now=0.0, drain_timeout_s=1e9)
    return wanted, steps


def apply(observed: Observed, actions: tuple[Action, ...]) -> Observed:
    """Do what HAProxy does, with its refusals."""
    servers = {seen.server.key: seen for seen in observed.servers}
    for action in actions:
        match action:
            case Join(server=server):
                taken = {(k.pool, s.server.number) for k, s in servers.items()}
                assert server.key not in servers
                assert (server.key.pool, server.number) not in taken
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
                servers[key] = replace(servers[key], admin=Admin.MAINT)
                if servers[key].sessions == 0:
                    del servers[key]
            case _:
                observed = apply_to_maps(observed, action)
    return replace(observed, servers=tuple(servers.values()))


def apply_to_maps(observed: Observed, action: Action) -> Observed:
    """Replace one of HAProxy's maps."""
    match action:
        case Admit(access=access):
            return replace(observed, access=access, access_foreign=False)
        case Block(blocked=blocked):
            return replace(observed, blocked=blocked, blocked_foreign=False)
        case Publish(routes=routes, listing=listing):
            return replace(observed, routes=routes, listing=listing, foreign=False)
        case _:
            return observed


def live(observed: Observed, seed: int) -> Observed:
    """Let traffic, checks and administrators do what they like."""
    chance = random.Random(seed)
    return replace(
        observed,
        servers=tuple(
            replace(
                seen,
                health=chance.choice(list(Health)),
                admin=chance.choice([seen.admin, seen.admin, *Admin]),
                checked=chance.choice([True, True, False]),
                sessions=chance.choice([0, 0, 2]),
            )
            for seen in observed.servers
        ),
    )


def idle(observed: Observed) -> Observed:
    """Let everything that runs end."""
    return replace(
        observed,
        servers=tuple(replace(seen, sessions=0, queued=0) for seen in observed.servers),
    )


def lived(history: list[tuple[Known, int]]) -> Observed:
    """Return an edge with a past."""
    observed = Observed(pools_per_kind=POOLS)
    for known, seed in history:
        observed = live(apply(observed, decide(known, observed)[1].actions), seed)
    return observed


def settled(known: Known, observed: Observed) -> Observed:
    """Reconcile until nothing is to be done; what runs ends meanwhile."""
    for _ in range(ROUNDS_MAX):
        observed = idle(observed)
        actions = decide(known, observed)[1].actions
        if not actions:
            return observed
        observed = apply(observed, actions)
    raise AssertionError("it never settles")


@settings(max_examples=150)
@given(histories, knowns)
def test_every_edge_settles_and_stays(history: list[tuple[Known, int]], known: Known) -> None:
    """Whatever happened before, a few rounds lead to a state that needs nothing more."""
    observed = settled(known, lived(history))

    assert decide(known, observed)[1].actions == ()


@given(histories, knowns)
def test_a_settled_edge_is_what_was_wanted(history: list[tuple[Known, int]], known: Known) -> None:
    """The wanted servers and no others, all ready and checked; the wanted routes."""
    observed = settled(known, lived(history))
    wanted, _ = decide(known, observed)

    assert {seen.server for seen in observed.servers} == set(wanted.servers)
    assert all(seen.admin is Admin.READY and seen.checked for seen in observed.servers)
    assert observed.routes == wanted.routes
    assert observed.access == wanted.access
    assert observed.blocked == wanted.blocked


@given(histories, knowns)
def test_an_edge_with_tenants_opens_only_at_a_word(
    history: list[tuple[Known, int]], known: Known
) -> None:
    """Neither a bus that is away nor one that lost its tenants lets everybody in."""
    before = settled(known, lived(history))

    for lost in (None, KnownTenants()):
        after, _ = decide(replace(known, tenants=lost), before)
        assert after.access == before.access or (before.access, after.access) == (None, Open())


@given(histories, knowns, seeds)
def test_the_order_of_inputs_does_not_matter(
    history: list[tuple[Known, int]], known: Known, seed: int
) -> None:
    """Snapshots are sets."""
    observed = lived(history)
    shuffle = random.Random(seed).sample
    by_route = list(observed.routes.by_route.items())
    mixed = replace(
        observed,
        servers=tuple(shuffle(observed.servers, len(observed.servers))),
        routes=Routes(dict(shuffle(by_route, len(by_route)))),
    )
    stirred = replace(
        known,
        leases=tuple(shuffle(known.leases, len(known.leases))),
        models=None if known.models is None else tuple(shuffle(known.models, len(known.models))),
    )

    assert decide(stirred, mixed) == decide(known, observed)


@given(histories, knowns)
def test_steps_stand_in_their_safe_order(history: list[tuple[Known, int]], known: Known) -> None:
    """Servers come before routes, routes before drains, drains before removals."""
    ranks = [RANK[type(action)] for action in decide(known, lived(history))[1].actions]

    assert ranks == sorted(ranks)


@given(histories, knowns)
def test_nothing_busy_is_removed_before_the_deadline(
    history: list[tuple[Known, int]], known: Known
) -> None:
    """Streams end by themselves; HAProxy refuses to delete a busy server in maintenance."""
    observed = lived(history)
    seen = {server.server.key: server for server in observed.servers}

    for action in decide(known, observed)[1].actions:
        if isinstance(action, Retire):
            assert not action.cut
            server = seen[action.key]
            assert server.admin is Admin.MAINT or (server.sessions == 0 == server.queued)


@given(histories, knowns)
def test_numbers_are_unique_in_a_pool(history: list[tuple[Known, int]], known: Known) -> None:
    """Two servers on one place of a ring are refused."""
    wanted, _ = decide(known, lived(history))
    places = Counter((server.key.pool, server.number) for server in wanted.servers)

    assert all(count == 1 for count in places.values())


@given(histories, knowns)
def test_a_pool_belongs_to_one_model_and_fits_its_policy(
    history: list[tuple[Known, int]], known: Known
) -> None:
    """Requests of one model never reach another's servers."""
    wanted, _ = decide(known, lived(history))
    owners: dict[str, set[str]] = {}
    for route in wanted.routes.values():
        owners.setdefault(route.pool, set()).add(route.model)

    assert all(len(models) == 1 for models in owners.values())
    for spec in known.models or ():
        found = wanted.routes.get(spec.name)
        if found is not None and found.model == spec.name:
            assert found.pool.startswith(KIND_OF_POLICY[spec.routing.policy])


@given(histories, knowns, st.none() | st.floats(0, 1e6))
def test_a_lost_bus_changes_nothing_about_healthy_servers(
    history: list[tuple[Known, int]], known: Known, connected_for_s: float | None
) -> None:
    """Neither a bus that is away nor one that came back empty takes a healthy replica away."""
    before = settled(known, lived(history))
    healthy = replace(
        before, servers=tuple(replace(seen, health=Health.UP) for seen in before.servers)
    )
    routed = {route.pool for route in healthy.routes.values()}

    for models_known in (None, ()):
        lost = Known(models=models_known, connected_for_s=connected_for_s)
        wanted, _ = decide(lost, healthy)
        assert set(wanted.servers) == {seen.server for seen in healthy.servers}
        kept = {main_of(server.key.pool) for server in wanted.servers}
        assert {r.pool for r in wanted.routes.values()} == (
            routed if models_known is None else kept
        )


@given(histories, knowns)
def test_an_explicit_word_is_always_heard(history: list[tuple[Known, int]], known: Known) -> None:
    """Whoever drains, stopped or failed is not wanted, however healthy it looks."""
    wanted, _ = decide(known, lived(history))
    models = {route.pool: route.model for route in wanted.routes.values()}
    present = {(models[main_of(server.key.pool)], server.key.name) for server in wanted.servers}
    gone = {
        (lease.model, f"{lease.replica_id}.{lease.incarnation}")
        for lease in known.leases
        if lease.state is not ReplicaState.READY
    }

    assert not present & gone


@given(histories, knowns, st.floats(0, 1e6))
def test_leaving_servers_keep_the_time_at_which_they_began(
    history: list[tuple[Known, int]], known: Known, began: float
) -> None:
    """The deadline is not put off by looking again."""
    observed = lived(history)
    wanted = desire(known, observed, grace_s=GRACE_S)
    since: dict[ServerKey, float] = {seen.server.key: began for seen in observed.servers}

    steps = plan(wanted, observed, leaving_since=since, now=2e6, drain_timeout_s=1e9)

    assert set(steps.leaving_since.values()) <= {began}
