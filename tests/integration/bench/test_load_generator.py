"""The generator against servers whose timing and faults are known."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from libs.testing.canned_server import Then, answered, canned_server, streamed
from libs.testing.fake_replica import FakeReplica, Script, fake_replica
from libs.testing.free_port import free_port
from tools.bench.load import samples
from tools.bench.load.arrivals import Shard
from tools.bench.load.driver import Job, drive
from tools.bench.load.lengths import Fixed
from tools.bench.load.plan import (
    Arrivals,
    ClosedLoop,
    Endpoint,
    Extent,
    LoadPlan,
    OutputLength,
    Patience,
    Poisson,
    Slo,
    Target,
    Workload,
)
from tools.bench.load.result import LoadResult, Quantiles
from tools.bench.load.run import run_load
from tools.bench.load.shard import Ended

CHUNK = '{"choices":[{"delta":{"content":"a"}}]}'
USAGE = '{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":6}}'
BUSY_S = 0.25
"""What a busy machine may add to a median."""


def plan(  # noqa: PLR0913 - a test names only what it is about
    url: str,
    *,
    arrivals: Arrivals | None = None,
    requests: int | None = 8,
    duration_s: float | None = None,
    warmup_s: float = 0.0,
    stream: bool = True,
    request_s: float = 30.0,
    drain_s: float = 30.0,
    processes: int = 1,
) -> LoadPlan:
    """Return a small plan for a server."""
    return LoadPlan(
        target=Target(
            url=url,
            model="m",
            endpoint=Endpoint.COMPLETIONS,
            stream=stream,
            output_length=OutputLength.AT_MOST,
        ),
        arrivals=arrivals or ClosedLoop(clients=2),
        workload=Workload(prompt_tokens=Fixed(tokens=8), output_tokens=Fixed(tokens=5)),
        extent=Extent(warmup_s=warmup_s, duration_s=duration_s, requests=requests),
        slo=Slo(ttft_s=5.0),
        patience=Patience(request_s=request_s, drain_s=drain_s),
        processes=processes,
    )


async def run(given: LoadPlan, stop: threading.Event | None = None) -> LoadResult:
    """Run a plan beside the server in this loop."""
    return await asyncio.to_thread(run_load, given, stop=stop)


def url(replica: FakeReplica) -> str:
    """Return a replica's URL."""
    return f"http://127.0.0.1:{replica.endpoint.port}"


def seen(quantiles: Quantiles | None) -> Quantiles:
    """Return what must have been measured."""
    assert quantiles is not None
    return quantiles


async def test_known_times_are_measured() -> None:
    """200 ms to the first of five tokens, 50 ms between two."""
    async with fake_replica(script=Script(tokens=5, first_token_s=0.2, token_s=0.05)) as replica:
        result = await run(plan(url(replica), requests=12))

    ttft, itl, e2e = (
        seen(each) for each in (result.latency.ttft, result.latency.itl, result.latency.e2e)
    )
    assert ttft.min_s >= 0.199
    assert ttft.p50_s < 0.2 + BUSY_S
    assert 0.045 <= itl.p50_s < 0.05 + BUSY_S
    assert e2e.min_s >= 0.39
    assert itl.count == 4 * result.requests.measured == 48
    assert result.requests.ok == 12
    assert result.throughput.counted_by == "chunks"
    assert result.goodput is not None
    assert result.goodput.ratio == 1.0


async def stalled(arrivals: Arrivals) -> LoadResult:
    """Run three seconds against a server that stands still for one of them."""
    loop = asyncio.get_running_loop()
    async with fake_replica(script=Script(tokens=2)) as replica:

        def stall_when_it_goes() -> None:
            if len(replica.seen) > 20:
                time.sleep(1.0)
            else:
                loop.call_later(0.02, stall_when_it_goes)

        stall_when_it_goes()
        return await run(plan(url(replica), arrivals=arrivals, requests=None, duration_s=3.0))


async def test_an_open_loop_shows_the_stall_that_a_closed_loop_hides() -> None:
    """Who would have come during that second waited, though a waiting client did not ask."""
    opened = await stalled(Poisson(rate_per_s=40.0))
    closed = await stalled(ClosedLoop(clients=1))

    ttft, hidden = seen(opened.latency.ttft), seen(closed.latency.ttft)
    waited = sum(value > 0.1 for value in ttft.curve) / len(ttft.curve)
    assert waited > 0.15
    assert ttft.p99_s > 0.7
    assert hidden.max_s > 0.85
    assert hidden.p99_s < 0.3
    assert opened.requests.ok == opened.requests.measured > 80


async def test_an_open_loop_sends_what_was_asked_whatever_the_server_does() -> None:
    """Each request takes a second, and fifty a second go out all the same."""
    async with fake_replica(script=Script(tokens=1, first_token_s=1.0)) as replica:
        result = await run(plan(url(replica), arrivals=Poisson(rate_per_s=50.0), requests=60))

    assert result.requests.ok == 60
    assert result.generator.connections > 20
    assert seen(result.generator.send_lag).p50_s < BUSY_S


async def test_a_usage_count_replaces_the_count_of_chunks() -> None:
    """Two chunks, six tokens."""
    async with canned_server(streamed(CHUNK, CHUNK, USAGE, "[DONE]")) as server:
        result = await run(plan(server))

    assert result.throughput.counted_by == "usage"
    assert result.throughput.output_tokens_mean == 6.0
    assert result.throughput.prompt_tokens_mean == 9.0


