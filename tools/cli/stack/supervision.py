"""Bring a stack's supervision up, the first time or again, without ending what runs.

A new supervisord starts each program through `deploy/local/launch.py`, which looks after the
process that is already there instead of starting another one.
"""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Sequence
from functools import partial
from typing import Final

from deploy.local.launch import identity_of, read_identity
from libs.errors import UsageError
from tools.cli.stack import processes
from tools.cli.stack.layout import Layout
from tools.cli.stack.processes import Found
from tools.cli.stack.record import StackRecord
from tools.cli.stack.supervisor import ProgramState, Supervisor
from tools.cli.stack.trust import trust
from tools.cli.stack.waiting import Watch, answers, until

SUPERVISORD: Final = "supervisord"
_MODULE: Final = "supervisor.supervisord"
_REPAIR_S: Final = 60.0
_KILL_S: Final = 5.0
_UP: Final = frozenset({"RUNNING", "STARTING"})


def launch(layout: Layout, supervisor: Supervisor) -> None:
    """Start supervisord with the environment that `up` wrote down.

    Raises:
        PeerUnreachableError: it did not come up.
        UsageError: the file with its environment is lost.
    """
    try:
        environment = json.loads(layout.supervisor_launch.read_text())
    except (OSError, ValueError) as exc:
        raise UsageError(
            f"{layout.run} is damaged: the stack cannot be repaired; run `./sluice down`"
        ) from exc
    layout.logs.mkdir(parents=True, exist_ok=True)
    supervisor.launch(layout.supervisor_conf, environment)


async def repair(layout: Layout, record: StackRecord) -> list[str]:
    """Start what has ended, supervisord among it; returns the names, empty where all runs.

    Raises:
        StartFailedError: a part does not come up.
        UsageError: a part refuses its configuration, or the stack's files are lost.
    """
    supervisor = Supervisor(layout.supervisor_socket)
    started = restore(layout, record.stack_id, supervisor)
    if started:
        await _until_up(layout, record, supervisor)
    return started


def restore(layout: Layout, stack_id: str, supervisor: Supervisor) -> list[str]:
    """Start supervisord if it does not answer, then what it does not run; returns the names.

    Raises:
        PeerUnreachableError: supervisord did not come up.
        UsageError: the file with its environment is lost.
    """
    if supervisor.alive():
        lost = idle(supervisor.states())
        _start(supervisor, lost)
        return lost
    _end_silent(stack_id)
    launch(layout, supervisor)
    lost = idle(supervisor.states())
    ended = [program for program in lost if not _lives(layout, program)]
    _start(supervisor, lost)
    return [SUPERVISORD, *ended]


def _lives(layout: Layout, program: str) -> bool:
    known = read_identity(layout.pid_file(program))
    return known is not None and identity_of(known.pid) == known


def _start(supervisor: Supervisor, programs: Sequence[str]) -> None:
    for program in programs:
        supervisor.start(program)


def idle(states: Sequence[ProgramState]) -> list[str]:
    """Return the programs that supervisord neither runs nor is about to start again."""
    return [each.name for each in states if each.state not in {*_UP, "BACKOFF"}]


def _end_silent(stack_id: str) -> None:
    """End a supervisord that does not answer: two of them would start everything twice."""
    silent = partial(_supervisords, stack_id)
    for found in silent():
        processes.send(found, signal.SIGKILL, silent)
    deadline = time.monotonic() + _KILL_S
    while silent() and time.monotonic() < deadline:
        time.sleep(0.05)


def _supervisords(stack_id: str) -> list[Found]:
    return [each for each in processes.of_stack(stack_id) if _MODULE in each.command.split()]


async def _until_up(layout: Layout, record: StackRecord, supervisor: Supervisor) -> None:
    watch = Watch(layout=layout, supervisor=supervisor, deadline=time.monotonic() + _REPAIR_S)

    async def all_up() -> bool:
        return all(each.state == "RUNNING" for each in supervisor.states())

    await until(watch, "a part that had ended", all_up)
    url = f"{record.api_url}/health"
    await until(watch, "HAProxy", lambda: answers(url, partial(trust, layout, record)))
