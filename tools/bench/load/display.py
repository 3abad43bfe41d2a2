"""What a person sees of a run: a bar while it goes on, tables when it is over."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Table

from tools.bench.load.plan import LoadPlan, Replay
from tools.bench.load.result import LoadResult, Quantiles
from tools.bench.load.shard import Progress as Standing

_COLUMNS = ("p50_s", "p90_s", "p95_s", "p99_s", "p999_s", "max_s", "mean_s")


@contextmanager
def progress_bar(plan: LoadPlan, console: Console) -> Iterator[Callable[[Standing], None]]:
    """Show a bar on a terminal while the body runs; elsewhere show nothing."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[said]}"))
    with Progress(
        *columns,
        console=console,
        transient=True,
        refresh_per_second=4,
        disable=not console.is_terminal,
    ) as bar:
        task = bar.add_task("warm-up" if plan.extent.warmup_s else "load", total=1.0, said="")
        last = Standing(elapsed_s=0.0)

        def tell(now: Standing) -> None:
            nonlocal last
            warm = now.elapsed_s >= plan.extent.warmup_s
            bar.update(
                task,
                description="load" if warm else "warm-up",
                completed=done_ratio(plan, now),
                said=_said(last, now),
            )
            last = now

        yield tell


def done_ratio(plan: LoadPlan, now: Standing) -> float:
    """Return how much of a run is over, by time or by requests, 0 to 1."""
    shares = []
    if plan.extent.duration_s is not None:
        shares.append(now.elapsed_s / plan.extent.window_end_s)
    if plan.extent.requests is not None:
        shares.append(now.finished / plan.extent.requests)
    if isinstance(plan.arrivals, Replay):
        length_s = plan.arrivals.requests[-1].at_s / plan.arrivals.speed
        shares.append(now.elapsed_s / length_s if length_s else 1.0)
    return min(1.0, max(shares, default=0.0))


def _said(last: Standing, now: Standing) -> str:
    passed_s = max(now.elapsed_s - last.elapsed_s, 1e-9)
    rate = max(0.0, (now.text_events - last.text_events) / passed_s)
    failed = f"  [red]{now.failed} failed[/]" if now.failed else ""
    return (
        f"{now.elapsed_s:5.1f} s  {rate:8,.0f} tokens/s  {now.in_flight} in flight  "
        f"{now.finished} done{failed}"
    )


def tables(result: LoadResult) -> Iterator[Table]:
    """Yield what a run found, and what the generator did meanwhile."""
    yield _latency_table(result)
    yield _facts_table(result)


def _latency_table(result: LoadResult) -> Table:
    table = Table(title="Latency from the intended send time, ms", title_justify="left")
    table.add_column("")
    for name in _COLUMNS:
        table.add_column(name.removesuffix("_s").replace("p999", "p99.9"), justify="right")
    table.add_column("samples", justify="right")
    found = result.latency
    for name, quantiles in (
        ("time to first token", found.ttft),
        ("inter-token", found.itl),
        ("time per output token", found.tpot),
        ("end to end", found.e2e),
    ):
        if quantiles is not None:
            table.add_row(name, *_milliseconds(quantiles), f"{quantiles.count:,}")
    return table


def _milliseconds(quantiles: Quantiles) -> list[str]:
    values: list[float] = [getattr(quantiles, name) for name in _COLUMNS]
    return [f"{value * 1000:,.1f}" for value in values]


def _facts_table(result: LoadResult) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column()
    for name, text in _facts(result):
        table.add_row(name, text)
    return table


def _facts(result: LoadResult) -> Iterator[tuple[str, str]]:
    rates, requests = result.throughput, result.requests
    yield (
        "throughput",
        (
            f"{rates.tokens_per_s:,.1f} tokens/s, {rates.requests_per_s:,.2f} requests/s "
            f"({rates.offered_per_s:,.2f} offered) over {rates.window_s:.1f} s"
        ),
    )
    if result.goodput is not None:
        yield (
            "goodput",
            f"{result.goodput.requests_per_s:,.2f} requests/s, {result.goodput.ratio:.1%} met it",
        )
    yield "tokens", _tokens(result)
    yield (
        "requests",
        (
            f"{requests.ok} ok, {requests.failed} failed ({requests.truncated} truncated, "
            f"{requests.unfinished} unfinished); {requests.warmup} before in the warm-up"
        ),
    )
    for kind, number in result.errors.items():
        example = next(iter(result.error_examples.get(kind, [])), "").replace("\n", " ")
        yield "  " + kind, f"{number}  {example}"
    yield "generator", _generator(result)


def _tokens(result: LoadResult) -> str:
    rates = result.throughput
    prompt, output = rates.prompt_tokens_mean, rates.output_tokens_mean
    prompt_text = "unknown" if prompt is None else f"{prompt:,.1f}"
    output_text = "unknown" if output is None else f"{output:,.1f}"
    return f"prompt {prompt_text}, answer {output_text} on average, counted by {rates.counted_by}"


def _generator(result: LoadResult) -> str:
    own = result.generator
    parts = [f"{own.processes} process{'es' if own.processes > 1 else ''}"]
    if own.utilisation_ratio is not None:
        parts.append(f"{own.utilisation_ratio:.0%} of a CPU")
    if own.cpu_ms_per_1k_tokens is not None:
        parts.append(f"{own.cpu_ms_per_1k_tokens:,.1f} ms CPU per 1,000 tokens")
    if own.send_lag is not None:
        parts.append(f"sends {own.send_lag.p99_s * 1000:.1f} ms late (p99)")
    if own.loop_lag is not None:
        parts.append(f"clock read {own.loop_lag.p99_s * 1000:.1f} ms late (p99)")
    return ", ".join(parts)
