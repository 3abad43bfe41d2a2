"""What a load run should do, as values; a plan and a seed give the same requests every time."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Final

from libs.errors import UsageError
from tools.bench.load.lengths import Fixed, Lengths
from tools.bench.load.traces import TraceRequest

CLIENTS_MAX: Final = 20_000
PROCESSES_MAX: Final = 64
RATE_MAX_PER_S: Final = 100_000.0
BODY_BYTES_MAX: Final = 64 * 2**20


class Endpoint(StrEnum):
    """Which of the two OpenAI interfaces is asked."""

    CHAT = "chat"
    COMPLETIONS = "completions"

    @property
    def path(self) -> str:
        """Its path below the server's URL."""
        return "/v1/chat/completions" if self is Endpoint.CHAT else "/v1/completions"


class OutputLength(StrEnum):
    """How the drawn output length is asked for.

    EXACT sends `ignore_eos` and `min_tokens`, which vLLM knows and other servers may refuse.
    """

    EXACT = "exact"
    AT_MOST = "at_most"


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Who is asked, and how.

    Attributes:
        url: scheme, host and port, without a path.
        headers: sent with every request, beside those that HTTP needs.
    """

    url: str
    model: str
    endpoint: Endpoint = Endpoint.CHAT
    stream: bool = True
    output_length: OutputLength = OutputLength.EXACT
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """What one request asks for. A replayed trace brings its own lengths.

    Attributes:
        prompt_tokens_max: longer prompts, drawn or from a trace, are cut to this; None cuts none.
        output_tokens_max: the same for answers.
        shared_prefix_tokens: every prompt begins with the same words, this many.
        body_bytes_min: shorter bodies get a long `user` field; 0 adds none.
    """

    prompt_tokens: Lengths = field(default_factory=lambda: Fixed(tokens=128))
    output_tokens: Lengths = field(default_factory=lambda: Fixed(tokens=64))
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    shared_prefix_tokens: int = 0
    body_bytes_min: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the bounds."""
        _at_least(1, prompt_tokens_max=self.prompt_tokens_max)
        _at_least(1, output_tokens_max=self.output_tokens_max)
        _at_least(0, shared_prefix_tokens=self.shared_prefix_tokens, seed=self.seed)
        _within(0, BODY_BYTES_MAX, body_bytes_min=self.body_bytes_min)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClosedLoop:
    """Each client sends its next request when the answer before is complete.

    The load then follows the server: a server that stalls is asked less. Use an open loop to learn
    what users would feel.
    """

    clients: int

    def __post_init__(self) -> None:
        """Check the bounds."""
        _within(1, CLIENTS_MAX, clients=self.clients)


@dataclass(frozen=True, slots=True, kw_only=True)
class Poisson:
    """Requests come at random times, this many a second on average, whatever the server does."""

    rate_per_s: float

    def __post_init__(self) -> None:
        """Check the bounds."""
        _within(0.001, RATE_MAX_PER_S, rate=self.rate_per_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Requests come at a trace's times, `speed` times as fast."""

    requests: tuple[TraceRequest, ...]
    block_tokens: int = 512
    speed: float = 1.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        _within(0.001, 100_000.0, speed=self.speed)
        _within(1, 1_000_000, block_tokens=self.block_tokens)


Arrivals = ClosedLoop | Poisson | Replay


@dataclass(frozen=True, slots=True, kw_only=True)
class Extent:
    """How long it goes on: the first limit that is reached ends it.

    Attributes:
        warmup_s: requests of this time are sent and not counted.
        duration_s: length of the measured window; None has no such limit.
        requests: how many are sent after the warm-up; None has no such limit.
    """

    warmup_s: float = 0.0
    duration_s: float | None = None
    requests: int | None = None

    def __post_init__(self) -> None:
        """Check the bounds."""
        _within(0.0, 86_400.0, warmup_s=self.warmup_s)
        _within(0.1, 7 * 86_400.0, duration_s=self.duration_s)
        _at_least(1, requests=self.requests)

    @property
    def window_end_s(self) -> float:
        """When sending ends, in seconds from the start; infinite without a duration."""
        return math.inf if self.duration_s is None else self.warmup_s + self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Slo:
    """What a good answer is; None does not ask.

    Attributes:
        ttft_s: the first token comes within this time from the intended send time.
        itl_s: the tokens after it come at most this far apart, on average over the answer.
    """

    ttft_s: float | None = None
    itl_s: float | None = None

    @property
    def is_set(self) -> bool:
        """Whether anything is asked."""
        return self.ttft_s is not None or self.itl_s is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long the generator waits, in seconds.

    Attributes:
        request_s: for one whole answer; then it counts as a timeout.
        drain_s: for the answers that are under way when sending ends; what is left is unfinished.
    """

    connect_s: float = 5.0
    request_s: float = 300.0
    drain_s: float = 60.0

    def __post_init__(self) -> None:
        """Check the bounds."""
        _within(0.001, 86_400.0, connect_s=self.connect_s, timeout_s=self.request_s)
        _within(0.0, 86_400.0, drain_s=self.drain_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPlan:
    """One run."""

    target: Target
    arrivals: Arrivals
    workload: Workload = field(default_factory=Workload)
    extent: Extent = field(default_factory=lambda: Extent(duration_s=30.0))
    slo: Slo = field(default_factory=Slo)
    patience: Patience = field(default_factory=Patience)
    processes: int = 1

    def __post_init__(self) -> None:
        """Check what the parts ask of each other."""
        _within(1, PROCESSES_MAX, processes=self.processes)
        if isinstance(self.arrivals, ClosedLoop) and self.arrivals.clients < self.processes:
            raise UsageError("fewer clients than processes; lower --processes")
        if not isinstance(self.arrivals, Replay) and not _ends(self.extent):
            raise UsageError("the run has no end; give --duration-s or --requests")
        if self.extent.requests is not None and self.extent.requests < self.processes:
            raise UsageError("fewer requests than processes; lower --processes")

    def with_target(self, target: Target) -> LoadPlan:
        """Return the same plan for another target."""
        return replace(self, target=target)


def _ends(extent: Extent) -> bool:
    return extent.duration_s is not None or extent.requests is not None


def _at_least(low: float, **values: float | None) -> None:
    _within(low, math.inf, **values)


def _within(low: float, high: float, **values: float | None) -> None:
    for name, value in values.items():
        if value is not None and not low <= value <= high:
            bound = f"at least {low:g}" if high == math.inf else f"from {low:g} to {high:g}"
            raise UsageError(f"--{name.replace('_', '-')} must be {bound}, not {value:g}")
