"""What is kept of requests, from the calls that vLLM's scheduler makes.

Invariants: a request is counted once, however it ends; only sampled ones are kept for sending; what
is kept is bounded, and what finds no room is counted.
"""

from __future__ import annotations

from enum import Enum, auto
from types import SimpleNamespace
from typing import Any

import pytest
from sluice_vllm_plugin import engine_watch
from sluice_vllm_plugin.engine_watch import FIRST_TOKENS_MAX, TEXT_CHARS_MAX, EngineWatch
from sluice_vllm_plugin.hooks import Failures

SCHEDULER: Any = SimpleNamespace(kv_cache_manager=SimpleNamespace(usage=0.125))
TRACE = f"{'a' * 32}-{'b' * 16}-01"


class Kind(Enum):
    """The events that vLLM records."""

    QUEUED = auto()
    SCHEDULED = auto()
    PREEMPTED = auto()


def request(request_id: str = f"chatcmpl-{TRACE}-01234567", **fields: object) -> SimpleNamespace:
    """Return what looks like vLLM's request."""
    defaults = {
        "request_id": request_id,
        "client_index": 0,
        "status": SimpleNamespace(name="FINISHED_STOPPED"),
        "arrival_time": 1_000.0,
        "num_prompt_tokens": 7,
        "num_output_tokens": 5,
        "num_preemptions": 0,
        "priority": 0,
        "lora_request": None,
        "sampling_params": None,
        "prefill_stats": SimpleNamespace(num_cached_tokens=4),
    }
    return SimpleNamespace(**{**defaults, **fields})


def stats(running: int = 0, **fields: object) -> SimpleNamespace:
    """Return what looks like vLLM's statistics of a step."""
    prefix = SimpleNamespace(queries=10, hits=4)
    defaults = {
        "num_running_reqs": running,
        "num_waiting_reqs": 1,
        "num_skipped_waiting_reqs": 2,
        "kv_cache_usage": 0.25,
        "prefix_cache_stats": prefix,
    }
    return SimpleNamespace(**{**defaults, **fields})


@pytest.fixture(name="watch")
def _watch() -> EngineWatch:
    return EngineWatch(Failures())


def test_a_request_that_ran_has_all_its_times(watch: EngineWatch) -> None:
    """The scheduler's own time stamps are taken where it has them."""
    one = request()
    watch.event(None, one, Kind.QUEUED, 1.0)
    watch.event(None, one, Kind.SCHEDULED, 2.0)
    watch.first_token(0, None, one)
    watch.ended(None, SCHEDULER, one)

    (record,) = watch.pending

    assert (record["queued_s"], record["scheduled_s"]) == (1.0, 2.0)
    assert record["first_token_s"] <= record["ended_s"]  # type: ignore[operator]
    assert (record["cached_tokens"], record["output_tokens"]) == (4, 5)
    assert record["status"] == "FINISHED_STOPPED"


def test_a_request_that_is_aborted_in_the_queue_is_kept_too(watch: EngineWatch) -> None:
    """It has only the time at which it was queued."""
    one = request(status=SimpleNamespace(name="FINISHED_ABORTED"), num_output_tokens=0)
    watch.event(None, one, Kind.QUEUED)
    watch.ended(None, SCHEDULER, one)

    (record,) = watch.pending

    assert (record["scheduled_s"], record["first_token_s"]) == (None, None)
    assert record["status"] == "FINISHED_ABORTED"


def test_a_preempted_request_keeps_its_first_times(watch: EngineWatch) -> None:
    """It is scheduled again, and its cached tokens are then its own."""
    one = request()
    watch.event(None, one, Kind.QUEUED, 1.0)
    watch.event(None, one, Kind.SCHEDULED, 2.0)
    one.prefill_stats, one.num_preemptions = None, 1
    watch.event(None, one, Kind.PREEMPTED, 3.0)
    watch.event(None, one, Kind.SCHEDULED, 4.0)
    watch.ended(None, SCHEDULER, one)

    (record,) = watch.pending

    assert (record["scheduled_s"], record["preemptions"], record["cached_tokens"]) == (2.0, 1, 4)


