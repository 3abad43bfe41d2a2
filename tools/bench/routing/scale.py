"""A trace made small enough for this machine, with the same sharing: pure.

A block of the trace becomes a block of a few tokens with the same hash, so that what prompts share,
in blocks, stays as it is. Whatever is counted in tokens (prompts, caches, prefill rates, the bytes
of a prefix) shrinks by the same factor.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from libs.errors import UsageError
from tools.bench.load.traces import TraceRequest


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How a trace is cut.

    Attributes:
        requests: how many are replayed, after the first `skip`.
        rate_per_s: mean rate of the replay; the gaps keep their proportions.
        trace_block_tokens: of the trace as it was published.
        block_tokens: what each block becomes.
        output_tokens_max: longer answers are cut; they are not scaled.
    """

    requests: int
    skip: int = 0
    rate_per_s: float
    trace_block_tokens: int = 512
    block_tokens: int = 16
    output_tokens_max: int = 32

    @property
    def factor(self) -> float:
        """How many of the trace's tokens one replayed token stands for."""
        return self.trace_block_tokens / self.block_tokens


def scaled(trace: Sequence[TraceRequest], scale: Scale) -> tuple[TraceRequest, ...]:
    """Return the requests to replay, the first one at time 0.

    Raises:
        UsageError: the trace says nothing about shared prefixes, or ends before the slice.
    """
    chosen = trace[scale.skip : scale.skip + scale.requests]
    if len(chosen) < 2:  # noqa: PLR2004 - a rate needs two
        raise UsageError(f"the trace has {len(trace)} requests; --skip leaves fewer than two")
    if any(request.blocks is None for request in chosen):
        raise UsageError("the trace has no hashes of blocks; use one in Mooncake's format")
    start_s, duration_s = chosen[0].at_s, chosen[-1].at_s - chosen[0].at_s
    wanted_s = (len(chosen) - 1) / scale.rate_per_s
    slower = wanted_s / duration_s if duration_s > 0 else 0.0
    return tuple(_scaled(each, scale, at_s=(each.at_s - start_s) * slower) for each in chosen)


def _scaled(request: TraceRequest, scale: Scale, *, at_s: float) -> TraceRequest:
    whole, rest = divmod(request.prompt_tokens, scale.trace_block_tokens)
    small_rest = -(-rest * scale.block_tokens // scale.trace_block_tokens)
    return replace(
        request,
        at_s=at_s,
        prompt_tokens=whole * scale.block_tokens + small_rest,
        output_tokens=min(request.output_tokens, scale.output_tokens_max),
    )