@pytest.mark.parametrize(
    ("reply", "then", "kind"),
    [
        (streamed(CHUNK, CHUNK), Then.KEEP, "truncated"),
        (streamed(CHUNK, "[DONE]")[:-20], Then.CLOSE, "truncated"),
        (streamed(CHUNK, "[DONE]")[:-40], Then.RESET, "truncated"),
        (streamed(CHUNK, '{"error":{"message":"out"}}', "[DONE]"), Then.KEEP, "stream_error"),
        (streamed("{oops", "[DONE]"), Then.KEEP, "malformed"),
        (b"SMTP ready\r\n\r\n", Then.KEEP, "malformed"),
        (answered(503, '{"error":{"message":"busy"}}'), Then.KEEP, "http_503"),
        (answered(429, "slow down", closes=True), Then.CLOSE, "http_429"),
        (b"", Then.CLOSE, "reset"),
        (b"", Then.RESET, "reset"),
        (b"", Then.KEEP, "timeout"),
    ],
)
async def test_every_fault_is_counted_under_its_kind(reply: bytes, then: Then, kind: str) -> None:
    """None of them is taken for an answer."""
    async with canned_server(reply, then) as server:
        result = await run(plan(server, requests=4, request_s=0.5 if kind == "timeout" else 30.0))

    assert result.errors == {kind: 4}
    assert result.requests.ok == 0
    assert result.requests.truncated == (4 if kind == "truncated" else 0)
    assert not result.verdict.is_valid
    assert result.goodput is not None
    assert result.goodput.ratio == 0.0


async def test_a_refused_connection_is_counted() -> None:
    """The server went away after it was asked for its models."""
    result = await run(plan(f"http://127.0.0.1:{free_port()}", requests=4))

    assert result.errors == {"connect": 4}
    assert "refused" in result.error_examples["connect"][0].lower()


async def test_an_answer_that_is_not_streamed_has_only_its_end() -> None:
    """No first token, no gaps."""
    whole = '{"choices":[{"text":"a b c"}],"usage":{"prompt_tokens":9,"completion_tokens":3}}'
    async with canned_server(answered(200, whole)) as server:
        result = await run(plan(server, stream=False))

    assert result.requests.ok == 8
    assert result.latency.ttft is None
    assert result.latency.itl is None
    assert seen(result.latency.e2e).count == 8
    assert result.throughput.output_tokens_mean == 3.0


async def test_connections_are_used_again() -> None:
    """Two clients need two."""
    async with fake_replica() as replica:
        result = await run(plan(url(replica), requests=40))

    assert result.requests.ok == 40
    assert result.generator.connections == 2


async def test_a_connection_that_the_server_will_close_is_not_used_again() -> None:
    """However late the server closes it: a request there would count as the server's failure."""
    async with canned_server(answered(503, "busy", closes=True), Then.KEEP) as server:
        result = await run(plan(server, requests=4))

    assert result.errors == {"http_503": 4}
    assert result.generator.connections == 4


async def test_several_processes_measure_as_one() -> None:
    """The requests are shared out, and each is sent once."""
    async with fake_replica() as replica:
        result = await run(plan(url(replica), requests=31, processes=2))
        prompts = [request.body for request in replica.seen]

    assert result.requests.ok == 31
    assert len(set(prompts)) == 31
    assert result.generator.processes == 2


async def test_the_warm_up_is_sent_and_not_counted() -> None:
    """Half a second of it, half a second measured."""
    async with fake_replica(script=Script(tokens=1, first_token_s=0.02)) as replica:
        result = await run(plan(url(replica), requests=None, warmup_s=0.5, duration_s=0.5))

    assert result.requests.warmup > 0
    assert result.requests.warmup + result.requests.ok == len(replica.seen)
    assert result.throughput.window_s == 0.5


async def test_answers_that_do_not_end_in_the_drain_time_count_as_failures() -> None:
    """Leaving the slowest out would flatter the server."""
    script = Script(tokens=1, first_token_s=20.0)
    async with fake_replica(script=script) as replica:
        result = await run(plan(url(replica), requests=None, duration_s=0.5, drain_s=0.2))

    assert result.errors == {"unfinished": 2}
    assert result.requests.failed == 2


async def test_a_stopped_run_keeps_what_it_saw() -> None:
    """What was under way is neither a success nor a failure."""
    stop = threading.Event()
    async with fake_replica(script=Script(tokens=3, token_s=0.02)) as replica:
        asyncio.get_running_loop().call_later(2.5, stop.set)
        result = await run(plan(url(replica), requests=None, duration_s=600.0), stop)

    assert result.is_interrupted
    assert result.requests.ok > 5
    assert result.requests.failed == 0
    assert result.throughput.window_s < 60
    assert result.throughput.tokens_per_s > 0


@pytest.mark.parametrize("arrivals", [ClosedLoop(clients=2), Poisson(rate_per_s=200.0)])
async def test_full_samples_end_a_run_and_keep_what_they_hold(
    arrivals: Arrivals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory is bounded: a run stops sending rather than forgetting or growing."""
    monkeypatch.setattr(samples, "REQUESTS_MAX", 20)
    async with fake_replica(script=Script(tokens=1)) as replica:
        given = plan(url(replica), arrivals=arrivals, requests=None, duration_s=600.0)
        job = Job(plan=given, shard=Shard(index=0, of=1), in_flight_max=16)
        found = await drive(
            job, origin_s=time.monotonic(), stop=asyncio.Event(), tell=lambda _: None
        )

    assert found.ended is Ended.SAMPLES_FULL
    assert 20 <= len(found.samples.rows) < 60
    assert found.effort is not None
