"""Stop a stack: in the order in which no request is lost, then prove that nothing is left."""

from __future__ import annotations

import contextlib
import shutil
import time
from dataclasses import dataclass
from typing import Final

from libs.engine.engine_folder import remove_dead
from libs.errors import PeerUnreachableError
from tools.cli.console import Say
from tools.cli.logs import keep_replica_logs
from tools.cli.stack.layout import Layout
from tools.cli.stack.processes import Found, end_all
from tools.cli.stack.programs import (
    AUTOSCALER,
    BODY_READER,
    NATS,
    NATS_WATCH,
    RAY,
    ROUTER_CONFIG,
)
from tools.cli.stack.record import StackRecord, load
from tools.cli.stack.supervisor import Supervisor

_SUPERVISOR_END_S: Final = 10.0
_LEFTOVER_GRACE_S: Final = 10.0
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """How a stack ended: whether there was one, and what had to be killed."""

    was_running: bool
    killed: tuple[Found, ...] = ()


def down(layout: Layout, say: Say) -> Stopped:
    """Stop everything that `up` started; stopping what does not run is no error."""
    record = load(layout.record)
    if record is None:
        return Stopped(was_running=False)
    _stop_programs(Supervisor(layout.supervisor_socket), say)
    say("looking for what is left")
    killed = _end_leftovers(layout, record)
    _remove_traces_of_running(layout)
    return Stopped(was_running=True, killed=tuple(killed))


def stop_hard(layout: Layout, record: StackRecord) -> None:
    """End everything at once; for a start that failed."""
    with contextlib.suppress(PeerUnreachableError, OSError):
        Supervisor(layout.supervisor_socket).shutdown()
    _end_leftovers(layout, record)
    _remove_traces_of_running(layout)


def _stop_programs(supervisor: Supervisor, say: Say) -> None:
    """Stop in this order: no new decisions, no new requests, then engines, then the bus."""
    if not supervisor.alive():
        return
    for program in (AUTOSCALER, ROUTER_CONFIG, BODY_READER, RAY, NATS_WATCH, NATS):
        say(f"stopping {program}")
        with contextlib.suppress(PeerUnreachableError, OSError):
            supervisor.stop(program)
    with contextlib.suppress(PeerUnreachableError, OSError):
        supervisor.shutdown()
    deadline = time.monotonic() + _SUPERVISOR_END_S
    while supervisor.alive() and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _end_leftovers(layout: Layout, record: StackRecord) -> list[Found]:
    return end_all(record.stack_id, haproxy_state=layout.haproxy, grace_s=_LEFTOVER_GRACE_S)


def _remove_traces_of_running(layout: Layout) -> None:
    layout.record.unlink(missing_ok=True)
    keep_replica_logs(layout)
    remove_dead(layout.replica_sockets)
    shutil.rmtree(layout.run, ignore_errors=True)
