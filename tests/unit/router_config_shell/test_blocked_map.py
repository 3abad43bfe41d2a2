"""The map of pools that nobody waits for, as it is written and read."""

from __future__ import annotations

from dataclasses import replace

from services.router_config.adapters.haproxy.blocked_codec import blocked_entries, read_blocked
from services.router_config.domain.desire import desire
from services.router_config.domain.drift import DriftKind, drift, leave
from services.router_config.domain.model import Blocked, Known, Observed, PoolName
from services.router_config.domain.plan import Block, plan

LC0 = PoolName("lc0")
EMPTY = Observed(pools_per_kind=2)


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
