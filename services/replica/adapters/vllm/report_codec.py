"""The engine core's datagrams, read. Pure; `sluice_vllm_plugin` writes them.

A datagram holds the load, or requests that ended. It comes from a process of the same release, so
one that cannot be read is a fault: it is rejected and counted, never guessed at.
"""

from __future__ import annotations

from typing import Annotated, Final

import msgspec

from services.replica.domain.load_gauge import EngineTotals
from services.replica.domain.stall import Progress

_Count = Annotated[int, msgspec.Meta(ge=0, lt=2**53)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, lt=2**33)]


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A sampled request that ended.

    Attributes:
        id: the engine's own id of it, which holds the trace context.
        client: the number of the front end that it came from.
        status: the name of vLLM's `RequestStatus`, such as `FINISHED_STOPPED`.
        arrival_s: Unix time at the front end; the other times are of the engine core's monotonic
            clock. None where the request never came so far.
        has_stop_strings: the front end looks for them, and aborts the request when it finds one.
    """

    id: str
    client: int
    status: str
    arrival_s: float
    queued_s: _Seconds
    scheduled_s: _Seconds | None
    first_token_s: _Seconds | None
    ended_s: _Seconds
    prompt_tokens: _Count
    output_tokens: _Count
    cached_tokens: _Count
    preemptions: _Count
    priority: int
    adapter: str
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    has_stop_strings: bool = False


class _Datagram(msgspec.Struct, frozen=True, kw_only=True, tag_field="schema"):
    wall_s: _Seconds
    monotonic_s: _Seconds


class EngineRequests(_Datagram, frozen=True, kw_only=True, tag="engine.requests.v1"):
    """Requests that ended, and both clocks at one moment after that."""

    requests: list[EngineRequest]

    @property
    def clock_offset_s(self) -> float:
        """What to add to a monotonic time to have Unix time."""
        return self.wall_s - self.monotonic_s


class EngineLoad(_Datagram, frozen=True, kw_only=True, tag="engine.load.v1"):
    """Counts at the last step, and sums since the engine started.

    Attributes:
        unfinished, unread: as in `Progress`, at the moment of the report.
    """

    steps: _Count
    unfinished: _Count
    unread: _Count
    running: _Count
    waiting: _Count
    kv_cache_usage_ratio: Annotated[float, msgspec.Meta(ge=0, le=1)]
    prompt_tokens: _Count
    generated_tokens: _Count
    prefix_queries: _Count
    prefix_hits: _Count
    first_token_latencies_s: list[float]
    dropped_count: _Count
    failed_count: _Count
    lost_load_count: _Count

    def totals(self) -> EngineTotals:
        """Return the part that the load is made of."""
        return EngineTotals(
            running=self.running,
            waiting=self.waiting,
            kv_cache_usage_ratio=self.kv_cache_usage_ratio,
            generated_tokens=self.generated_tokens,
            prefix_queried_tokens=self.prefix_queries,
            prefix_hit_tokens=self.prefix_hits,
            ttfts_s=tuple(self.first_token_latencies_s),
            lost_reports_count=self.dropped_count + self.failed_count + self.lost_load_count,
        )

    def progress(self) -> Progress:
        """Return the part that tells whether it is stuck."""
        return Progress(steps=self.steps, unfinished=self.unfinished, unread=self.unread)


_DECODER: Final = msgspec.json.Decoder(EngineLoad | EngineRequests)


def decode(datagram: bytes) -> EngineLoad | EngineRequests:
    """Read a datagram.

    Raises:
        ValueError: it is not one of the two.
    """
    found: EngineLoad | EngineRequests = _DECODER.decode(datagram)
    return found
