"""Follows every request through vLLM's scheduler and keeps count of its load.

The scheduler's thread calls the watchers, about five times a request and twice a step; nothing runs
for each token. A request's record is kept for sending only if its trace is sampled, which its id
tells: vLLM makes the id from the header `X-Request-Id`, which the edge sets to
`<trace id>-<span id>-01` for sampled requests.

Source: vLLM 0.32, vllm/v1/core/sched/scheduler.py and vllm/v1/request.py.
"""

from __future__ import annotations

import re
import time
from collections import deque
from typing import TYPE_CHECKING

from sluice_vllm_plugin.hooks import Failures, Hook

if TYPE_CHECKING:
    from queue import Queue

    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine import EngineCoreEventType
    from vllm.v1.engine.core import EngineCoreProc
    from vllm.v1.metrics.stats import SchedulerStats
    from vllm.v1.request import Request

LIVE_REQUESTS_MAX = 65_536
"""Requests beyond this number at once are not followed."""

PENDING_REQUESTS_MAX = 4_096
"""Records that wait to be sent; more are dropped and counted."""

FIRST_TOKENS_MAX = 512
"""First-token latencies that one load report carries; the oldest ones are dropped."""

TOKENS_PERIOD_S = 0.2
"""How often the tokens of running requests are counted."""

TEXT_CHARS_MAX = 256
"""A longer request id is not reported, and a longer adapter name is cut."""

_SAMPLED = re.compile(r"-[0-9a-f]{32}-[0-9a-f]{16}-01(?:-|$)")

Record = dict[str, object]


class _Marks:
    """What is known of a live request; times are of the monotonic clock, in seconds."""

    __slots__ = ("cached_tokens", "first_token_s", "queued_s", "request", "scheduled_s")

    def __init__(self, request: Request, queued_s: float) -> None:
        self.request = request
        self.queued_s = queued_s
        self.scheduled_s: float | None = None
        self.first_token_s: float | None = None
        self.cached_tokens = 0


