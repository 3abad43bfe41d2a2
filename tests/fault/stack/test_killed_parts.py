"""One part ends: the others go on, it comes back, and the state is right again.

tests/fault/chaos kills the other parts, HAProxy and replicas among them.
"""

import os
import shutil
import signal
import time

import pytest

from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.stack_inside import Part, StackInside
from libs.testing.steady_load import steady_load

MODEL = "simulated"
BACK_S = 10.0
LOAD_TIMEOUT_S = 180.0
"""How long an engine may take to start beside another one on two cores."""


def kill(pid: int | None, number: signal.Signals = signal.SIGKILL) -> None:
    """End a process, by default without giving it a chance."""
    assert pid is not None, "the process does not run"
    os.kill(pid, number)


@pytest.mark.parametrize(
    ("part", "number"),
    [
        (Part.ROUTER_CONFIG, signal.SIGTERM),
        (Part.AUTOSCALER, signal.SIGKILL),
    ],
    ids=lambda each: each.name,
)
def test_a_killed_control_plane_process_costs_no_request(
    stack: LocalStack, inside: StackInside, part: Part, number: signal.Signals
) -> None:
    """HAProxy and the replicas serve from what they know; the process is back within 10 s.

    A SIGTERM from anybody but supervisord is no wish to end HAProxy.
    """
    before = inside.pid_of(part)
    found = inside.until_whole(within_s=LOAD_TIMEOUT_S, what="a whole stack")

    with steady_load(stack.api_url, model=MODEL) as load:
        killed_at = time.time()
        kill(before, number)
        wait_until(
            lambda: inside.pid_of(part) not in {None, before}, timeout_s=BACK_S, what=part.name
        )
        left_s = killed_at + BACK_S - time.time()
        after = inside.until_whole(since=killed_at, within_s=left_s, what=f"{part.name} back")

    assert found.routing is not None
    assert after.routing is not None
    assert after.routing.haproxy_pid == found.routing.haproxy_pid
    assert after.leases == found.leases
    assert load.outcomes
    assert load.failed() == []


def test_a_killed_serve_controller_costs_no_request_and_no_replica(
    stack: LocalStack, inside: StackInside
) -> None:
    """The new one finds the replicas as they are: it asks each for its log file, among others."""
    before = inside.pid_of(Part.CONTROLLER)
    found = inside.until_whole(within_s=LOAD_TIMEOUT_S, what="a whole stack")

    with steady_load(stack.api_url, model=MODEL) as load:
        killed_at = time.time()
        kill(before)
        wait_until(lambda: has_recovered(inside, before), timeout_s=LOAD_TIMEOUT_S, what="recovery")
        after = inside.until_whole(since=killed_at, within_s=BACK_S, what="a whole stack")

    assert after.leases == found.leases
    assert after.servers == found.servers
    assert load.outcomes
    assert load.failed() == []


def has_recovered(inside: StackInside, before: int | None) -> bool:
    """Tell whether another controller knows how every replica stands."""
    pid = inside.pid_of(Part.CONTROLLER)
    if pid in {None, before}:
        return False
    said = (inside.serve_logs() / f"controller_{pid}.log").read_text()
    return "Finished recovering deployments" in said


def test_a_bus_that_lost_everything_costs_no_request_and_apply_makes_it_again(
    stack: LocalStack, inside: StackInside
) -> None:
    """Not even its buckets are left; what is served is what was known."""
    before = inside.until_whole(within_s=LOAD_TIMEOUT_S, what="a whole stack")

    with steady_load(stack.api_url, model=MODEL) as load:
        with inside.nobody_restarts_anything():
            kill(inside.pid_of(Part.NATS))
            shutil.rmtree(stack.var / "nats")
        wait_until(lambda: inside.pid_of(Part.NATS) is not None, timeout_s=BACK_S, what="NATS")
        told = stack.sluice("status")
        began_at = time.time()
        done = stack.sluice("apply", str(stack.var / "models.yaml"))
        after = inside.until_whole(since=began_at, within_s=2 * BACK_S, what="the whole state")

    assert told.code == 1
    assert "./sluice apply FILE" in told.err
    assert done.code == 0, done.err
    assert after.leases == before.leases
    assert load.outcomes
    assert load.failed() == []


def test_scaling_down_under_load_costs_no_request(stack: LocalStack, inside: StackInside) -> None:
    """The leaving replica drains: it gets nothing new and finishes what it has.

    Serve's own log of a replica tells it: vLLM closes every log of its process at import.
    """
    logs = inside.serve_logs()
    before = inside.look().leases
    with steady_load(stack.api_url, model=MODEL, clients=4, max_tokens=24) as load:
        began_at = time.time()
        stack.sluice("scale", MODEL, "1")
        after = inside.until_whole(since=began_at, replicas=1, within_s=90, what="one replica")
        (left,) = before.keys() - after.leases.keys()
        serve_log = logs / f"replica_{MODEL}_replica_{left.partition('.')[0]}.log"
        wait_until(
            lambda: "Drained ongoing requests" in serve_log.read_text(),
            timeout_s=90,
            what="Serve's log",
        )

    assert load.outcomes
    assert load.failed() == []
    assert stack.status()["haproxy"]["reloads"] == 0
    # The next test finds two again.
    assert stack.sluice("scale", MODEL, "auto").code == 0
