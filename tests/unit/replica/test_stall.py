"""When an engine core counts as stuck.

Invariants: an idle engine is never stuck, one that ends steps is never stuck as long as it reports,
what never reported is unknown, and time in which nobody looked is no evidence.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.replica.domain.stall import FIRST_STEP_FACTOR, LOOK_MAX_S, Progress, StallWatch

LIMIT_S = 30.0


def progress(steps: int = 1, *, unfinished: int = 1, unread: int = 0) -> Progress:
    """Return what an engine core with one request says."""
    return Progress(steps=steps, unfinished=unfinished, unread=unread)


def looked(
    watch: StallWatch, reports: Sequence[Progress | None], *, begin_s: float = 0.0
) -> list[str | None]:
    """Look once a second, after the report of that second if there is one."""
    found = []
    for second, report in enumerate(reports, start=1):
        if report is not None:
            watch.saw(report)
        found.append(watch.look(begin_s + second))
    return found


def test_work_without_a_step_is_a_stall_after_the_limit_and_not_before() -> None:
    """The reports go on: its main thread is stuck, or a worker is."""
    found = looked(StallWatch(LIMIT_S, 0.0), [progress()] * 40)

    assert found[:30] == [None] * 30
    assert found[31] == "the engine core has ended no step for 30 s"


def test_messages_that_nobody_reads_are_work() -> None:
    """An engine core that got stuck while it was idle follows no request."""
    found = looked(StallWatch(LIMIT_S, 0.0), [progress(unfinished=0, unread=1)] * 40)

    assert found[-1] is not None


def test_silence_is_a_stall_whatever_was_said_last() -> None:
    """A stopped process says nothing, and its last word may have been that it is idle."""
    found = looked(StallWatch(LIMIT_S, 0.0), [progress(unfinished=0), *[None] * 40])

    assert found[:30] == [None] * 30
    assert found[-1] == "the engine core has said nothing for 30 s"


def test_what_never_reported_is_unknown() -> None:
    """A release of vLLM without the hooks runs on."""
    assert looked(StallWatch(LIMIT_S, 0.0), [None] * 1_000) == [None] * 1_000


def test_the_first_step_may_take_longer() -> None:
    """Kernels are compiled in it."""
    found = looked(StallWatch(LIMIT_S, 0.0), [progress(0)] * 320)

    assert found[: int(LIMIT_S) * FIRST_STEP_FACTOR] == [None] * int(LIMIT_S) * FIRST_STEP_FACTOR
    assert found[-1] is not None


def test_a_look_that_comes_late_is_no_evidence() -> None:
    """A replica that was stopped, or whose loop was held up, has reports still to read."""
    watch = StallWatch(LIMIT_S, 0.0)
    watch.saw(progress())

    assert watch.look(10_000.0) is None


def test_while_an_adapter_is_loaded_no_step_is_due() -> None:
    """The engine makes no token meanwhile; that has a limit of its own."""
    watch = StallWatch(LIMIT_S, 0.0)
    watch.saw(progress())

    found = [watch.look(float(second), is_excused=True) for second in range(1, 100)]

    assert set(found) == {None}
    assert watch.look(101.0) is None


@given(
    st.lists(
        st.one_of(
            st.builds(progress, st.just(1), unfinished=st.just(0)),
            st.integers(0, 5).map(lambda ahead: progress(1_000 + ahead)),
        ),
        min_size=1,
        max_size=80,
    )
)
def test_an_engine_that_is_idle_or_moves_is_never_stuck(reports: list[Progress]) -> None:
    """Steps that go up by one with each report, whatever else it says."""
    moving = [
        Progress(steps=each.steps + number * 10, unfinished=each.unfinished, unread=each.unread)
        for number, each in enumerate(reports)
    ]

    assert set(looked(StallWatch(3.0, 0.0), moving)) == {None}


@pytest.mark.parametrize("period_s", [0.2, LOOK_MAX_S])
def test_how_often_somebody_looks_does_not_matter(period_s: float) -> None:
    """The limit is a time, not a number of looks."""
    watch = StallWatch(LIMIT_S, 0.0)
    watch.saw(progress(unfinished=0))

    looks = [watch.look(number * period_s) for number in range(1, 400)]

    first_s = period_s * (1 + next(i for i, said in enumerate(looks) if said))
    assert LIMIT_S < first_s <= LIMIT_S + 2 * LOOK_MAX_S
