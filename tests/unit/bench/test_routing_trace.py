"""What `bench routing` replays: the made-up trace, and any trace made smaller."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from tools.bench.load.traces import TraceFormat, TraceRequest, parse_trace
from tools.bench.routing.scale import Scale, scaled
from tools.bench.routing.synthetic import mooncake_lines


def made_up(requests: int = 300, *, seed: int = 0) -> tuple[TraceRequest, ...]:
    """Return a made-up trace, read by the same parser as a published one."""
    lines = mooncake_lines(requests, seed=seed)
    return parse_trace(lines, trace_format=TraceFormat.MOONCAKE, name="made up")


def blocks_of(request: TraceRequest) -> tuple[int, ...]:
    """Return a request's blocks."""
    assert request.blocks is not None
    return request.blocks


def test_the_made_up_trace_is_mooncakes_format_and_the_same_every_time() -> None:
    """A seed is a trace."""
    assert len(made_up()) == 300
    assert mooncake_lines(50, seed=3) == mooncake_lines(50, seed=3)
    assert mooncake_lines(50, seed=3) != mooncake_lines(50, seed=4)


def test_the_made_up_trace_shares_prefixes_as_a_tree() -> None:
    """A block always stands behind the same blocks; some are shared by many, the last by none."""
    before: dict[int, tuple[int, ...]] = {}
    seen: dict[int, int] = {}
    for request in made_up():
        blocks = blocks_of(request)
        for index, block in enumerate(blocks):
            assert before.setdefault(block, blocks[:index]) == blocks[:index]
            seen[block] = seen.get(block, 0) + 1

    assert max(seen.values()) > 30
    assert all(seen[blocks_of(request)[-1]] == 1 for request in made_up())


def test_scaling_keeps_what_prompts_share() -> None:
    """Blocks stay blocks: only their tokens become fewer, and the last one stays the last."""
    trace = made_up()
    small = scaled(trace, Scale(requests=100, skip=20, rate_per_s=10.0))

    assert [blocks_of(each) for each in small] == [blocks_of(each) for each in trace[20:120]]
    for request in small:
        assert -(-request.prompt_tokens // 16) == len(blocks_of(request))
        assert 1 <= request.output_tokens <= 32


def test_scaling_sets_the_mean_rate_and_keeps_the_order() -> None:
    """A hundred requests at ten a second take ten seconds."""
    small = scaled(made_up(), Scale(requests=101, rate_per_s=10.0))

    times = [request.at_s for request in small]
    assert times[0] == 0.0
    assert times[-1] == pytest.approx(10.0)
    assert times == sorted(times)


def test_a_trace_without_hashes_or_a_slice_without_requests_is_refused() -> None:
    """Nothing could be said about caches."""
    plain = tuple(TraceRequest(at_s=at, prompt_tokens=9, output_tokens=1) for at in (0.0, 1.0))

    with pytest.raises(UsageError, match="hashes"):
        scaled(plain, Scale(requests=2, rate_per_s=1.0))
    with pytest.raises(UsageError, match="fewer than two"):
        scaled(made_up(), Scale(requests=9, skip=299, rate_per_s=1.0))
