"""A made-up trace in Mooncake's format, for when there is no real one: pure and seeded.

Applications have a system prompt each, some are far more popular than others, and conversations
grow by a few blocks with every turn, so that prompts form a tree of shared prefixes:

    application's system prompt ─┬─ conversation 1 ── turn 1 ── turn 2 ── ...
                                 └─ conversation 2 ── turn 1 ── ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from random import Random

BLOCK_TOKENS = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the tree looks like; lengths in blocks of BLOCK_TOKENS, times in seconds.

    Attributes:
        skew: of the applications' popularity, as in Zipf's law; 0 makes them equal.
        turns_mean: of a conversation; the number is geometric.
        think_s: mean time from one turn of a conversation to the next.
        conversations_per_s: how many begin, at random times.
    """

    applications: int = 12
    skew: float = 1.0
    system_blocks: tuple[int, int] = (2, 12)
    turn_blocks: tuple[int, int] = (1, 8)
    turns_mean: float = 4.0
    think_s: float = 30.0
    conversations_per_s: float = 0.5
    output_tokens: tuple[int, int] = (20, 400)


def mooncake_lines(requests: int, *, seed: int, shape: Shape | None = None) -> list[str]:
    """Return so many lines, in the order of their times."""
    found = sorted(_conversations(requests, Random(seed), shape or Shape()))  # noqa: S311 - reproducible
    return [
        json.dumps(
            {
                "timestamp": timestamp_ms,
                "input_length": tokens,
                "output_length": output,
                "hash_ids": list(blocks),
            }
        )
        for timestamp_ms, tokens, output, blocks in found[:requests]
    ]


Turn = tuple[int, int, int, tuple[int, ...]]
"""Time in milliseconds, prompt tokens, output tokens, hashes of the prompt's blocks."""


def _conversations(requests: int, random: Random, shape: Shape) -> Iterator[Turn]:
    """Yield the turns of enough conversations that the first so many turns are among them."""
    hashes = count()
    systems = [
        tuple(next(hashes) for _ in range(random.randint(*shape.system_blocks)))
        for _ in range(shape.applications)
    ]
    popularity = [1 / rank**shape.skew for rank in range(1, shape.applications + 1)]
    begins_s, begun = 0.0, 0
    while begun < requests:
        begins_s += random.expovariate(shape.conversations_per_s)
        (system,) = random.choices(systems, popularity)
        yield from _turns(system, begins_s, hashes, random, shape)
        begun += 1


def _turns(
    system: tuple[int, ...], at_s: float, hashes: Iterator[int], random: Random, shape: Shape
) -> Iterator[Turn]:
    whole = system
    while True:
        whole = (*whole, *(next(hashes) for _ in range(random.randint(*shape.turn_blocks))))
        rest = random.randint(1, BLOCK_TOKENS - 1)
        tokens = len(whole) * BLOCK_TOKENS + rest
        output = random.randint(*shape.output_tokens)
        yield (round(at_s * 1000), tokens, output, (*whole, next(hashes)))
        if random.random() < 1 / shape.turns_mean:
            return
        at_s += random.expovariate(1 / shape.think_s)
