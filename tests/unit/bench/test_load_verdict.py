"""A run is refused when the generator was its limit, and the reason says which limit.

Invariant: a generator that did more, or was later, is never judged milder.
"""

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.result import Generator, Latency, Quantiles, Requests
from tools.bench.load.verdict import judge


def times(seconds: float) -> Quantiles:
    """Return a distribution of one value."""
    return Quantiles(
        count=9,
        mean_s=seconds,
        min_s=seconds,
        p50_s=seconds,
        p90_s=seconds,
        p95_s=seconds,
        p99_s=seconds,
        p999_s=seconds,
        max_s=seconds,
        curve=(),
    )


SOUND = Generator(
    processes=1,
    cpu_s=1.0,
    cpu_ms_per_1k_tokens=10.0,
    utilisation_ratio=0.3,
    waited_ratio=0.0,
    send_lag=times(0.001),
    loop_lag=times(0.001),
    niceness=0,
    connections=4,
    held=0,
)
SERVED = Requests(
    measured=9, ok=9, failed=0, truncated=0, unfinished=0, interrupted=0, short=0, warmup=0
)
QUICK = Latency(ttft=times(0.02), itl=None, tpot=None, e2e=times(0.1))
SLOW = Latency(ttft=times(2.0), itl=None, tpot=None, e2e=times(9.0))


def test_a_generator_with_room_is_no_limit() -> None:
    """No reason, no warning."""
    found = judge(SOUND, QUICK, SERVED)

    assert found.is_valid
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("generator", "told"),
    [
        (replace(SOUND, utilisation_ratio=0.95), "95% of one CPU"),
        (replace(SOUND, send_lag=times(0.03)), r"sent requests 30\.0 ms late"),
        (replace(SOUND, loop_lag=times(0.03)), r"read the clock 30\.0 ms late"),
        (replace(SOUND, held=3), "file descriptor"),
    ],
)
def test_each_limit_is_named(generator: Generator, told: str) -> None:
    """The reader learns what to change."""
    found = judge(generator, QUICK, SERVED)

    (reason,) = found.reasons
    assert re.search(told, reason)
    assert not found.is_valid


def test_lateness_is_judged_beside_what_is_measured() -> None:
    """30 ms are nothing beside two seconds."""
    late = replace(SOUND, send_lag=times(0.03), loop_lag=times(0.03))

    assert judge(late, SLOW, SERVED).is_valid
    assert not judge(late, QUICK, SERVED).is_valid


def test_a_run_without_any_answer_measured_nothing() -> None:
    """Its latencies are not good but missing."""
    nothing = Latency(ttft=None, itl=None, tpot=None, e2e=None)

    found = judge(SOUND, nothing, replace(SERVED, ok=0, failed=9))

    assert not found.is_valid


def test_a_shared_cpu_is_a_warning_while_nothing_is_late() -> None:
    """Benchmarks on a laptop have no CPU to spare."""
    found = judge(replace(SOUND, waited_ratio=0.4), QUICK, SERVED)

    assert found.is_valid
    assert "waited for a CPU during 40%" in found.warnings[0]


@given(st.floats(0, 1), st.floats(0, 0.1), st.floats(0, 0.1), st.integers(0, 3))
def test_more_effort_is_never_judged_milder(
    busy: float, send_s: float, loop_s: float, held: int
) -> None:
    """Reasons only add up."""
    less = replace(
        SOUND,
        utilisation_ratio=busy,
        send_lag=times(send_s),
        loop_lag=times(loop_s),
        held=held,
    )
    more = replace(
        SOUND,
        utilisation_ratio=busy * 1.5,
        send_lag=times(send_s * 2),
        loop_lag=times(loop_s * 2),
        held=held * 2,
    )

    assert len(judge(more, QUICK, SERVED).reasons) >= len(judge(less, QUICK, SERVED).reasons)
