"""When a running HAProxy is replaced, and when that is tried again.

Invariants:
- What runs and what a start would give decide, not what happened before.
- Each attempt without success waits longer than the one before, up to a bound.
- Pools never become fewer, and a failed reload does not double them once more.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from services.router_config.domain.model import ReloadReason
from services.router_config.domain.plan import POOLS_PER_KIND_MAX
from services.router_config.domain.reload import (
    RETRY_MAX_S,
    Attempts,
    Build,
    pools_after,
    reload_reasons,
)

BUILD = Build(config="a", pools_per_kind=2)
EXHAUSTED = ReloadReason.POOLS_EXHAUSTED
CHANGED = ReloadReason.CONFIG_CHANGED


def test_what_runs_as_it_would_start_needs_no_reload() -> None:
    """Nor does one with more pools than the files say."""
    more = replace(BUILD, pools_per_kind=3)

    assert reload_reasons((), running=BUILD, on_disk=BUILD) == ()
    assert reload_reasons((), running=more, on_disk=BUILD) == ()


def test_another_configuration_or_more_pools_are_a_change() -> None:
    """A HAProxy that does not say what it was started with has another one."""
    for running in (replace(BUILD, config=""), replace(BUILD, pools_per_kind=1)):
        assert reload_reasons((), running=running, on_disk=BUILD) == (CHANGED,)


def test_nothing_is_reloaded_from_files_that_are_not_what_they_should_be() -> None:
    """The new program would be as old as the one that runs."""
    assert reload_reasons((EXHAUSTED,), running=BUILD, on_disk=None) == ()


def test_pools_double_once_however_often_the_reload_fails() -> None:
    """They are counted from what runs."""
    first = pools_after((EXHAUSTED,), running=BUILD, on_disk=BUILD)
    again = pools_after((EXHAUSTED,), running=BUILD, on_disk=replace(BUILD, pools_per_kind=first))

    assert (first, again) == (4, 4)
    assert pools_after((CHANGED,), running=BUILD, on_disk=BUILD) == 2


@given(st.integers(1, POOLS_PER_KIND_MAX), st.integers(1, POOLS_PER_KIND_MAX))
def test_pools_never_become_fewer(running: int, on_disk: int) -> None:
    """A model keeps its pool."""
    pools = pools_after(
        (EXHAUSTED,),
        running=replace(BUILD, pools_per_kind=running),
        on_disk=replace(BUILD, pools_per_kind=on_disk),
    )

    assert on_disk <= pools <= POOLS_PER_KIND_MAX


@given(st.integers(0, 100))
def test_each_attempt_waits_longer_up_to_a_bound(count: int) -> None:
    """A minute at most, so that a mended cause is seen."""
    attempts, waits = Attempts(), []
    for _ in range(count + 1):
        attempts = attempts.with_another(now=10.0)
        waits.append(attempts.next_at - 10.0)

    assert waits == sorted(waits)
    assert 0 < waits[-1] <= RETRY_MAX_S
