"""From the command's options to a plan; everything that a user can get wrong is said here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from libs.errors import UsageError
from tools.bench.load.lengths import parse_lengths
from tools.bench.load.plan import (
    Arrivals,
    ClosedLoop,
    Endpoint,
    Extent,
    LoadPlan,
    Patience,
    Poisson,
    Replay,
    Slo,
    Target,
    Workload,
)
from tools.bench.load.traces import TraceFormat, TraceRequest, parse_trace

DEFAULT_CLIENTS: Final = 8
DEFAULT_DURATION_S: Final = 30.0
_FORMAT_BY_SUFFIX: Final = {".csv": TraceFormat.AZURE, ".jsonl": TraceFormat.MOONCAKE}


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """`./sluice bench load` as the user wrote it; None is an option that was not given.

    Attributes:
        self_test: measure the generator itself against a server that only streams.
    """

    self_test: bool = False
    url: str | None = None
    model: str | None = None
    endpoint: Endpoint = Endpoint.CHAT
    stream: bool = True
    exact_output: bool | None = None
    headers: Sequence[str] = ()
    clients: int | None = None
    rate: float | None = None
    trace: Path | None = None
    trace_format: TraceFormat | None = None
    block_tokens: int = 512
    speed: float = 1.0
    prompt_tokens: str = "128"
    output_tokens: str = "64"
    prompt_tokens_max: int | None = None
    output_tokens_max: int | None = None
    shared_prefix_tokens: int = 0
    body_bytes_min: int = 0
    seed: int = 0
    warmup_s: float = 0.0
    duration_s: float | None = None
    requests: int | None = None
    slo_ttft_s: float | None = None
    slo_itl_s: float | None = None
    timeout_s: float = 300.0
    drain_s: float = 60.0
    processes: int = 1


def plan_of(options: LoadOptions, target: Target) -> LoadPlan:
    """Build the plan for a target; a trace file is read.

    Raises:
        UsageError: options contradict each other, or a value is out of its bounds.
    """
    return LoadPlan(
        target=target,
        arrivals=arrivals_of(options),
        workload=Workload(
            prompt_tokens=parse_lengths(options.prompt_tokens),
            output_tokens=parse_lengths(options.output_tokens),
            prompt_tokens_max=options.prompt_tokens_max,
            output_tokens_max=options.output_tokens_max,
            shared_prefix_tokens=options.shared_prefix_tokens,
            body_bytes_min=options.body_bytes_min,
            seed=options.seed,
        ),
        extent=_extent(options),
        slo=Slo(ttft_s=options.slo_ttft_s, itl_s=options.slo_itl_s),
        patience=Patience(request_s=options.timeout_s, drain_s=options.drain_s),
        processes=options.processes,
    )


def arrivals_of(options: LoadOptions) -> Arrivals:
    """Return the kind of load; at most one may be asked for.

    Raises:
        UsageError: two kinds are asked for, or the trace cannot be read.
    """
    kinds = {"--clients": options.clients, "--rate": options.rate, "--trace": options.trace}
    given = [name for name, value in kinds.items() if value is not None]
    if len(given) > 1:
        raise UsageError(f"{' and '.join(given)} exclude each other; give one of them")
    if options.trace is not None:
        return Replay(
            requests=read_trace(options.trace, options.trace_format, options.block_tokens),
            block_tokens=options.block_tokens,
            speed=options.speed,
        )
    if options.rate is not None:
        return Poisson(rate_per_s=options.rate)
    return ClosedLoop(clients=DEFAULT_CLIENTS if options.clients is None else options.clients)


def read_trace(
    path: Path, trace_format: TraceFormat | None, block_tokens: int
) -> tuple[TraceRequest, ...]:
    """Read a trace file.

    Raises:
        UsageError: it cannot be opened, its format is not known, or a line does not parse.
    """
    known = trace_format or _FORMAT_BY_SUFFIX.get(path.suffix)
    if known is None:
        raise UsageError(f"{path}: say its format with --format azure or --format mooncake")
    try:
        with path.open(encoding="utf-8") as lines:
            return parse_trace(lines, trace_format=known, name=str(path), block_tokens=block_tokens)
    except (OSError, UnicodeDecodeError) as exc:
        raise UsageError(f"cannot read the trace {path}: {exc}") from exc


def base_url(text: str) -> str:
    """Return scheme, host and port of a URL; a trailing `/v1` is understood.

    Raises:
        UsageError: it is no HTTP URL, or has another path.
    """
    parts = urlsplit(text)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{text!r} is no URL of a server; write http://HOST:PORT")
    if parts.path.rstrip("/") not in {"", "/v1"} or parts.query:
        raise UsageError(f"{text!r} has a path; write http://HOST:PORT, --endpoint adds the path")
    return f"{parts.scheme}://{parts.netloc}"


def headers_of(lines: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read headers as `Name: value`.

    Raises:
        UsageError: one of them has no colon, or is more than one line.
    """
    pairs = [line.partition(":") for line in lines]
    for line, (name, colon, _) in zip(lines, pairs, strict=True):
        if not (name.strip() and colon) or not line.isprintable() or not line.isascii():
            raise UsageError(f"{line!r} is no header; write 'Name: value'")
    return tuple((name.strip(), value.strip()) for name, _, value in pairs)


def _extent(options: LoadOptions) -> Extent:
    duration_s = options.duration_s
    if duration_s is None and options.requests is None and options.trace is None:
        duration_s = DEFAULT_DURATION_S
    return Extent(warmup_s=options.warmup_s, duration_s=duration_s, requests=options.requests)
