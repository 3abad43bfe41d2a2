"""What `status` makes of what was read: unknown stays unknown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from rich.console import Console

from libs.contracts.ids import EdgeId
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import AdapterTrouble, FrontEnd, ReplicaLease, ReplicaState
from libs.contracts.model_spec import AdapterSpec, EngineSpec, ModelSpec
from libs.contracts.reports import DemandReport, RoutingStatus
from libs.contracts.targets import DecidedTarget, ScaleReason
from libs.testing.records import a_demand_report, a_lease, a_model
from tools.cli.health import BusStatus
from tools.cli.status import (
    AdapterStatus,
    ModelStatus,
    Observed,
    ProcessStatus,
    Status,
    assemble,
)
from tools.cli.status_table import tables

SPEC = a_model(replicas_min=0)
NOW = 1000.0
RUNNING = ProcessStatus(name="nats", state="RUNNING", pid=7)
ROUTING = RoutingStatus(
    edge_id=EdgeId("local"),
    revision=3,
    applied_at=NOW - 500,
    haproxy_version="2.8",
    haproxy_pid=8,
    reloads=0,
    servers_ready=1,
    observed_at=NOW - 4,
)
WELL = Observed(
    now=NOW,
    bus=BusStatus(answers=True, takes_writes=True),
    leader=LeaderClaim(service="autoscaler", holder="x", claimed_at=NOW - 1),
    specs=[SPEC],
    leases=[],
    manual={},
    decided={},
    loads={},
    demands=[],
    routing=ROUTING,
    processes=(RUNNING,),
)
"""A stack with which nothing is wrong."""

UNKNOWN = replace(a_demand_report(), edge_id=EdgeId("other"), held=None)


def the_status(
    *, spec: ModelSpec, leases: Sequence[ReplicaLease], demands: Sequence[DemandReport] = ()
) -> Status:
    """Return the status of a stack with one model, whose target is no replica."""
    decided = DecidedTarget(model=spec.name, replicas=0, reason=ScaleReason.MINIMUM, decided_at=0.0)
    observed = replace(
        WELL, specs=[spec], leases=leases, decided={spec.name: decided}, demands=demands
    )
    return assemble(observed, api_url="http://a", nats_url="nats://b")


def problems(observed: Observed) -> tuple[str, ...]:
    """Return what is wrong."""
    return assemble(observed, api_url="http://a", nats_url="nats://b").problems


def the_model(*demands: DemandReport) -> ModelStatus:
    """Return the status of a model at zero, with what edges say about it."""
    (model,) = the_status(spec=SPEC, leases=[a_lease(model="n")], demands=demands).models
    return model


def test_a_model_at_zero_shows_who_waits_for_it() -> None:
    """Target, ready replicas and held requests, side by side."""
    model = the_model(a_demand_report(held=3), a_demand_report(model="n", held=9))

    assert (model.target, model.target_reason, model.ready, model.held) == (0, "minimum", 0, 3)


@pytest.mark.parametrize(
    ("demands", "held"),
    [
        ((), None),
        ((UNKNOWN,), None),
        ((a_demand_report(held=3), UNKNOWN), None),
        ((a_demand_report(held=3), a_demand_report(held=4, edge="other")), 7),
        ((a_demand_report(held=0),), 0),
    ],
)
def test_held_requests_are_added_up_where_every_edge_knows(
    demands: tuple[DemandReport, ...], held: int | None
) -> None:
    """Nobody having said anything is not zero."""
    assert the_model(*demands).held == held


def test_an_adapter_shows_how_many_replicas_have_it_and_why_the_others_do_not() -> None:
    """A name that is not routed is explained here; what only starts does not count yet."""
    adapter = AdapterSpec(name="sql", source="/a/sql")
    spec = replace(SPEC, adapters=(adapter,), engine=EngineSpec(max_loras=1))
    trouble = AdapterTrouble(adapter="sql", cause="gone")
    leases = [
        replace(a_lease("r1"), adapters=("sql",)),
        replace(a_lease("r2"), adapter_troubles=(trouble,)),
        replace(a_lease("r3", state=ReplicaState.STARTING), adapters=("sql",)),
    ]

    (model,) = the_status(spec=spec, leases=leases).models

    assert model.adapters == (
        AdapterStatus(name="sql", source="/a/sql", loaded=1, causes=("r2: gone",)),
    )
    assert [each.adapters for each in model.replicas] == [("sql",), (), ("sql",)]


def test_aliases_that_a_ready_rust_front_end_does_not_know_are_listed() -> None:
    """Python serves them; a replica that has no Rust, or is on its way out, does not count."""
    spec = replace(SPEC, aliases=("default", "new"))
    old = replace(a_lease("r4"), front_end=FrontEnd.RUST, rust_names=("m", "default"))
    leases = [
        replace(a_lease("r1"), front_end=FrontEnd.RUST, rust_names=("m", "default", "new")),
        replace(a_lease("r2"), front_end=FrontEnd.PYTHON),
        replace(old, state=ReplicaState.DRAINING),
    ]

    (before,) = the_status(spec=spec, leases=leases).models
    (after,) = the_status(spec=spec, leases=[*leases, old]).models

    assert before.aliases_served_by_python == ()
    assert after.aliases_served_by_python == ("new",)


def test_reasons_are_shown_as_they_are() -> None:
    """Brackets in them are not the table's markup."""
    lease = replace(
        a_lease(state=ReplicaState.FAILED),
        reason="no [/tmp/x]",
        front_end_reason="not [installed]",
    )
    shown = Console(width=300)

    with shown.capture() as printed:
        for part in tables(the_status(spec=SPEC, leases=[lease]), now=0.0):
            shown.print(part)

    assert "failed no [/tmp/x]" in printed.get()
    assert "python (not [installed])" in printed.get()


def test_a_stack_that_is_well_has_no_problem() -> None:
    """What `status` shows of it is as fresh as its parts are."""
    status = assemble(WELL, api_url="http://a", nats_url="nats://b")

    assert status.problems == ()
    assert (status.supervised, status.autoscaler.leads, status.routing.age_s) == (True, True, 4.0)


@pytest.mark.parametrize(
    ("observed", "told"),
    [
        (replace(WELL, processes=None), "supervisord does not answer"),
        (replace(WELL, processes=(replace(RUNNING, state="FATAL"),)), "nats is fatal"),
        (replace(WELL, leader=None), "no autoscaler leads"),
        (replace(WELL, now=NOW + 9), "no autoscaler leads"),
        (replace(WELL, routing=replace(ROUTING, observed_at=NOW - 90)), "reported 90 s ago"),
        (replace(WELL, routing=replace(ROUTING, degraded="bus: away")), "degraded: bus: away"),
        (replace(WELL, routing=None), "no edge has reported"),
        (
            replace(WELL, bus=BusStatus(answers=True, takes_writes=False, cause="no space")),
            r"stores nothing \(no space\)",
        ),
    ],
)
def test_what_is_wrong_is_told(observed: Observed, told: str) -> None:
    """Each by itself; `status` then ends with exit code 1."""
    first = problems(observed)[0]

    assert re.search(told, first), first


def test_without_the_bus_nothing_is_made_up() -> None:
    """Its absence is the problem; what only it could tell is unknown."""
    away = replace(WELL, bus=BusStatus(answers=False, takes_writes=None, cause="NATS is away"))
    status = assemble(
        replace(away, leader=None, routing=None), api_url="http://a", nats_url="nats://b"
    )

    assert status.problems == ("NATS is away",)
    assert (status.autoscaler.leads, status.routing.age_s) == (None, None)
