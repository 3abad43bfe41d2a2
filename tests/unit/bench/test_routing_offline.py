"""The replay without servers: caches, queues and what each policy makes of them."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from tools.bench.load.traces import TraceRequest
from tools.bench.routing.command import OFFLINE_POLICIES
from tools.bench.routing.offline import (
    Device,
    OfflineFigures,
    Replica,
    parse_rule,
    replay,
    within_bound,
)

DEVICE = Device(capacity_blocks=8, block_s=0.1, step_s=0.0)
LARGE = Device(capacity_blocks=10_000, block_s=0.001, step_s=0.0)


def asked(at_s: float, *blocks: int) -> TraceRequest:
    """Return a request with these blocks."""
    return TraceRequest(at_s=at_s, prompt_tokens=len(blocks), output_tokens=1, blocks=blocks)


def conversations(count: int, *, turns: int, system: int = 4) -> list[TraceRequest]:
    """Return conversations that share a system prompt and take turns, one second apart."""
    head = tuple(range(system))
    return [
        asked(float(turn * count + each), *head, *(1000 * (each + 1) + t for t in range(turn + 1)))
        for turn in range(turns)
        for each in range(count)
    ]


def run(requests: list[TraceRequest], policy: str, device: Device = LARGE) -> OfflineFigures:
    """Replay over four replicas."""
    return replay(requests, policy, replicas=4, device=device)


def test_a_replica_computes_only_what_it_does_not_hold() -> None:
    """A prompt's time is its uncached blocks', behind whatever is before it."""
    replica = Replica(number=0)

    first, second = (
        replica.serve(asked(0.0, 1, 2, 3), DEVICE),
        replica.serve(asked(0.1, 1, 2, 4), DEVICE),
    )

    assert (first[0], second[0]) == (0, 2)
    assert [first[1], second[1]] == pytest.approx([0.3, 0.3])
    assert replica.cached((1, 2, 4, 9)) == 3


def test_a_full_cache_forgets_the_oldest_prompts_end_first() -> None:
    """The beginning of a prompt is what others may share."""
    replica = Replica(number=0)
    replica.serve(asked(0.0, 1, 2, 3, 4), DEVICE)
    replica.serve(asked(1.0, 5, 6, 7, 8, 9, 10), DEVICE)

    assert replica.cached((1, 2, 3, 4)) == 2
    assert replica.cached((5, 6, 7, 8, 9, 10)) == 6


def test_every_policy_that_is_offered_sends_everything_somewhere() -> None:
    """With hit ratios between nothing and all."""
    for policy in OFFLINE_POLICIES.split(","):
        found = run(conversations(10, turns=5), policy)

        assert 0.0 <= found.hit_ratio < 1.0
        assert found.imbalance >= 1.0
        assert found.ttft_p50_s <= found.ttft_p99_s


def test_a_key_that_everybody_shares_is_one_replicas_work() -> None:
    """A hash of the system prompt alone cannot tell conversations apart."""
    requests = conversations(20, turns=6)

    shared, apart = run(requests, "prefix_blocks:1"), run(requests, "prefix_blocks:5")

    assert shared.imbalance == pytest.approx(4.0)
    assert apart.imbalance < 2.5


def test_affinity_finds_more_than_taking_turns() -> None:
    """Conversations come back to the replica that has them."""
    requests = conversations(21, turns=6)
    taken_in_turns = run(requests, "round_robin").hit_ratio

    for policy in ("prefix_blocks:5", "session", "pinned:1/2/4/8", "longest"):
        assert run(requests, policy).hit_ratio > taken_in_turns


def test_a_busy_replica_is_passed_over() -> None:
    """However hot its prefix is: here from twice its share on, or from half more."""
    slow = Device(capacity_blocks=100, block_s=10.0, step_s=1000.0)
    burst = [asked(0.0, 1, 2, 3) for _ in range(40)]

    limits = {"prefix_blocks:3": 20, "session": 20, "pinned:1/2": 20, "longest@150": 15}
    for policy, limit in limits.items():
        fleet = [Replica(number=number) for number in range(4)]
        rule = parse_rule(policy)
        for request in burst:
            free = within_bound(fleet, rule.bound, 0.0)
            rule.choose(request.blocks or (), free, 0.0).serve(request, slow)
        assert max(replica.served for replica in fleet) <= limit


@pytest.mark.parametrize(
    "name", ["", "prefix_blocks", "prefix_blocks:x", "pinned:", "random", "longest@100"]
)
def test_an_unknown_policy_is_refused(name: str) -> None:
    """With its name."""
    with pytest.raises(UsageError, match=r"is no policy|above 100"):
        parse_rule(name)
