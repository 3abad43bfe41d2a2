"""A soak's verdict from its samples."""

from dataclasses import replace

import pytest

from libs.errors import UsageError
from tools.bench.chaos.footprint import Footprint, Use
from tools.bench.chaos.outcomes import Ending, Kind, Outcome
from tools.bench.idle.parts import Part
from tools.bench.soak.result import Reading, SoakResult, series_of
from tools.bench.soak.run import SoakPlan
from tools.bench.soak.windows import Window, WindowedLedger

MIB = 2**20
SAMPLES = 60


def reading(
    number: int, *, memory_mib: float = 100, files: int = 20, ttft_s: float = 0.1
) -> Reading:
    """Return what was sampled half a minute after the one before."""
    use = Use(processes=2, threads=8, files=2 * files, memory_bytes=int(2 * memory_mib * MIB))
    window = Window(answers=9, ttft_p50_s=ttft_s, ttft_p99_s=ttft_s, answer_p99_s=1.0)
    footprint = Footprint(parts={Part.NATS: use}, sockets=frozenset(), segments=frozenset())
    return Reading(at_s=30.0 * number, footprint=footprint, window=window)


def result(readings: list[Reading], ledger: WindowedLedger | None = None) -> SoakResult:
    """Return the verdict."""
    return SoakResult(seconds=1800.0, series=series_of(readings), ledger=ledger or WindowedLedger())


def outcome(*, ending: Ending = Ending.WHOLE, kind: Kind = Kind.SHORT) -> Outcome:
    """Return an answer of half a second, whose first token took a fifth of one."""
    return Outcome(kind=kind, began_s=1.0, ended_s=1.5, ending=ending, first_s=1.2)


def test_a_steady_stack_passes() -> None:
    """Nothing grows and nothing failed."""
    found = result([reading(number) for number in range(SAMPLES)])

    assert found.problems == []
    assert found.exit_code == 0


def test_a_leak_of_memory_is_named_with_its_part() -> None:
    """For one process of it, with the level and what is allowed."""
    found = result([reading(number, memory_mib=100 + number) for number in range(SAMPLES)])

    assert found.problems == [
        "NATS: memory grew by 47.0 MiB from a level of 135.5 MiB; 16.0 MiB are allowed"
    ]
    assert found.exit_code == 1


def test_files_and_latency_are_judged_too() -> None:
    """Each in its own unit."""
    found = result(
        [reading(number, files=20 + number, ttft_s=0.1 + number / 100) for number in range(SAMPLES)]
    )

    assert [each.name for each in found.growing()] == [
        "NATS: files",
        "time to first token p50",
        "time to first token p99",
    ]


def test_what_grew_in_the_first_fifth_does_not_count() -> None:
    """Caches fill."""
    warm = [reading(number, memory_mib=10 * number) for number in range(SAMPLES // 5)]
    steady = [reading(number) for number in range(SAMPLES // 5, SAMPLES)]

    assert result([*warm, *steady]).problems == []


def test_a_run_that_is_too_short_has_no_verdict() -> None:
    """Nothing is known to grow, which is not the same as that nothing grows."""
    found = result([reading(number) for number in range(5)])

    assert found.problems == ["too few samples to tell what grows: run longer"]


def test_a_failed_request_fails_the_run() -> None:
    """In a soak nothing is killed, so nothing may fail."""
    ledger = WindowedLedger()
    ledger.add(outcome())
    ledger.add(outcome(ending=Ending.SAID))

    found = result([reading(number) for number in range(SAMPLES)], ledger)

    assert found.problems[0] == "1 of 2 requests failed"


def test_a_window_has_the_latencies_of_its_own_short_answers() -> None:
    """The next one begins empty; a window without answers is unknown, not zero."""
    ledger = WindowedLedger()
    ledger.add(outcome())
    ledger.add(outcome(kind=Kind.LONG))
    ledger.add(outcome(ending=Ending.LOST))

    first, second = ledger.close_window(), ledger.close_window()

    assert (first.answers, first.answer_p99_s) == (1, 0.5)
    assert first.ttft_p50_s == pytest.approx(0.2)
    assert (second.answers, second.ttft_p50_s) == (0, None)
    assert ledger.requests == 3


@pytest.mark.parametrize("field", ["seconds", "sample_s", "change_s"])
def test_times_of_nothing_are_refused(field: str) -> None:
    """They would never end or never sample."""
    with pytest.raises(UsageError):
        replace(SoakPlan(seconds=10.0), **{field: 0.0})  # type: ignore[arg-type]