class EngineWatch:
    """The watchers, and what they have seen.

    Attributes:
        pending: records of sampled requests that ended, oldest first.
        first_token_latencies_s: from a request's arrival at the front end to its first token.
        dropped_count: records that found no room.
    """

    def __init__(self, failures: Failures) -> None:
        """Start with nothing seen; `failures` counts exceptions of the watchers."""
        self.pending: deque[Record] = deque()
        self.first_token_latencies_s: deque[float] = deque(maxlen=FIRST_TOKENS_MAX)
        self.dropped_count = 0
        self._failures = failures
        self._live: dict[str, _Marks] = {}
        self._running = 0
        self._waiting = 0
        self._kv_cache_usage_ratio = 0.0
        self._prompt_tokens = 0
        self._ended_tokens = 0
        self._generated_tokens = 0
        self._counted_s = 0.0
        self._prefix_queries = 0
        self._prefix_hits = 0
        self._steps = 0
        self._inbox: Queue[object] | None = None
        self._scheduler: Scheduler | None = None

    def hooks(self) -> tuple[Hook, ...]:
        """Return what has to be watched."""
        from vllm.v1.core.kv_cache_manager import KVCacheManager
        from vllm.v1.core.sched.scheduler import Scheduler
        from vllm.v1.engine.core import EngineCoreProc
        from vllm.v1.request import Request

        return (
            Hook(owner=Request, name="record_event", watcher=self.event),
            # Called once a request, with its first output; everything else at that moment is
            # called for each token.
            Hook(owner=KVCacheManager, name="estimate_cached_tokens", watcher=self.first_token),
            Hook(owner=Scheduler, name="_free_request", watcher=self.ended),
            Hook(owner=Scheduler, name="make_stats", watcher=self.step),
            Hook(owner=EngineCoreProc, name="_process_input_queue", watcher=self.read_messages),
        )

    def began(self, _result: None, scheduler: Scheduler, *_: object, **__: object) -> None:
        """See the engine core's scheduler, before any request."""
        self._scheduler = scheduler

    def event(
        self,
        _result: None,
        request: Request,
        event_type: EngineCoreEventType,
        timestamp: float | None = None,
    ) -> None:
        """See a request queued or scheduled; only the first time of each counts."""
        name = event_type.name
        if name == "QUEUED":
            self._queued(request, timestamp or time.monotonic())
        elif name == "SCHEDULED":
            marks = self._live.get(request.request_id)
            if marks is not None and marks.scheduled_s is None:
                marks.scheduled_s = timestamp or time.monotonic()
                marks.cached_tokens = request.prefill_stats.num_cached_tokens

    def first_token(self, _result: int, _cache: object, request: Request) -> None:
        """See a request's first output."""
        self._prompt_tokens += request.num_prompt_tokens
        self.first_token_latencies_s.append(time.time() - request.arrival_time)
        marks = self._live.get(request.request_id)
        if marks is not None:
            marks.first_token_s = time.monotonic()

    def ended(
        self, _result: object, scheduler: Scheduler, request: Request, *_: object, **__: object
    ) -> None:
        """See a request leave the scheduler, finished or aborted."""
        marks = self._live.pop(request.request_id, None)
        if marks is None:
            return
        self._ended_tokens += request.num_output_tokens
        if not self._live:
            self._became_idle(scheduler)
        if len(request.request_id) > TEXT_CHARS_MAX or not _SAMPLED.search(request.request_id):
            return
        if len(self.pending) >= PENDING_REQUESTS_MAX:
            self.dropped_count += 1
            return
        self.pending.append(_record(marks, time.monotonic()))

    def step(self, stats: SchedulerStats | None, *_: object, **__: object) -> None:
        """See the scheduler's own statistics at the end of a step."""
        self._steps += 1
        if stats is None:
            return
        self._running = stats.num_running_reqs
        self._waiting = stats.num_waiting_reqs + stats.num_skipped_waiting_reqs
        self._kv_cache_usage_ratio = stats.kv_cache_usage
        self._prefix_queries += stats.prefix_cache_stats.queries
        self._prefix_hits += stats.prefix_cache_stats.hits
        now_s = time.monotonic()
        if not self._live or now_s - self._counted_s >= TOKENS_PERIOD_S:
            self._counted_s = now_s
            running = sum(marks.request.num_output_tokens for marks in self._live.values())
            self._generated_tokens = self._ended_tokens + running

    def read_messages(self, _result: None, core: EngineCoreProc) -> None:
        """See the engine core read what its front ends sent, before each step."""
        self._inbox = core.input_queue

    def load(self) -> Record:
        """Return the load as of the last step; another thread may call this."""
        return {
            "steps": self._steps,
            "unfinished": self._unfinished(),
            "unread": self._inbox.qsize() if self._inbox is not None else 0,
            "running": self._running,
            "waiting": self._waiting,
            "kv_cache_usage_ratio": self._kv_cache_usage_ratio,
            "prompt_tokens": self._prompt_tokens,
            "generated_tokens": self._generated_tokens,
            "prefix_queries": self._prefix_queries,
            "prefix_hits": self._prefix_hits,
            "first_token_latencies_s": _take_all(self.first_token_latencies_s),
            "dropped_count": self.dropped_count,
            "failed_count": self._failures.count,
        }

    def _unfinished(self) -> int:
        """Ask the scheduler: a request that is not followed, or no longer, is work as well."""
        return 0 if self._scheduler is None else self._scheduler.get_num_unfinished_requests()

    def _became_idle(self, scheduler: Scheduler) -> None:
        """Note that nothing runs: no step follows the abort of the last request to say so."""
        self._running = self._waiting = 0
        self._kv_cache_usage_ratio = scheduler.kv_cache_manager.usage
        self._generated_tokens = self._ended_tokens

    def _queued(self, request: Request, at_s: float) -> None:
        if request.request_id not in self._live and len(self._live) < LIVE_REQUESTS_MAX:
            self._live[request.request_id] = _Marks(request, at_s)


def _record(marks: _Marks, ended_s: float) -> Record:
    """Return what is told of a request: `arrival_s` is Unix time, other times are monotonic."""
    request = marks.request
    return {
        "id": request.request_id,
        "client": request.client_index,
        "status": request.status.name,
        "arrival_s": request.arrival_time,
        "queued_s": marks.queued_s,
        "scheduled_s": marks.scheduled_s,
        "first_token_s": marks.first_token_s,
        "ended_s": ended_s,
        "prompt_tokens": request.num_prompt_tokens,
        "output_tokens": request.num_output_tokens,
        "cached_tokens": marks.cached_tokens,
        "preemptions": request.num_preemptions,
        "priority": request.priority,
        "adapter": request.lora_request.lora_name[:TEXT_CHARS_MAX] if request.lora_request else "",
        **_parameters(request.sampling_params),
    }


def _parameters(sampling: SamplingParams | None) -> Record:
    if sampling is None:
        return {}
    return {
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        # A front end that finds a stop string ends the request by aborting it.
        "has_stop_strings": bool(sampling.stop),
    }


def _take_all(found: deque[float]) -> list[float]:
    return [round(found.popleft(), 6) for _ in range(len(found))]
