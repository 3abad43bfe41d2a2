"""The same trace without servers: what the policies would find in the caches, by bookkeeping alone.

Each replica has an LRU cache of blocks and works on one prompt after the other; a prompt's leading
blocks that are cached take no time. It is a model: no batching, no preemption, no HTTP. It says
what a policy can reach, and compares policies that HAProxy does not have:

- `prefix_blocks:N` hashes the first N blocks.
- `session` hashes the conversation: a prompt belongs to the one whose blocks it goes on from.
- `longest` knows every cache: the longest cached prefix, and the fewest requests among equals.
- `pinned:L1/L2/...` looks the prompt's first L blocks up in a table of who served them last, the
  longest first, and falls back to the hash of the first block.

All of these pass over a replica that has too many requests, as Sluice's HAProxy does;
`prefix_blocks:1@300` allows three times a replica's share.
"""

from __future__ import annotations

import hashlib
import math
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from libs.errors import UsageError
from libs.haproxy.config import BOUND_PERCENT
from tools.bench.load.traces import TraceRequest

Blocks = tuple[int, ...]

BOUND: Final = BOUND_PERCENT / 100
PINS_MAX: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What each replica is; tokens are the trace's.

    Attributes:
        capacity_blocks: blocks of its cache.
        block_s: time to compute one block of a prompt.
        step_s: time from one token of an answer to the next.
    """

    capacity_blocks: int
    block_s: float
    step_s: float


@dataclass(slots=True, kw_only=True)
class Replica:
    """One replica's cache and queue."""

    number: int
    busy_until_s: float = 0.0
    ends_s: list[float] = field(default_factory=list)
    computed_blocks: int = 0
    served: int = 0
    _cache: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def cached(self, blocks: Blocks) -> int:
        """Return how many leading blocks are cached."""
        for index, block in enumerate(blocks):
            if block not in self._cache:
                return index
        return len(blocks)

    def active(self, now_s: float) -> int:
        """Return how many requests it has."""
        self.ends_s = [end_s for end_s in self.ends_s if end_s > now_s]
        return len(self.ends_s)

    def serve(self, request: TraceRequest, device: Device) -> tuple[int, float]:
        """Take a request, and return its cached blocks and its time to first token."""
        blocks, now_s = request.blocks or (), request.at_s
        hits = self.cached(blocks)
        self.served += 1
        self.computed_blocks += len(blocks) - hits
        first_s = max(now_s, self.busy_until_s) + (len(blocks) - hits) * device.block_s
        self.busy_until_s = first_s
        self.ends_s.append(first_s + request.output_tokens * device.step_s)
        # The end of a prompt is evicted before its beginning, as in vLLM.
        for block in reversed(blocks):
            self._cache[block] = None
            self._cache.move_to_end(block)
        while len(self._cache) > device.capacity_blocks:
            self._cache.popitem(last=False)
        return hits, first_s - now_s


Choose = Callable[[Blocks, Sequence[Replica], float], Replica]


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineFigures:
    """What a replay found; ratios are of whole blocks, times in seconds."""

    policy: str
    hit_ratio: float
    imbalance: float
    ttft_p50_s: float
    ttft_p99_s: float


def replay(
    requests: Sequence[TraceRequest], policy: str, *, replicas: int, device: Device
) -> OfflineFigures:
    """Send a trace to replicas with empty caches.

    Raises:
        UsageError: the policy is not known.
    """
    fleet = [Replica(number=number) for number in range(replicas)]
    rule = parse_rule(policy)
    hits, ttfts = 0, []
    for request in requests:
        free = within_bound(fleet, rule.bound, request.at_s)
        chosen = rule.choose(request.blocks or (), free, request.at_s)
        found, ttft_s = chosen.serve(request, device)
        hits += found
        ttfts.append(ttft_s)
    computed = [replica.computed_blocks for replica in fleet]
    ttfts.sort()
    return OfflineFigures(
        policy=policy,
        hit_ratio=hits / max(1, hits + sum(computed)),
        imbalance=max(computed) * replicas / max(1, sum(computed)),
        ttft_p50_s=_rank(ttfts, 0.5),
        ttft_p99_s=_rank(ttfts, 0.99),
    )


