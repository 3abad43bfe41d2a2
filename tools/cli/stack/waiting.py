"""Wait for a stack's parts, telling how they get on, and say why one will not come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from libs.bus.nats_bus import NatsBus
from libs.contracts.failing import FailingModel
from libs.contracts.ids import ModelName
from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import REPLICAS_BUCKET, TARGETS_BUCKET
from libs.errors import ControlPlaneError, UsageError
from tools.cli.console import Say
from tools.cli.failures import failing_since
from tools.cli.logs import tail
from tools.cli.stack.layout import Layout
from tools.cli.stack.supervisor import ProgramState, Supervisor
from tools.cli.stack.trust import Trust

_POLL_S: Final = 0.1
_HTTP_S: Final = 2.0
_BAD_CONFIGURATION: Final = 2
_RETRIES_SHOWN: Final = 3


class StartFailedError(ControlPlaneError):
    """A part of the stack did not start."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """What a wait looks at, and until when (monotonic seconds)."""

    layout: Layout
    supervisor: Supervisor
    deadline: float

    def check(self, waiting_for: str) -> None:
        """Give up when the time is over or a program has given up.

        Raises:
            UsageError: a program refused its configuration.
            StartFailedError: a program cannot be started, or the time is over.
        """
        for state in self.supervisor.states():
            _refuse_ended(state, self.layout)
        if time.monotonic() > self.deadline:
            raise StartFailedError(
                f"{waiting_for} took too long; see `./sluice logs` and {self.layout.logs}"
            )


async def until(watch: Watch, what: str, ready: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes; see `Watch.check` for what it raises."""
    while not await ready():
        watch.check(what)
        await asyncio.sleep(_POLL_S)


async def answers(url: str, trusted: Callable[[], Trust]) -> bool:
    """Tell whether a URL answers with success."""
    try:
        async with httpx.AsyncClient(timeout=_HTTP_S, verify=trusted()) as client:
            return (await client.get(url)).is_success
    except (httpx.HTTPError, OSError):
        return False


async def until_ready(
    watch: Watch, bus: NatsBus, specs: Sequence[ModelSpec], say: Say, *, since: float
) -> None:
    """Wait until every model has as many ready replicas as its minimum.

    What failed before `since`, in Unix seconds, another stack wrote.

    Raises:
        StartFailedError: replicas fail again and again; the message has the last reason.
    """
    async with bus.view(REPLICAS_BUCKET) as view, bus.view(TARGETS_BUCKET) as targets:
        failures: dict[str, str] = {}
        while True:
            entries = view.snapshot().entries.values()
            leases = [entry.value for entry in entries if isinstance(entry.value, ReplicaLease)]
            if all(_ready(spec, leases) for spec in specs):
                return
            records = [entry.value for entry in targets.snapshot().entries.values()]
            failing = failing_since(records, since)
            say(_summary(specs, leases, failing))
            _refuse_failed(specs, failing)
            failures |= _failures(leases)
            if len(failures) >= _RETRIES_SHOWN:
                raise StartFailedError(f"replicas fail to start: {list(failures.values())[-1]}")
            watch.check("the model")
            await view.changed(timeout_s=1.0)


async def until_served(
    watch: Watch, api_url: str, specs: Sequence[ModelSpec], *, trusted: Trust
) -> None:
    """Wait until the edge answers a request of one token for every model with replicas.

    An edge that asks for a key answers too: a stack that starts again may have tenants.
    """
    limit_s = watch.deadline - time.monotonic()
    async with httpx.AsyncClient(timeout=limit_s, verify=trusted) as client:
        for spec in specs:
            if spec.scaling.min:
                await until(
                    watch, f"{spec.name} through {api_url}", _one_token(client, api_url, spec)
                )


def _one_token(
    client: httpx.AsyncClient, api_url: str, spec: ModelSpec
) -> Callable[[], Awaitable[bool]]:
    body = {"model": spec.name, "prompt": "Hello", "max_tokens": 1}

    async def ask() -> bool:
        try:
            answer = await client.post(f"{api_url}/v1/completions", json=body)
        except httpx.HTTPError:
            return False
        return answer.is_success or answer.status_code == httpx.codes.UNAUTHORIZED

    return ask


def _ready(spec: ModelSpec, leases: Sequence[ReplicaLease]) -> bool:
    mine = [lease for lease in leases if lease.model == spec.name]
    return sum(lease.state is ReplicaState.READY for lease in mine) >= spec.scaling.min


def _refuse_failed(specs: Sequence[ModelSpec], failing: Mapping[ModelName, FailingModel]) -> None:
    """Give up when Ray Serve has: the next try is further away than a person waits."""
    for spec in specs:
        failure = failing.get(spec.name)
        if failure is not None and failure.blocked and spec.scaling.min:
            raise StartFailedError(f"{spec.name} fails to start: {failure.error}")


def _summary(
    specs: Sequence[ModelSpec],
    leases: Sequence[ReplicaLease],
    failing: Mapping[ModelName, FailingModel],
) -> str:
    return ", ".join(
        f"{spec.name} {_states(spec, leases)}{_trouble(failing.get(spec.name))}" for spec in specs
    )


def _trouble(failing: FailingModel | None) -> str:
    return f" (last error: {failing.error})" if failing else ""


def _states(spec: ModelSpec, leases: Sequence[ReplicaLease]) -> str:
    mine = [lease for lease in leases if lease.model == spec.name]
    said = [f"{lease.state.value} {lease.reason}".strip() for lease in mine]
    return " and ".join(said) or "placed by Ray Serve"


def _failures(leases: Sequence[ReplicaLease]) -> dict[str, str]:
    return {
        f"{lease.replica_id}.{lease.incarnation}": lease.reason
        for lease in leases
        if lease.state is ReplicaState.FAILED
    }


def _refuse_ended(state: ProgramState, layout: Layout) -> None:
    if state.state not in {"FATAL", "EXITED"}:
        return
    log_file = layout.log_file(state.name)
    said = last_words(state, log_file)
    if state.exit_code == _BAD_CONFIGURATION:
        raise UsageError(f"{state.name}: {said}")
    raise StartFailedError(f"{state.name} ended: {said}; see {log_file}")


def last_words(state: ProgramState, log_file: Path) -> str:
    """Return the last line that a program wrote."""
    try:
        lines = [line for line in tail(log_file, 20) if line.strip()]
    except OSError:
        lines = []
    return lines[-1].strip() if lines else f"exit code {state.exit_code}"