@pytest.mark.parametrize(
    "request_id",
    [
        "chatcmpl-01234567",
        f"chatcmpl-{'a' * 32}-{'b' * 16}-00-01234567",
        f"chatcmpl-{'A' * 32}-{'b' * 16}-01-01234567",
        f"chatcmpl-{TRACE}-{'x' * TEXT_CHARS_MAX}",
    ],
)
def test_a_request_that_is_not_sampled_only_counts(watch: EngineWatch, request_id: str) -> None:
    """Its tokens are part of the load."""
    one = request(request_id)
    watch.event(None, one, Kind.QUEUED)
    watch.first_token(0, None, one)
    watch.ended(None, SCHEDULER, one)
    watch.step(stats())

    load = watch.load()

    assert not watch.pending
    assert (load["prompt_tokens"], load["generated_tokens"]) == (7, 5)


def test_running_requests_count_with_what_they_have(watch: EngineWatch) -> None:
    """The sum never waits for a long answer's end."""
    one = request(num_output_tokens=3)
    watch.event(None, one, Kind.QUEUED)
    watch.step(stats(running=1))

    load = watch.load()

    assert (load["running"], load["waiting"], load["generated_tokens"]) == (1, 3, 3)
    assert (load["kv_cache_usage_ratio"], load["prefix_queries"], load["prefix_hits"]) == (
        0.25,
        10,
        4,
    )


def test_a_request_that_leaves_twice_counts_once(watch: EngineWatch) -> None:
    """A second end is no end."""
    one = request()
    watch.event(None, one, Kind.QUEUED)
    watch.ended(None, SCHEDULER, one)
    watch.ended(None, SCHEDULER, one)
    watch.step(stats())

    assert watch.load()["generated_tokens"] == 5
    assert len(watch.pending) == 1


def test_what_is_kept_is_bounded_and_the_rest_is_counted(
    watch: EngineWatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica that reads nothing must not fill the engine's memory."""
    monkeypatch.setattr(engine_watch, "PENDING_REQUESTS_MAX", 3)
    for number in range(FIRST_TOKENS_MAX + 10):
        one = request(f"cmpl-{TRACE}-{number:08x}")
        watch.event(None, one, Kind.QUEUED)
        watch.first_token(0, None, one)
        watch.ended(None, SCHEDULER, one)

    load = watch.load()

    assert len(watch.pending) == 3
    assert load["dropped_count"] == FIRST_TOKENS_MAX + 7
    assert len(load["first_token_latencies_s"]) == FIRST_TOKENS_MAX  # type: ignore[arg-type]
    assert watch.load()["first_token_latencies_s"] == []


def test_an_engine_without_statistics_changes_nothing(watch: EngineWatch) -> None:
    """`log_stats` may be off."""
    watch.step(None)

    assert watch.load()["running"] == 0


def test_the_abort_of_the_last_request_leaves_an_idle_engine(watch: EngineWatch) -> None:
    """No step follows that could say so, and an idle replica must not look busy."""
    one, other = request("one"), request("other")
    for each in (one, other):
        watch.event(None, each, Kind.QUEUED, 1.0)
    watch.step(stats(running=2))
    watch.ended(None, SCHEDULER, one)
    between = watch.load()
    watch.ended(None, SCHEDULER, other)
    after = watch.load()

    assert (between["running"], between["waiting"]) == (2, 3)
    assert (after["running"], after["waiting"], after["kv_cache_usage_ratio"]) == (0, 0, 0.125)
    assert after["generated_tokens"] == 10


def test_the_load_tells_whether_a_step_is_due(watch: EngineWatch) -> None:
    """Steps that ended, and what the scheduler and the queue before it still have."""
    scheduler: Any = SimpleNamespace(get_num_unfinished_requests=lambda: 3)
    core: Any = SimpleNamespace(input_queue=SimpleNamespace(qsize=lambda: 2))
    before = watch.load()

    watch.began(None, scheduler)
    watch.read_messages(None, core)
    watch.step(None)
    watch.step(stats())

    due = ("steps", "unfinished", "unread")
    assert [before[name] for name in due] == [0, 0, 0]
    assert [watch.load()[name] for name in due] == [2, 3, 2]