def within_bound(fleet: Sequence[Replica], bound: float, now_s: float) -> list[Replica]:
    """Return who may take one more request: never nobody, since a bound is above 1.

    Source: HAProxy, `hash-balance-factor`, with the slots rounded up.
    """
    active = [replica.active(now_s) for replica in fleet]
    slots = bound * (sum(active) + 1) / len(fleet)
    return [replica for replica, count in zip(fleet, active, strict=True) if count < slots]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A policy, and how far above its share of the requests a replica may be."""

    choose: Choose
    bound: float


def parse_rule(policy: str) -> Rule:
    """Return a fresh policy by its name; `@300` at its end sets the bound in percent.

    Raises:
        UsageError: there is no such policy.
    """
    name, _, percent = policy.partition("@")
    kind, _, rest = name.partition(":")
    bound = float(percent) / 100 if percent.isdecimal() else BOUND
    if percent and bound <= 1:
        raise UsageError(f"{policy!r}: a bound must be above 100")
    match kind, rest:
        case "round_robin", "":
            return Rule(choose=_RoundRobin(), bound=math.inf)
        case "least_loaded", "":
            return Rule(choose=_least_loaded, bound=math.inf)
        case "longest", "":
            return Rule(choose=_longest, bound=bound)
        case "session", "":
            return Rule(choose=_Session(), bound=bound)
        case "prefix_blocks", _ if rest.isdecimal():
            return Rule(choose=_by_hash(int(rest)), bound=bound)
        case "pinned", _ if rest.replace("/", "").isdecimal():
            depths = tuple(sorted(map(int, rest.split("/")), reverse=True))
            return Rule(choose=_Pinned(depths), bound=bound)
    raise UsageError(f"{policy!r} is no policy of the offline replay")


class _RoundRobin:
    """One after the other."""

    def __init__(self) -> None:
        self._turn = -1

    def __call__(self, blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
        del blocks, now_s
        self._turn += 1
        return free[self._turn % len(free)]


def _least_loaded(blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
    """Fewest requests; equals take turns, as with HAProxy's leastconn."""
    del blocks
    return min(free, key=lambda replica: (replica.active(now_s), replica.served, replica.number))


def _longest(blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
    return max(free, key=lambda r: (r.cached(blocks), -r.active(now_s), -r.number))


def _by_hash(depth: int) -> Choose:
    def choose(blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
        del now_s
        return _on_ring(str(blocks[:depth]), free)

    return choose


class _Session:
    """Prompts that go on from an earlier one's last whole block are of its conversation."""

    def __init__(self) -> None:
        self._of_block: dict[int, int] = {}
        self._sessions = 0

    def __call__(self, blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
        del now_s
        whole = blocks[:-1]
        session = next((self._of_block[b] for b in reversed(whole) if b in self._of_block), None)
        if session is None:
            self._sessions += 1
            session = self._sessions
        if whole:
            self._of_block[whole[-1]] = session
        return _on_ring(f"session {session}", free)


class _Pinned:
    """A bounded table of who served a prefix last, for prefixes of a few lengths."""

    def __init__(self, depths: tuple[int, ...]) -> None:
        self._depths = depths
        self._pins: OrderedDict[Blocks, int] = OrderedDict()

    def __call__(self, blocks: Blocks, free: Sequence[Replica], now_s: float) -> Replica:
        del now_s
        keys = [blocks[:depth] for depth in self._depths if len(blocks) >= depth]
        by_number = {replica.number: replica for replica in free}
        held = (self._pins[key] for key in keys if self._pins.get(key) in by_number)
        number = next(held, None)
        chosen = _on_ring(str(blocks[:1]), free) if number is None else by_number[number]
        for key in keys:
            self._pins[key] = chosen.number
            self._pins.move_to_end(key)
        while len(self._pins) > PINS_MAX:
            self._pins.popitem(last=False)
        return chosen


def _on_ring(key: str, free: Sequence[Replica]) -> Replica:
    """Return the first free replica in the key's own order of them all."""
    return min(free, key=lambda replica: _place(key, replica.number))


def _place(key: str, number: int) -> bytes:
    return hashlib.blake2b(f"{number} {key}".encode(), digest_size=8).digest()


def _rank(ordered: Sequence[float], quantile: float) -> float:
    return ordered[min(len(ordered) - 1, int(quantile * len(ordered)))] if ordered else math.nan
