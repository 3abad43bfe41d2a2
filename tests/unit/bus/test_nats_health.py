"""When NATS is started again.

Invariants: never while the disk is full, never after one failure alone, never for silence, and at
most once in a while; whatever happened before, writes that go on failing end in a restart, and ones
that work end the suspicion.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from deploy.local.nats_health import (
    PROBE_S,
    RESTART_PAUSE_S,
    ROOM_BYTES_MIN,
    Health,
    after_look,
    after_probe,
    after_restart,
    is_probe_due,
    is_restart_due,
)

FULL, ROOM = ROOM_BYTES_MIN - 1, ROOM_BYTES_MIN
LOOK_S = 2.0
LOOKS = st.tuples(st.sampled_from([FULL, ROOM]), st.sampled_from([True, False, None]))


class Watch:
    """What the program does, with a clock of the test's."""

    def __init__(self) -> None:
        """Know nothing."""
        self.health = Health()
        self.now = 1_000.0
        self.probes = 0
        self.restarts: list[float] = []

    def look(self, free_bytes: int, *, is_failing: bool | None) -> None:
        """Look once; what a try would show is given."""
        self.now += LOOK_S
        self.health = after_look(self.health, free_bytes=free_bytes)
        if not is_probe_due(self.health, free_bytes=free_bytes, now=self.now):
            return
        self.probes += 1
        self.health = after_probe(self.health, is_failing=is_failing, now=self.now)
        if is_restart_due(self.health, now=self.now):
            self.restarts.append(self.now)
            self.health = after_restart(self.health, now=self.now)


def test_writes_that_fail_although_there_is_room_end_in_a_restart() -> None:
    """What the full disk left behind."""
    watch = Watch()
    watch.look(ROOM, is_failing=False)
    watch.look(FULL, is_failing=True)

    watch.look(ROOM, is_failing=True)
    after_one = list(watch.restarts)
    watch.look(ROOM, is_failing=True)

    assert after_one == []
    assert len(watch.restarts) == 1


@given(looks=st.lists(LOOKS, max_size=60))
def test_nothing_is_tried_while_the_disk_is_full(looks: list[tuple[int, bool | None]]) -> None:
    """Each write that fails breaks one more stream."""
    watch = Watch()
    for free_bytes, is_failing in looks:
        probes = watch.probes
        watch.look(free_bytes, is_failing=is_failing)

        assert free_bytes == ROOM or watch.probes == probes


@given(looks=st.lists(LOOKS, max_size=60))
def test_restarts_keep_their_distance(looks: list[tuple[int, bool | None]]) -> None:
    """A server that cannot be helped is not started again all the time."""
    watch = Watch()
    for free_bytes, is_failing in looks:
        watch.look(free_bytes, is_failing=is_failing)

    gaps = [
        later - before for before, later in zip(watch.restarts, watch.restarts[1:], strict=False)
    ]
    assert all(gap >= RESTART_PAUSE_S for gap in gaps)


@given(looks=st.lists(LOOKS, max_size=30))
def test_whatever_was_before_lasting_failures_end_in_a_restart(
    looks: list[tuple[int, bool | None]],
) -> None:
    """Within the pause and two tries, also where nothing had pointed to trouble."""
    watch = Watch()
    for free_bytes, is_failing in looks:
        watch.look(free_bytes, is_failing=is_failing)
    before = len(watch.restarts)

    for _ in range(int((PROBE_S + RESTART_PAUSE_S) / LOOK_S) + 3):
        watch.look(ROOM, is_failing=True)

    assert len(watch.restarts) > before


def test_silence_is_no_failure() -> None:
    """A server that is down or stopped is its supervisor's matter."""
    watch = Watch()
    watch.look(FULL, is_failing=None)

    for _ in range(100):
        watch.look(ROOM, is_failing=None)

    assert watch.restarts == []


def test_at_rest_writes_are_tried_once_a_minute() -> None:
    """Each try is a write to the disk."""
    watch = Watch()

    for _ in range(int(10 * PROBE_S / LOOK_S)):
        watch.look(ROOM, is_failing=False)

    assert watch.probes == 10
