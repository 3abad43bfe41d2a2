"""A real supervisord and its programs: they outlive it, and the next one takes them over."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from deploy.local.launch import Identity, identity_of, read_identity
from deploy.local.supervisord_conf import Program, render
from libs.testing.local_stack import ROOT, wait_until
from libs.testing.real_haproxy import short_folder
from tools.cli.stack.layout import Layout, layout
from tools.cli.stack.processes import end_all, marks, of_stack
from tools.cli.stack.programs import supervisor_environment
from tools.cli.stack.record import StackRecord, write_private
from tools.cli.stack.secrets import make_folders, write_launches
from tools.cli.stack.supervision import idle, launch, restore
from tools.cli.stack.supervisor import Supervisor

WITHIN_S = 20.0
HOSTILE = "a \"b\" 'c' ;d #e %f %(here)s\ng\\"
SAYS_IT = (
    "import os, sys, time; print(os.environ['VALUE'], sys.argv[1], flush=True); time.sleep(99)"
)
IGNORES_TERM = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(99)"
LEAVES_ON_TERM = "import signal, time; signal.signal(15, lambda *_: exit(0)); time.sleep(99)"


@dataclass(frozen=True, slots=True, kw_only=True)
class Supervised:
    """A stack of test programs under supervisord."""

    places: Layout
    record: StackRecord
    supervisor: Supervisor
    logs: dict[str, Path] = field(default_factory=dict)

    def run(self, **programs: str) -> None:
        """Start supervisord with programs, each a Python script."""
        made = [self._program(name, script) for name, script in programs.items()]
        write_launches(self.places, made)
        write_private(
            self.places.supervisor_launch,
            json.dumps(supervisor_environment(self.places, self.record, os.environ)),
        )
        text = render(
            made,
            socket=self.places.supervisor_socket,
            pid_file=self.places.run / "supervisor.pid",
            launches=self.places.launches,
        )
        write_private(self.places.supervisor_conf, text)
        launch(self.places, self.supervisor)
        for name in programs:
            self.supervisor.start(name)
            wait_until(lambda name=name: self.alive(name), timeout_s=WITHIN_S, what=name)  # type: ignore[misc]

    def alive(self, name: str) -> bool:
        """Tell whether a program's process lives."""
        known = self.identity(name)
        return known is not None and identity_of(known.pid) == known

    def identity(self, name: str) -> Identity | None:
        """Return which process a program has."""
        return read_identity(self.places.pid_file(name))

    def supervisord(self) -> int:
        """Return supervisord's process id."""
        found = of_stack(self.record.stack_id)
        return next(each.pid for each in found if "supervisor.supervisord" in each.command)

    def says(self, name: str) -> str:
        """Return what a program wrote."""
        file = self.places.log_file(name)
        return file.read_text() if file.exists() else ""

    def _program(self, name: str, script: str) -> Program:
        return Program(
            name=name,
            command=[sys.executable, "-I", "-S", "-c", script, HOSTILE],
            environment={**marks(self.record.stack_id, self.places.var), "VALUE": HOSTILE},
            directory=self.places.work,
            log_file=self.places.log_file(name),
            stop_wait_s=4,
        )


@pytest.fixture
def supervised() -> Iterator[Supervised]:
    """Give a stack whose folders have names that supervisord would take for its own syntax."""
    with short_folder() as folder:
        found = layout(root=ROOT, var=folder / 'v "1" ;x #y %z', models=None, user_id=1)
        places = replace(found, run=folder / "r")
        make_folders(places)
        record = StackRecord(
            stack_id=folder.name,
            started_at=0.0,
            api_host="127.0.0.1",
            api_port=1,
            stats_port=2,
            nats_port=3,
            ray_port=4,
            ray_agent_port=5,
            dashboard_port=6,
        )
        try:
            supervisor = Supervisor(places.supervisor_socket, answer_s=1.0)
            yield Supervised(places=places, record=record, supervisor=supervisor)
        finally:
            end_all(record.stack_id, grace_s=5.0)


def test_any_value_reaches_a_program(supervised: Supervised) -> None:
    """In its environment, its command and its folders: supervisord starts, and nothing is lost."""
    supervised.run(one=SAYS_IT)

    wait_until(lambda: "\\" in supervised.says("one"), timeout_s=WITHIN_S, what="its words")

    assert supervised.says("one").strip() == f"{HOSTILE} {HOSTILE}"


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "silent"])
def test_a_new_supervisord_takes_over_what_runs(
    supervised: Supervised, sent: signal.Signals
) -> None:
    """Nothing is ended for it; what ends later is started again."""
    supervised.run(one=SAYS_IT, two=LEAVES_ON_TERM)
    before = supervised.identity("one"), supervised.identity("two")
    os.kill(supervised.supervisord(), sent)
    wait_until(lambda: not supervised.supervisor.alive(), timeout_s=WITHIN_S, what="its end")

    started = restore(supervised.places, supervised.record.stack_id, supervised.supervisor)

    assert started == ["supervisord"]
    wait_until(lambda: _all_run(supervised), timeout_s=WITHIN_S, what="all programs")
    assert (supervised.identity("one"), supervised.identity("two")) == before
    one = supervised.identity("one")
    assert one is not None
    os.kill(one.pid, signal.SIGKILL)
    wait_until(
        lambda: supervised.identity("one") != one and supervised.alive("one"),
        timeout_s=WITHIN_S,
        what="another one",
    )


@pytest.mark.parametrize("script", [LEAVES_ON_TERM, IGNORES_TERM], ids=["polite", "stubborn"])
def test_a_program_that_was_taken_over_is_stopped_like_any_other(
    supervised: Supervised, script: str
) -> None:
    """Signals are passed on to it, and it is killed when it does not end."""
    supervised.run(two=script)
    os.kill(supervised.supervisord(), signal.SIGKILL)
    wait_until(lambda: not supervised.supervisor.alive(), timeout_s=WITHIN_S, what="its end")
    restore(supervised.places, supervised.record.stack_id, supervised.supervisor)
    wait_until(lambda: _all_run(supervised), timeout_s=WITHIN_S, what="all programs")

    supervised.supervisor.stop("two")

    assert not supervised.alive("two")


def test_where_all_runs_nothing_is_started(supervised: Supervised) -> None:
    """So a second `up` can say so."""
    supervised.run(one=SAYS_IT)
    wait_until(lambda: _all_run(supervised), timeout_s=WITHIN_S, what="all programs")
    supervisord = supervised.supervisord()

    started = restore(supervised.places, supervised.record.stack_id, supervised.supervisor)

    assert started == []
    assert supervised.supervisord() == supervisord


def test_a_program_that_gave_up_is_started_again(supervised: Supervised) -> None:
    """Supervisord leaves it alone; `up` does not."""
    supervised.run(two=LEAVES_ON_TERM)
    supervised.supervisor.stop("two")

    started = restore(supervised.places, supervised.record.stack_id, supervised.supervisor)

    assert started == ["two"]
    wait_until(lambda: supervised.alive("two"), timeout_s=WITHIN_S, what="the program")


def _all_run(supervised: Supervised) -> bool:
    states = supervised.supervisor.states()
    return not idle(states) and all(each.state == "RUNNING" for each in states)
