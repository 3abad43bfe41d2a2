"""Replays a trace under every policy, in interleaved rounds over the same replicas."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from libs.contracts.ids import model_name
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, ScalingSpec, SimulationSpec
from libs.engine.default_model import BUILTIN_MODEL
from tools.bench.load.plan import (
    Endpoint,
    Extent,
    LoadPlan,
    OutputLength,
    Patience,
    Replay,
    Target,
    Workload,
)
from tools.bench.load.result import LoadResult
from tools.bench.load.run import run_load
from tools.bench.load.traces import TraceRequest
from tools.bench.routing.counters import CacheCounters, hit_ratio, imbalance
from tools.bench.routing.fleet import Fleet, policy_edge
from tools.bench.routing.policies import Policy, shrunk
from tools.bench.routing.results import Turn
from tools.bench.routing.scale import Scale

MODEL: Final = model_name("routed")
BODY_HEAD_BYTES: Final = len(f'{{"model":"{MODEL}","prompt":"')
"""What stands before the prompt in the body of every request."""

_SEQUENCES: Final = 64
_REQUEST_S: Final = 240.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingPlan:
    """What is measured.

    Attributes:
        trace: scaled, the first request at time 0.
        kv_blocks: blocks of the trace that one replica's cache holds.
        prefill_block_s: time that a replica takes to compute one block of the trace.
        step_s: time of one step of a replica, whatever is in its batch.
    """

    trace: tuple[TraceRequest, ...]
    scale: Scale
    policies: tuple[Policy, ...]
    replicas: int
    rounds: int
    kv_blocks: int
    prefill_block_s: float
    step_s: float
    seed: int

    def spec(self) -> ModelSpec:
        """Return the model that every replica serves."""
        longest = max(request.prompt_tokens for request in self.trace)
        context_tokens = longest + self.scale.output_tokens_max
        capacity_tokens = max(self.kv_blocks * self.scale.block_tokens, context_tokens)
        return ModelSpec(
            name=MODEL,
            source=f"builtin:{BUILTIN_MODEL}",
            device=Device.SIMULATED,
            engine=EngineSpec(max_model_len=context_tokens, max_num_seqs=_SEQUENCES),
            scaling=ScalingSpec(min=self.replicas, max=self.replicas),
            simulation=SimulationSpec(
                step_time_s=self.step_s,
                prefill_time_per_token_s=self.prefill_block_s / self.scale.block_tokens,
                kv_capacity_tokens=capacity_tokens,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Watcher:
    """Is told what happens, and given every turn."""

    say: Callable[[str], None]
    keep: Callable[[Turn], None]


async def run_rounds(plan: RoutingPlan, fleet: Fleet, watcher: Watcher) -> None:
    """Make every turn; each begins with empty caches and prompts that its round alone has.

    Cancelling it stops the load that runs; `watcher.keep` has the turns that were whole.
    """
    for number in range(1, plan.rounds + 1):
        for policy in plan.policies:
            turn = await _turn(plan, fleet, policy, number)
            watcher.keep(turn)
            watcher.say(f"round {number}: {_said(turn)}")


async def _turn(plan: RoutingPlan, fleet: Fleet, policy: Policy, number: int) -> Turn:
    small = shrunk(policy, factor=plan.scale.factor, head_bytes=BODY_HEAD_BYTES)
    await asyncio.to_thread(fleet.empty_caches)
    before = await asyncio.to_thread(fleet.counters)
    async with policy_edge(fleet, small) as url:
        result = await _load(load_plan(plan, url=url, seed=plan.seed + number))
    after = await asyncio.to_thread(fleet.counters)
    counted = [end.since(begin) for begin, end in zip(before, after, strict=True)]
    return turn_of(policy.name, number, counted, result)


async def _load(plan: LoadPlan) -> LoadResult:
    """Run a load in its own processes; a cancellation ends it first."""
    stop = threading.Event()
    try:
        return await asyncio.to_thread(run_load, plan, stop=stop)
    finally:
        stop.set()


def load_plan(plan: RoutingPlan, *, url: str, seed: int) -> LoadPlan:
    """Return the replay; a seed's prompts share prefixes as the trace says, and none with others'.

    Completions, because a chat template would shift the blocks.
    """
    target = Target(
        url=url, model=MODEL, endpoint=Endpoint.COMPLETIONS, output_length=OutputLength.EXACT
    )
    return LoadPlan(
        target=target,
        arrivals=Replay(requests=plan.trace, block_tokens=plan.scale.block_tokens),
        workload=Workload(seed=seed),
        extent=Extent(),
        patience=Patience(request_s=_REQUEST_S, drain_s=_REQUEST_S),
    )


def turn_of(policy: str, number: int, counted: Sequence[CacheCounters], result: LoadResult) -> Turn:
    """Put a turn's figures together."""
    ttft = result.latency.ttft
    return Turn(
        policy=policy,
        round=number,
        hit_ratio=hit_ratio(counted),
        imbalance=imbalance(counted),
        computed_tokens=sum(each.computed_tokens for each in counted),
        ttft_p50_s=ttft.p50_s if ttft else None,
        ttft_p99_s=ttft.p99_s if ttft else None,
        requests=result.requests.measured,
        failed=result.requests.failed,
        doubts=result.verdict.reasons,
    )


def _said(turn: Turn) -> str:
    hits = "no" if turn.hit_ratio is None else f"{turn.hit_ratio:.1%}"
    first_s = turn.ttft_p99_s or 0.0
    return f"{turn.policy}: {hits} cache hits, TTFT p99 {first_s * 1000:,.0f} ms"
