"""Stop a stack: in the order in which no request is lost, then prove that nothing is left."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from functools import partial
from typing import Final

from libs.engine.engine_folder import remove_dead
from libs.errors import PeerUnreachableError
from tools.cli.console import Say
from tools.cli.logs import keep_replica_logs
from tools.cli.stack.layout import Layout
from tools.cli.stack.processes import Found, end, of_folder
from tools.cli.stack.programs import (
    AUTOSCALER,
    BODY_READER,
    LOG_KEEPER,
    NATS,
    NATS_WATCH,
    RAY,
    ROUTER_CONFIG,
)
from tools.cli.stack.run_folder import empty, locked
from tools.cli.stack.supervisor import Supervisor

_ENDED_IN_ORDER: Final = (
    *(AUTOSCALER, ROUTER_CONFIG, BODY_READER, RAY),
    *(NATS_WATCH, NATS, LOG_KEEPER),
)
_SUPERVISOR_END_S: Final = 10.0
_LEFTOVER_GRACE_S: Final = 10.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a stack ended: whether there was one, and what had to be killed."""

    was_running: bool
    killed: tuple[Found, ...] = ()


def down(layout: Layout, say: Say) -> Stopped:
    """Stop everything that `up` started; stopping what does not run is no error.

    Another `up` or `down` of the same stack is waited for.
    """
    with locked(layout.run, on_wait=lambda: say("another `up` or `down` works on it; waiting")):
        was_running = layout.record.exists() or bool(of_folder(layout.var))
        if was_running:
            _stop_programs(Supervisor(layout.supervisor_socket), say)
            say("looking for what is left")
        killed = _end_leftovers(layout)
        _remove_traces_of_running(layout)
    return Stopped(was_running=was_running, killed=tuple(killed))


def stop_hard(layout: Layout) -> None:
    """End everything at once, under the lock: for a start that failed, or a stack that crashed."""
    with contextlib.suppress(PeerUnreachableError, OSError):
        Supervisor(layout.supervisor_socket).shutdown()
    _end_leftovers(layout)
    _remove_traces_of_running(layout)


def _stop_programs(supervisor: Supervisor, say: Say) -> None:
    """Stop in this order: no new decisions, no new requests, then engines, then the bus."""
    if not supervisor.alive():
        return
    for program in _ENDED_IN_ORDER:
        say(f"stopping {program}")
        with contextlib.suppress(PeerUnreachableError, OSError):
            supervisor.stop(program)
    with contextlib.suppress(PeerUnreachableError, OSError):
        supervisor.shutdown()
    deadline = time.monotonic() + _SUPERVISOR_END_S
    while supervisor.alive() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _end_leftovers(layout: Layout) -> list[Found]:
    return end(partial(of_folder, layout.var), grace_s=_LEFTOVER_GRACE_S)


def _remove_traces_of_running(layout: Layout) -> None:
    layout.record.unlink(missing_ok=True)
    keep_replica_logs(layout)
    remove_dead(layout.replica_sockets)
    empty(layout.run)
