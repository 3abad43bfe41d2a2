"""Which loads the stacks are compared under (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

from libs.errors import UsageError

MAIN: Final = "main"
MAIN_CLIENTS: Final = 64
MANY_REPLICAS: Final = "many_replicas"
REPLICA_BYTES: Final = 2 * 1024**3
"""What a simulated replica takes: its front end, engine core and worker."""
RESERVE_BYTES: Final = 3 * 1024**3
"""What a stack takes beside its replicas, and the machine for itself."""

_SWEEP: Final = (4, 8, 16, 32, MAIN_CLIENTS, 128)
_QUICK_SWEEP: Final = (MAIN_CLIENTS, 128)
_QUICK_WINDOW_S: Final = 14.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One load: a closed loop of clients that all ask for the same thing.

    Attributes:
        name: its key in the results; `main` is the sweep's one with 64 clients.
        case: what a user asks for by name; a sweep's points share it.
        body_bytes_min: shorter request bodies are filled up to this.
        window_s: how long is measured. warmup_s: how long is sent before that.
    """

    name: str
    case: str
    title: str
    clients: int
    prompt_tokens: int = 64
    output_tokens: int = 32
    body_bytes_min: int = 0
    stream: bool = True
    replicas: int = 2
    warmup_s: float = 3.0
    window_s: float = 10.0


def _main(clients: int) -> Point:
    name = MAIN if clients == MAIN_CLIENTS else f"{MAIN}_{clients}"
    return Point(
        name=name, case=MAIN, title=f"streams of 32 tokens, {clients} clients", clients=clients
    )


_OTHERS: Final = (
    Point(
        name="one_client", case="one_client", title="streams of 32 tokens, one client", clients=1
    ),
    Point(
        name="long_prompts",
        case="long_prompts",
        title="prompts of 512 tokens, streams of 128, 32 clients",
        clients=32,
        prompt_tokens=512,
        output_tokens=128,
    ),
    Point(
        name="large_bodies",
        case="large_bodies",
        title="bodies of 1 MB, streams of 32 tokens, 8 clients",
        clients=8,
        body_bytes_min=1_000_000,
    ),
    Point(
        name="whole_answers",
        case="whole_answers",
        title="answers of 32 tokens, not streamed, 64 clients",
        clients=64,
        stream=False,
    ),
    Point(
        name="long_streams",
        case="long_streams",
        title="streams of 2,000 tokens, 16 clients",
        clients=16,
        output_tokens=2_000,
        window_s=60.0,
    ),
    Point(
        name=MANY_REPLICAS,
        case=MANY_REPLICAS,
        title="streams of 32 tokens, 64 clients",
        clients=64,
        replicas=8,
    ),
)

CASES: Final = tuple(dict.fromkeys([MAIN, *(point.case for point in _OTHERS)]))
QUICK_CASES: Final = (MAIN,)


def points_of(cases: Sequence[str], *, quick: bool, memory_bytes: int) -> tuple[Point, ...]:
    """Return the loads of the named cases, each once, in a fixed order.

    `memory_bytes` is what is free: it bounds the number of replicas, and the title says so.

    Raises:
        UsageError: there is no such case, or none is named.
    """
    unknown = [name for name in cases if name not in CASES]
    if unknown or not cases:
        said = f"there is no case {unknown[0]!r}" if unknown else "no case is named"
        raise UsageError(f"{said}; --cases takes {', '.join(CASES)}")
    sweep = [_main(clients) for clients in (_QUICK_SWEEP if quick else _SWEEP)]
    chosen = [point for point in [*sweep, *_OTHERS] if point.case in cases]
    fitting = [_fitted(point, memory_bytes) for point in chosen]
    return tuple(_shorter(point) if quick else point for point in fitting)


def _fitted(point: Point, memory_bytes: int) -> Point:
    if point.case != MANY_REPLICAS:
        return point
    fit = min(point.replicas, max(2, (memory_bytes - RESERVE_BYTES) // REPLICA_BYTES))
    limit = "" if fit == point.replicas else ", as many as the memory holds"
    return replace(point, replicas=fit, title=f"{point.title}, {fit} replicas{limit}")


def _shorter(point: Point) -> Point:
    return replace(point, warmup_s=2.0, window_s=max(_QUICK_WINDOW_S, point.window_s / 2))
