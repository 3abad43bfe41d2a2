"""Which requests are sent and when: pure, and the same for any number of processes.

Request n is n's whatever process sends it: process i of p sends the requests i, i + p, i + 2p, ...
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, islice
from random import Random
from typing import assert_never

from tools.bench.load.lengths import draw
from tools.bench.load.plan import ClosedLoop, Extent, LoadPlan, Poisson, Replay, Workload
from tools.bench.load.prompts import block_prompt, prefixed_prompt, unique_prompt


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One process's part of a run: process `index` of `of`."""

    index: int
    of: int

    def share(self, total: int) -> int:
        """Return this process's part of a number, the parts differing by one at most."""
        return total // self.of + (self.index < total % self.of)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSpec:
    """One request, ready to be written.

    Attributes:
        at_s: intended send time from the start; None for a closed loop, which sends when it can.
    """

    at_s: float | None
    prompt: bytes
    prompt_tokens: int
    output_tokens: int


def requests_of(plan: LoadPlan, shard: Shard) -> Iterator[RequestSpec]:
    """Yield the requests of one process in their order; a closed loop's never end."""
    match plan.arrivals:
        case ClosedLoop():
            for number in count(shard.index, shard.of):
                yield drawn_request(plan.workload, number, at_s=None)
        case Poisson(rate_per_s=rate):
            times = _within(poisson_times(rate, plan.workload.seed), plan.extent)
            for number, at_s in islice(enumerate(times), shard.index, None, shard.of):
                yield drawn_request(plan.workload, number, at_s=at_s)
        case Replay() as replay:
            times = _within((each.at_s / replay.speed for each in replay.requests), plan.extent)
            for number, at_s in islice(enumerate(times), shard.index, None, shard.of):
                yield traced_request(plan.workload, replay, number, at_s=at_s)
        case _:
            assert_never(plan.arrivals)


def poisson_times(rate_per_s: float, seed: int) -> Iterator[float]:
    """Yield arrival times in seconds, without end; the gaps are exponential."""
    random = Random(f"arrivals {seed}")  # noqa: S311 - reproducible on purpose
    at_s = 0.0
    while True:
        at_s += random.expovariate(rate_per_s)
        yield at_s


def drawn_request(workload: Workload, number: int, *, at_s: float | None) -> RequestSpec:
    """Draw request `number` from the workload's distributions."""
    random = Random((workload.seed << 32) ^ number)  # noqa: S311 - reproducible on purpose
    prompt_tokens = _cut(draw(workload.prompt_tokens, random), workload.prompt_tokens_max)
    output_tokens = _cut(draw(workload.output_tokens, random), workload.output_tokens_max)
    if workload.shared_prefix_tokens:
        prompt = prefixed_prompt(
            prompt_tokens,
            prefix_tokens=workload.shared_prefix_tokens,
            seed=workload.seed,
            number=number,
        )
    else:
        prompt = unique_prompt(prompt_tokens, seed=workload.seed, number=number)
    return RequestSpec(
        at_s=at_s, prompt=prompt, prompt_tokens=prompt_tokens, output_tokens=output_tokens
    )


def traced_request(workload: Workload, replay: Replay, number: int, *, at_s: float) -> RequestSpec:
    """Return request `number` of the trace, its lengths cut to the workload's limits."""
    traced = replay.requests[number]
    prompt_tokens = _cut(traced.prompt_tokens, workload.prompt_tokens_max)
    if traced.blocks is None:
        prompt = unique_prompt(prompt_tokens, seed=workload.seed, number=number)
    else:
        prompt = block_prompt(
            prompt_tokens,
            blocks=traced.blocks,
            block_tokens=replay.block_tokens,
            seed=workload.seed,
        )
    return RequestSpec(
        at_s=at_s,
        prompt=prompt,
        prompt_tokens=prompt_tokens,
        output_tokens=_cut(traced.output_tokens, workload.output_tokens_max),
    )


def _within(times: Iterator[float], extent: Extent) -> Iterator[float]:
    """Yield the times until the extent ends: by its duration, or by its number of requests."""
    counted = 0
    for at_s in times:
        if at_s >= extent.window_end_s or counted == extent.requests:
            return
        counted += at_s >= extent.warmup_s
        yield at_s


def _cut(tokens: int, tokens_max: int | None) -> int:
    return tokens if tokens_max is None else min(tokens, tokens_max)
