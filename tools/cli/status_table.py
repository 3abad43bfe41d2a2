"""`sluice status` for people: tables."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from tools.cli.failures import failure_line
from tools.cli.health import ROUTING_AGE_MAX_S
from tools.cli.status import ModelStatus, ReplicaStatus, Status

_UNKNOWN = "?"

REJECTED_SHOWN_MAX = 8
"""Records that are named; `--json` names all."""


def tables(status: Status, *, now: float) -> Iterator[str | Table]:
    """Render the status as lines and tables; `now` is Unix time in seconds."""
    proxy = status.haproxy
    yield f"API      {status.api_url}"
    pid, reloads = _known(proxy.pid), _known(proxy.reloads)
    yield f"HAProxy  {proxy.version or _UNKNOWN}, pid {pid}, reloads {reloads}"
    yield f"Routing  revision {_known(status.routing.revision)}{_old(status.routing.age_s)}"
    yield f"NATS     {status.nats_url}"
    if status.scaling.trouble:
        yield f"Scaling  [yellow]does not work: {escape(status.scaling.trouble)}[/]"
    for each in status.rejected[:REJECTED_SHOWN_MAX]:
        yield f"         [yellow]not used: {escape(each)}[/]"
    if len(status.rejected) > REJECTED_SHOWN_MAX:
        beyond = len(status.rejected) - REJECTED_SHOWN_MAX
        yield f"         [yellow]and {beyond} more that are not used[/]"
    if status.processes:
        yield _processes(status)
    yield _models(status)
    for model in status.models:
        if model.failure is not None:
            yield failure_line(model.name, model.failure, now=now)
    yield from _served_by_python(status)
    if any(model.adapters for model in status.models):
        yield _adapters(status)


def _processes(status: Status) -> Table:
    table = Table("process", "state", "pid", box=None, pad_edge=False)
    for each in status.processes:
        table.add_row(each.name, each.state.lower(), str(each.pid or ""))
    return table


def _models(status: Status) -> Table:
    heads = (
        "model",
        "ready",
        "held",
        "replica",
        "state",
        "front end",
        "address",
        "executor",
        "run",
        "wait",
        "kv",
    )
    table = Table(*heads, box=None, pad_edge=False)
    for model in status.models:
        _add_model(table, model)
    return table


def _add_model(table: Table, model: ModelStatus) -> None:
    ready = f"{model.ready}/{_known(model.target)}"
    by_hand = " by hand" if model.target_reason == "manual" else ""
    head = (model.name, f"{ready}{by_hand}", _known(model.held))
    if not model.replicas:
        table.add_row(*head, "none", *[""] * 7)
    for each in model.replicas:
        usage = each.kv_cache_usage_ratio
        table.add_row(
            *head,
            each.id,
            # A long reason stands below the table, with what becomes of the model.
            f"{each.state} {'' if model.failure else escape(each.reason)}".strip(),
            _front_end(each),
            each.address or "",
            each.executor,
            _known(each.running),
            _known(each.waiting),
            _UNKNOWN if usage is None else f"{usage:.0%}",
        )
        head = ("", "", "")


def _front_end(replica: ReplicaStatus) -> str:
    why = f" ({escape(replica.front_end_reason)})" if replica.front_end_reason else ""
    return f"{replica.front_end}{why}"


def _served_by_python(status: Status) -> Iterator[str]:
    """Name the aliases that came after a Rust front end had started."""
    for model in status.models:
        late = model.aliases_served_by_python
        if late:
            names = ", ".join(map(escape, late))
            yield (
                f"{model.name}: {names} served by the Python front end"
                " until the replicas are next replaced"
            )


def _adapters(status: Status) -> Table:
    table = Table("adapter", "model", "loaded", "source", box=None, pad_edge=False)
    for model in status.models:
        for each in model.adapters:
            loaded = f"{each.loaded}/{model.ready}"
            why = "".join(f"\n[yellow]{escape(cause)}[/]" for cause in each.causes)
            table.add_row(each.name, model.name, loaded, f"{escape(each.source)}{why}")
    return table


def _old(age_s: float | None) -> str:
    if age_s is None or age_s <= ROUTING_AGE_MAX_S:
        return ""
    return f" [yellow]({age_s:.0f} s ago)[/]"


def _known(value: float | None) -> str:
    return _UNKNOWN if value is None else str(value)
