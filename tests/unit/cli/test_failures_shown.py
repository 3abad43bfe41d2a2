"""What `status` says of models that do not come, and of an autoscaler that cannot act."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from libs.contracts.failing import AutoscalerTrouble, FailingModel
from libs.testing.records import a_failing_model, a_model
from tools.cli.failures import failing_since
from tools.cli.health import BusStatus
from tools.cli.status import Observed, Status, assemble
from tools.cli.status_table import tables

SPEC = a_model(replicas_min=0)
NOTHING = Observed(
    now=100.0,
    bus=BusStatus(answers=True, takes_writes=True),
    leader=None,
    specs=[SPEC],
    leases=[],
    manual={},
    decided={},
    loads={},
    demands=[],
    routing=None,
    processes=(),
)
FAILING = replace(a_failing_model(error="no such [file]"), next_try_at=130.0)


@pytest.mark.parametrize(
    ("failing", "line"),
    [
        (
            FAILING,
            (
                "m: no such [file] (3 failed starts); it is tried again in 30 s;"
                " requests are refused meanwhile"
            ),
        ),
        (
            replace(FAILING, next_try_at=None),
            (
                "m: no such [file] (3 failed starts); it is tried again now;"
                " requests are refused meanwhile"
            ),
        ),
        (replace(FAILING, failed_starts=0, blocked=False), "m: no such [file]"),
    ],
)
def test_a_model_that_does_not_come_says_why_and_when_it_is_tried_again(
    failing: FailingModel, line: str
) -> None:
    """In the table and for programs."""
    status = the_status(failing=failing)

    assert line in text_of(status, now=100.5)
    (model,) = status.models
    assert model.failure is not None
    assert (model.failure.error, model.failure.refused) == (failing.error, failing.blocked)


def test_an_autoscaler_that_cannot_act_says_why() -> None:
    """A target that is not followed has a reason."""
    trouble = AutoscalerTrouble(cause="the dashboard is away", since=50.0)
    status = the_status(trouble=trouble)

    assert "Scaling  does not work: the dashboard is away" in text_of(status, now=60.0)
    assert status.to_json()["scaling"] == {"trouble": trouble.cause, "since": 50.0}


def test_what_another_stack_knew_is_not_told() -> None:
    """The bus outlives a stack, and nothing of it has failed yet."""
    old, new = a_failing_model("m"), replace(a_failing_model("n"), failed_at=20.0)

    assert failing_since([old, new, SPEC], 10.0) == {"n": new}


def text_of(status: Status, *, now: float) -> str:
    """Return what a person sees."""
    console = Console(width=200)
    with console.capture() as captured:
        for part in tables(status, now=now):
            console.print(part)
    return captured.get()


def the_status(
    *, failing: FailingModel | None = None, trouble: AutoscalerTrouble | None = None
) -> Status:
    """Return the status of a stack with one model and no replica."""
    found = {SPEC.name: failing} if failing else {}
    observed = replace(NOTHING, failing=found, trouble=trouble)
    return assemble(observed, api_url="http://a", nats_url="nats://b")
