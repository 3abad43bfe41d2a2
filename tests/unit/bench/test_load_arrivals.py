"""The schedule depends on the plan and the seed alone.

Invariants: the processes' shares put together are the whole schedule; open loops are in order and
inside the extent; a replay keeps the trace's gaps, divided by the speed.
"""

from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.arrivals import RequestSpec, Shard, poisson_times, requests_of
from tools.bench.load.lengths import Uniform
from tools.bench.load.plan import (
    Arrivals,
    ClosedLoop,
    Extent,
    LoadPlan,
    Poisson,
    Replay,
    Target,
    Workload,
)
from tools.bench.load.traces import TraceRequest

SEEDS = st.integers(0, 1 << 31)
PROCESSES = st.integers(1, 5)
TRACE = tuple(
    TraceRequest(at_s=index * 0.5, prompt_tokens=40, output_tokens=index + 1, blocks=(index % 3,))
    for index in range(20)
)
REPLAY = Replay(requests=TRACE, block_tokens=40, speed=2.0)


def plan(arrivals: Arrivals, *, seed: int = 0, requests: int | None = None) -> LoadPlan:
    """Return a plan of ten seconds."""
    return LoadPlan(
        target=Target(url="http://t", model="m"),
        arrivals=arrivals,
        workload=Workload(
            prompt_tokens=Uniform(low=1, high=50), output_tokens=Uniform(low=1, high=50), seed=seed
        ),
        extent=Extent(warmup_s=2.0, duration_s=8.0, requests=requests),
    )


def sent(given_plan: LoadPlan, *, of: int = 1) -> list[list[RequestSpec]]:
    """Return every process's requests; a closed loop's first ones."""
    shards = [Shard(index=index, of=of) for index in range(of)]
    return [list(islice(requests_of(given_plan, shard), 1000)) for shard in shards]


@given(SEEDS, PROCESSES, st.sampled_from([Poisson(rate_per_s=9.0), REPLAY]))
def test_the_shares_put_together_are_the_whole_schedule(
    seed: int, processes: int, arrivals: Arrivals
) -> None:
    """More processes send the same load."""
    (whole,) = sent(plan(arrivals, seed=seed))

    shares = sent(plan(arrivals, seed=seed), of=processes)

    assert sorted((spec for share in shares for spec in share), key=lambda s: s.at_s or 0) == whole


@given(SEEDS, PROCESSES)
def test_a_closed_loop_sends_the_same_requests_from_any_process(seed: int, processes: int) -> None:
    """Request n is the same whoever sends it."""
    (whole,) = sent(plan(ClosedLoop(clients=8), seed=seed))

    shares = sent(plan(ClosedLoop(clients=8), seed=seed), of=processes)

    assert [shares[number % processes][number // processes] for number in range(40)] == whole[:40]


@given(SEEDS)
def test_an_open_loop_is_in_order_and_inside_its_time(seed: int) -> None:
    """Nothing is due after the end."""
    (specs,) = sent(plan(Poisson(rate_per_s=9.0), seed=seed))

    times = [spec.at_s or 0.0 for spec in specs]
    assert times == sorted(times)
    assert all(0 <= at_s < 10.0 for at_s in times)


@given(SEEDS, st.integers(1, 30))
def test_a_number_of_requests_is_counted_after_the_warm_up(seed: int, requests: int) -> None:
    """The warm-up's requests come on top."""
    (specs,) = sent(plan(Poisson(rate_per_s=100.0), seed=seed, requests=requests))

    assert sum((spec.at_s or 0.0) >= 2.0 for spec in specs) == requests


def test_poisson_arrivals_come_at_the_asked_rate_and_bunch() -> None:
    """The gaps of a Poisson stream vary as much as they are long."""
    times = list(islice(poisson_times(50.0, seed=1), 20_000))

    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(1 / 50, rel=0.03)
    assert deviation == pytest.approx(mean, rel=0.05)


def test_a_replay_keeps_times_lengths_and_blocks() -> None:
    """At twice the speed, half the time."""
    (specs,) = sent(plan(REPLAY))

    assert [spec.at_s for spec in specs[:3]] == [0.0, 0.25, 0.5]
    assert [spec.output_tokens for spec in specs[:3]] == [1, 2, 3]
    assert specs[0].prompt == specs[3].prompt != specs[1].prompt
