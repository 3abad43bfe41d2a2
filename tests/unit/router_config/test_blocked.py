"""Which pools nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from libs.contracts.ids import ModelName
from libs.testing.records import a_failing_model, a_model
from services.router_config.adapters.haproxy.blocked_codec import blocked_entries, read_blocked
from services.router_config.domain.desire import desire
from services.router_config.domain.drift import DriftKind, drift, leave
from services.router_config.domain.model import Blocked, Known, Observed, PoolName
from services.router_config.domain.plan import Block, plan

LC0 = PoolName("lc0")
EMPTY = Observed(pools_per_kind=2)
KNOWN = Known(models=(a_model("m"),), connected_for_s=60.0)


def wanted(known: Known) -> dict[PoolName, Blocked]:
    """Decide on an empty edge."""
    return dict(desire(known, EMPTY, grace_s=1.0).blocked)


def test_a_model_that_is_blocked_blocks_its_pool() -> None:
    """With its error, and the next try in whole seconds."""
    failing = replace(a_failing_model("m", error="no such file"), next_try_at=12.7)

    assert wanted(replace(KNOWN, failing=(failing,))) == {
        LC0: Blocked(error="no such file", next_try_at=12)
    }


def test_a_failure_that_may_pass_blocks_nothing() -> None:
    """The first failed start is no reason to refuse anybody."""
    assert wanted(replace(KNOWN, failing=(a_failing_model("m", blocked=False),))) == {}


def test_a_model_without_a_pool_blocks_nothing() -> None:
    """Such as one that is no longer declared."""
    assert wanted(replace(KNOWN, failing=(a_failing_model("gone"),))) == {}


def test_a_pool_is_freed_before_another_models_route_leads_to_it() -> None:
    """What was said of the model before is not said of the next one."""
    observed = replace(EMPTY, blocked={LC0: Blocked(error="old", next_try_at=0)})
    desired = desire(KNOWN, observed, grace_s=1.0)

    steps = plan(desired, observed, leaving_since={}, now=0.0, drain_timeout_s=1.0)

    assert steps.actions[0] == Block(blocked={})
    assert desired.routes[ModelName("m")].pool == LC0


def test_a_map_that_was_edited_by_hand_is_written_again() -> None:
    """And counts as drift, once."""
    read = read_blocked((("lc0", "no number here"),))
    observed = replace(EMPTY, blocked=read.blocked, blocked_foreign=read.foreign)
    desired = desire(Known(), observed, grace_s=1.0)
    steps = plan(desired, observed, leaving_since={}, now=0.0, drain_timeout_s=1.0)

    found = drift(leave(desired, (), leaving=()), observed, desired=desired, actions=steps.actions)

    assert Block(blocked={}) in steps.actions
    assert found[DriftKind.FAILING] == 1


def test_what_is_written_is_read_back() -> None:
    """Whatever the error holds."""
    blocked = {LC0: Blocked(error='a: "b" \\ 50 % é', next_try_at=0)}

    read = read_blocked(blocked_entries(blocked))

    assert (read.blocked, read.foreign) == (blocked, False)
