"""What may fail and what may not.

Invariants: a request that failed while nothing was done is never excused; a stream that ends
silently never is; more faults never excuse less.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.chaos.faults import Cost, Fault, catalogue, fault_named
from tools.bench.chaos.outcomes import Ending, Kind, Ledger, Outcome
from tools.bench.chaos.result import ChaosResult, StepResult
from tools.bench.chaos.verdict import Incident, lost_too_many, unexcused

VICTIM, OTHER = "r1.a", "r2.b"


def fault(name: str) -> Fault:
    """Return a fault that is there."""
    found = fault_named(name)
    assert found is not None
    return found


def incident(*names: str, lost: frozenset[str] = frozenset()) -> Incident:
    """Return what happened from 10 to 20 s."""
    return Incident(
        faults=tuple(fault(name) for name in names), began_s=10.0, ended_s=20.0, lost=lost
    )


def failed(
    *,
    server: str | None = VICTIM,
    ending: Ending = Ending.SAID,
    kind: Kind = Kind.SHORT,
    began_s: float = 12.0,
) -> Outcome:
    """Return a request that failed after a second."""
    return Outcome(
        kind=kind, began_s=began_s, ended_s=began_s + 1, ending=ending, server=server, status=200
    )


def test_a_killed_replicas_stream_may_break() -> None:
    """Its own, and nobody else's."""
    killed = incident("kill-engine-core", lost=frozenset({VICTIM}))

    assert unexcused([failed()], [killed]) == []
    assert unexcused([failed(server=OTHER)], [killed]) == [failed(server=OTHER)]


def test_a_request_without_an_answer_is_not_excused_by_one_dead_replica() -> None:
    """It goes to another one."""
    lost = failed(server=None, ending=Ending.REFUSED)

    assert unexcused([lost], [incident("kill-engine-core", lost=frozenset({VICTIM}))]) == [lost]


def test_a_replica_that_was_lost_by_something_else_excuses_nothing() -> None:
    """A killed NATS may not cost a replica, and so none of its streams."""
    gone = incident("kill-nats", lost=frozenset({VICTIM}))

    assert unexcused([failed()], [gone]) == [failed()]
    assert lost_too_many(gone) == "kill-nats: 1 replicas are gone, 0 may be"


def test_a_killed_haproxy_excuses_everything_meanwhile() -> None:
    """Before it and afterwards nothing."""
    killed = incident("kill-haproxy")

    assert unexcused([failed(server=None, ending=Ending.LOST)], [killed]) == []
    assert len(unexcused([failed(began_s=8.5), failed(began_s=21.5)], [killed])) == 2


def test_a_killed_body_reader_excuses_large_bodies() -> None:
    """Small ones do not pass it."""
    killed = incident("kill-body-reader")
    large = failed(server=None, ending=Ending.REFUSED, kind=Kind.LARGE)

    assert unexcused([large], [killed]) == []
    assert len(unexcused([failed(server=None, ending=Ending.REFUSED)], [killed])) == 1


def test_a_node_that_starts_again_excuses_what_had_no_replica() -> None:
    """All of them are gone for a while."""
    node = incident("kill-raylet", lost=frozenset({VICTIM, OTHER}))

    assert unexcused([failed(server=None), failed(server=OTHER)], [node]) == []
    assert lost_too_many(node) == ""


@given(st.lists(st.sampled_from(catalogue()), min_size=1, max_size=3))
def test_no_fault_excuses_a_stream_that_ends_silently(faults: list[Fault]) -> None:
    """A client would take half an answer for a whole one."""
    everything = Incident(
        faults=tuple(faults), began_s=10.0, ended_s=20.0, lost=frozenset({VICTIM})
    )
    silent = failed(ending=Ending.SILENT)

    assert unexcused([silent], [everything]) == [silent]


@given(
    st.lists(st.sampled_from(catalogue()), min_size=1, max_size=3),
    st.sampled_from([*Kind]),
    st.sampled_from([VICTIM, OTHER, None]),
)
def test_one_fault_more_never_excuses_less(
    faults: list[Fault], kind: Kind, server: str | None
) -> None:
    """What one of them allows stays allowed."""
    outcome = failed(kind=kind, server=server)
    lost = frozenset({VICTIM})
    alone = Incident(faults=(faults[0],), began_s=10.0, ended_s=20.0, lost=lost)
    together = Incident(faults=tuple(faults), began_s=10.0, ended_s=20.0, lost=lost)

    assert not alone.excuses(outcome) or together.excuses(outcome)


@pytest.mark.parametrize("each", catalogue(), ids=lambda each: each.name)
def test_nothing_excuses_what_failed_before_it(each: Fault) -> None:
    """A request that ended before a fault began did not fail by it."""
    early = failed(began_s=1.0)

    assert unexcused([early], [incident(each.name, lost=frozenset({VICTIM}))]) == [early]


def test_a_replica_more_than_was_killed_is_a_problem() -> None:
    """One was killed, two are gone."""
    both = incident("kill-engine-core", lost=frozenset({VICTIM, OTHER}))

    assert lost_too_many(both) == "kill-engine-core: 2 replicas are gone, 1 may be"
    assert lost_too_many(incident("scale", lost=frozenset({VICTIM, OTHER}))) == ""


def result(step: StepResult, *failures: Outcome) -> ChaosResult:
    """Return a run of one step."""
    ledger = Ledger()
    for each in failures:
        ledger.add(each)
    return ChaosResult(seed=0, seconds=30.0, steps=(step,), ledger=ledger, asked=1)


def step(*, right_after_s: float | None, problem: str = "") -> StepResult:
    """Return a step in which NATS was killed."""
    return StepResult(
        name="kill-nats",
        bound_s=20.0,
        right_after_s=right_after_s,
        incident=incident("kill-nats"),
        problem=problem,
    )


def test_a_run_in_which_everything_held_succeeds() -> None:
    """No problem, exit code 0."""
    found = result(step(right_after_s=3.0))

    assert found.problems == []
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (step(right_after_s=None), "kill-nats: never right again"),
        (step(right_after_s=21.0), "right again after 21.0 s, 20 s are allowed"),
        (step(right_after_s=3.0, problem="NATS does not run"), "kill-nats: NATS does not run"),
    ],
)
def test_a_step_that_did_not_hold_is_told(made: StepResult, words: str) -> None:
    """With the fault's name, and exit code 1."""
    found = result(made)

    assert words in found.problems[0]
    assert found.exit_code == 1


def test_a_request_that_failed_for_nothing_is_told() -> None:
    """Who served it, how it ended, and when."""
    found = result(step(right_after_s=3.0), failed())

    assert "short request of r1.a broke off" in found.problems[0]
    assert found.to_json()["requests"] == {
        "short": {"broke off": 1},
        "long": {},
        "large": {},
        "python": {},
    }


def test_every_cost_is_some_faults() -> None:
    """A cost that no fault has would be a rule that nothing tests."""
    assert {each.cost for each in catalogue()} == set(Cost)
