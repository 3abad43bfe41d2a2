"""Policies by name, vLLM's counters, and figures over rounds."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from libs.haproxy.config import Balance
from tools.bench.routing.counters import (
    CacheCounters,
    CountersMissingError,
    hit_ratio,
    imbalance,
    parse_counters,
)
from tools.bench.routing.policies import Policy, parse_policies, shrunk
from tools.bench.routing.results import Results, Spread, Turn
from tools.bench.routing.table import doubts, rows

METRICS = """\
# HELP vllm:prefix_cache_queries_total Prefix cache queries, in terms of number of queried tokens.
vllm:prefix_cache_queries_total{engine="0",model_name="routed"} 2048.0
vllm:prefix_cache_queries_created{engine="0",model_name="routed"} 1.7e+09
vllm:prefix_cache_hits_total{engine="0",model_name="routed"} 512.0
vllm:external_prefix_cache_queries_total{engine="0",model_name="routed"} 7.0
"""


def turn(policy: str, number: int, hits: float | None, p99_s: float | None) -> Turn:
    """Return one turn."""
    return Turn(
        policy=policy,
        round=number,
        hit_ratio=hits,
        imbalance=1.0,
        computed_tokens=100,
        ttft_p50_s=0.1,
        ttft_p99_s=p99_s,
        requests=10,
        failed=1,
        doubts=("late",) if number == 2 else (),
    )


def test_policies_are_named_with_their_bytes() -> None:
    """And with their bound; spaces do not matter."""
    assert parse_policies("prefix:4096:300, least_loaded,round_robin") == (
        Policy(
            name="prefix:4096:300", balance=Balance.PREFIX, prefix_bytes=4096, bound_percent=300
        ),
        Policy(name="least_loaded", balance=Balance.LEAST_LOADED),
        Policy(name="round_robin", balance=Balance.ROUND_ROBIN),
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is no policy"),
        ("random", "is no policy"),
        ("least_loaded:9", "is no policy"),
        ("prefix:9", "from 16 to 200,000"),
        ("prefix:99:100", "from 101 to 10,000"),
        ("prefix:99:200:1", "too many numbers"),
        ("prefix:many", "from 16 to 200,000"),
        ("prefix,prefix", "twice"),
    ],
)
def test_wrong_policies_are_refused(text: str, told: str) -> None:
    """Before anything starts."""
    with pytest.raises(UsageError, match=told):
        parse_policies(text)


def test_a_prefix_shrinks_with_the_text_but_not_with_the_json_before_it() -> None:
    """Of 30 bytes of JSON and 3,200 of text, 30 and 100 are left at a factor of 32."""
    policy = Policy(name="prefix", balance=Balance.PREFIX, prefix_bytes=3_230)

    assert shrunk(policy, factor=32.0, head_bytes=30).prefix_bytes == 130
    assert shrunk(policy, factor=10_000.0, head_bytes=30).prefix_bytes == 38


def test_counters_are_read_and_subtracted() -> None:
    """A turn is what was counted since its begin."""
    found = parse_counters(METRICS)

    assert found == CacheCounters(queried_tokens=2048, hit_tokens=512)
    before = CacheCounters(queried_tokens=48, hit_tokens=12)
    assert found.since(before) == CacheCounters(queried_tokens=2000, hit_tokens=500)


def test_counters_that_are_not_there_are_not_zero() -> None:
    """A server without prefix caching has no hit ratio."""
    with pytest.raises(CountersMissingError):
        parse_counters("vllm:prefix_cache_queries_total 1.0\n")


def test_ratios_need_something_to_divide_by() -> None:
    """Nothing looked up is no ratio of zero."""
    idle = CacheCounters(queried_tokens=0, hit_tokens=0)
    half = CacheCounters(queried_tokens=10, hit_tokens=5)

    assert (hit_ratio([idle]), imbalance([idle])) == (None, None)
    assert (hit_ratio([idle, half]), imbalance([idle, half])) == (0.5, 2.0)


def test_ratios_are_taken_inside_a_round() -> None:
    """A machine that slows down between rounds changes no ratio."""
    results = Results(
        turns=[
            turn("prefix", 1, 0.6, 1.0),
            turn("least_loaded", 1, 0.4, 2.0),
            turn("prefix", 2, 0.7, 10.0),
            turn("least_loaded", 2, None, 30.0),
        ]
    )

    assert results.ratio("least_loaded", "prefix", "ttft_p99_s") == Spread(
        median=2.5, least=2.0, greatest=3.0
    )
    assert results.spread("least_loaded", "hit_ratio") == Spread(
        median=0.4, least=0.4, greatest=0.4
    )
    (first, second) = rows(results)
    assert first[:2] == ("prefix", "65.0 % (60.0-70.0)")
    assert (second[1], second[-1]) == ("40.0 %", "2")
    assert doubts(results) == ["prefix, round 2: late", "least_loaded, round 2: late"]
