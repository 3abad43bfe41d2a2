"""What `status` makes of what was read: unknown stays unknown."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.contracts.ids import EdgeId
from libs.contracts.lease import AdapterTrouble, ReplicaState
from libs.contracts.model_spec import AdapterSpec, EngineSpec
from libs.contracts.reports import DemandReport
from libs.contracts.targets import DecidedTarget, ScaleReason
from libs.testing.records import a_demand_report, a_lease, a_model
from tools.cli.status import AdapterStatus, ModelStatus, Observed, assemble

SPEC = a_model(replicas_min=0)
UNKNOWN = replace(a_demand_report(), edge_id=EdgeId("other"), held=None)


def the_model(*demands: DemandReport) -> ModelStatus:
    """Return the status of a model at zero, with what edges say about it."""
    decided = DecidedTarget(model=SPEC.name, replicas=0, reason=ScaleReason.MINIMUM, decided_at=0.0)
    observed = Observed(
        specs=[SPEC],
        leases=[a_lease(model="n")],
        manual={},
        decided={SPEC.name: decided},
        loads={},
        demands=demands,
        routing=None,
        processes=(),
    )
    (model,) = assemble(observed, api_url="http://a", nats_url="nats://b").models
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
    observed = Observed(
        specs=[spec],
        leases=[
            replace(a_lease("r1"), adapters=("sql",)),
            replace(a_lease("r2"), adapter_troubles=(trouble,)),
            replace(a_lease("r3", state=ReplicaState.STARTING), adapters=("sql",)),
        ],
        manual={},
        decided={},
        loads={},
        demands=(),
        routing=None,
        processes=(),
    )

    (model,) = assemble(observed, api_url="http://a", nats_url="nats://b").models

    assert model.adapters == (
        AdapterStatus(name="sql", source="/a/sql", loaded=1, causes=("r2: gone",)),
    )
    assert [each.adapters for each in model.replicas] == [("sql",), (), ("sql",)]
