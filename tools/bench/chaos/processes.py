"""The stack's processes by kind, and what is done to them."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from libs.haproxy.body_reader import READER_FILE
from tools.bench.chaos.faults import Target
from tools.bench.compare.cpu_ledger import Seen
from tools.bench.compare.cpu_meter import stack_processes
from tools.bench.idle.parts import Part, part_of

_TARGETS: Final = {
    Part.NATS: Target.NATS,
    Part.ROUTER_CONFIG: Target.ROUTER_CONFIG,
    Part.AUTOSCALER: Target.AUTOSCALER,
    Part.HAPROXY: Target.HAPROXY,
    Part.SUPERVISOR: Target.SUPERVISOR,
    Part.RAY_NODE: Target.RAY_NODE,
    Part.GCS: Target.GCS,
    Part.RAYLET: Target.RAYLET,
    Part.DASHBOARD: Target.DASHBOARD,
    Part.AGENTS: Target.AGENTS,
    Part.SERVE_CONTROLLER: Target.SERVE_CONTROLLER,
    Part.SERVE_REPLICA: Target.SERVE_REPLICA,
    Part.RUST_FRONT_END: Target.RUST_FRONT_END,
    Part.ENGINE_CORE: Target.ENGINE_CORE,
    Part.WORKER: Target.WORKER,
}


def target_of(command: str) -> Target | None:
    """Return which target a process is by its command line; None for any other (pure)."""
    found = _TARGETS.get(part_of(command))
    if found is Target.HAPROXY and READER_FILE in command.split():
        return Target.BODY_READER
    return found


def processes_of(stack_id: str, target: Target) -> list[Seen]:
    """Return the stack's living processes of a kind, oldest first."""
    found = [each for each in stack_processes(stack_id) if target_of(each.command) is target]
    return sorted(found, key=lambda each: (each.began, each.pid))


def pick(found: Sequence[Seen], at: float) -> Seen | None:
    """Choose one of several; `at` is 0 up to 1."""
    return found[int(at * len(found))] if found else None


def kill(pid: int) -> None:
    """End a process without giving it a chance; one that has just ended is fine too."""
    send(pid, signal.SIGKILL)


def send(pid: int, number: signal.Signals) -> None:
    """Send a signal; to a process that has ended nothing happens."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
