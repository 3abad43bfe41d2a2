"""Faults on one machine: supervisord dies, `var` is removed, the autoscaler hangs."""

import os
import shutil
import signal
import time
from pathlib import Path

from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.stack_inside import Part, StackInside
from libs.testing.steady_load import steady_load

MODEL = "simulated"
BACK_S = 20.0
LOAD_TIMEOUT_S = 180.0
RESYNC_S = 30.0
"""How often a service reads a bucket again, whatever it has heard: what is lost shows then."""


def test_up_replaces_a_dead_supervisord(stack: LocalStack, inside: StackInside) -> None:
    """Without ending a process or failing a request; what dies later is started again."""
    before = inside.until_whole(within_s=LOAD_TIMEOUT_S, what="a whole stack")
    pids = {part: inside.pid_of(part) for part in Part}

    with steady_load(stack.api_url, model=MODEL) as load:
        os.kill(pids[Part.SUPERVISOR] or 0, signal.SIGKILL)
        wait_until(lambda: inside.pid_of(Part.SUPERVISOR) is None, timeout_s=BACK_S, what="its end")
        told, shown = stack.sluice("status"), stack.status()
        repaired, again = stack.sluice("up", "--detach"), stack.sluice("up", "--detach")
        after = inside.until_whole(within_s=BACK_S, what="a whole stack")
        killed_at = time.time()
        os.kill(pids[Part.AUTOSCALER] or 0, signal.SIGKILL)
        inside.until_whole(since=killed_at, within_s=BACK_S, what="the autoscaler back")

    assert told.code == 1
    assert "supervisord does not answer" in told.err
    assert (shown["supervised"], shown["bus"]["answers"]) == (False, True)
    assert repaired.code == again.code == 0, repaired.err
    assert "Started again: supervisord" in repaired.out
    assert "running already" in again.out
    assert {part: inside.pid_of(part) for part in Part if part in _UNHARMED} == {
        part: pid for part, pid in pids.items() if part in _UNHARMED
    }
    assert after.leases == before.leases
    assert load.outcomes
    assert load.failed() == []
    assert stack.status()["problems"] == []


_UNHARMED = {Part.NATS, Part.ROUTER_CONFIG, Part.RAY, Part.GCS}


def test_a_scale_without_a_leading_autoscaler_fails(stack: LocalStack, inside: StackInside) -> None:
    """The target is written and has no effect: exit code 1, with the reason."""
    pid = inside.pid_of(Part.AUTOSCALER)
    assert pid is not None

    os.kill(pid, signal.SIGSTOP)
    try:
        done = stack.sluice("scale", MODEL, "2")
        status = stack.status()
    finally:
        os.kill(pid, signal.SIGCONT)

    assert done.code == 1
    assert "no autoscaler leads" in done.err
    assert status["autoscaler"]["leads"] is False
    assert any("no autoscaler leads" in problem for problem in status["problems"])
    freed = stack.sluice("scale", MODEL, "auto")
    assert freed.code == 0, freed.err


def test_the_removal_of_var_costs_no_request(
    stack: LocalStack, inside: StackInside, tmp_path: Path
) -> None:
    """The last test: what was stored is gone, and everything runs on, restarts and is found."""
    before = inside.until_whole(within_s=LOAD_TIMEOUT_S, what="a whole stack")
    models = tmp_path / "models.yaml"
    shutil.copy(stack.var / "models.yaml", models)

    with steady_load(stack.api_url, model=MODEL) as load:
        shutil.rmtree(stack.var)
        lost_at = time.monotonic()
        wait_until(
            (stack.var / "haproxy" / "base.cfg").exists,
            timeout_s=BACK_S,
            what="HAProxy's files",
        )
        time.sleep(max(0.0, lost_at + RESYNC_S + 5 - time.monotonic()))
        nats = inside.pid_of(Part.NATS)
        os.kill(nats or 0, signal.SIGKILL)
        wait_until(
            lambda: inside.pid_of(Part.NATS) not in {None, nats}, timeout_s=BACK_S, what="NATS"
        )
        began_at = time.time()
        done = stack.sluice("apply", str(models))
        after = inside.until_whole(since=began_at, within_s=BACK_S, what="the whole state")

    assert done.code == 0, done.err
    assert after.leases == before.leases
    assert load.outcomes
    assert load.failed() == []
