"""`kill -9` of any one part: the others go on, it comes back, and the state is right again."""

import os
import signal

import httpx
import pytest

from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.steady_load import steady_load

BACK_S = 10.0
LOAD_TIMEOUT_S = 240.0


def kill(pid: int) -> None:
    """End a process without giving it a chance."""
    os.kill(pid, signal.SIGKILL)


def routed(stack: LocalStack) -> bool:
    """Tell whether the edge answers and its state is that of a whole, live view."""
    try:
        httpx.get(f"{stack.api_url}/v1/models", timeout=2).raise_for_status()
    except httpx.HTTPError:
        return False
    done = stack.sluice("status", "--json")
    return done.code == 0 and '"degraded": ""' in done.out and len(stack.ready()) == 2


@pytest.mark.parametrize("name", ["router-config", "nats", "autoscaler"])
def test_a_killed_control_plane_process_costs_no_request(stack: LocalStack, name: str) -> None:
    """HAProxy and the replicas serve from what they know; supervisord brings the process back."""
    before, proxy = stack.pid_of(name), stack.status()["haproxy"]

    with steady_load(stack.api_url, model="smollm2") as load:
        kill(before)
        wait_until(lambda: routed(stack), timeout_s=BACK_S + 5, what=f"{name} to come back")

    assert stack.pid_of(name) not in {0, before}
    assert stack.status()["haproxy"] == proxy
    assert load.outcomes
    assert load.failed() == []


def test_a_killed_haproxy_is_back_with_the_same_servers(stack: LocalStack) -> None:
    """It starts from the state on disk; both replicas get requests again."""
    before = stack.status()["haproxy"]["pid"]

    assert before
    kill(before)
    took = wait_until(lambda: routed(stack), timeout_s=BACK_S + 5, what="HAProxy to come back")

    with steady_load(stack.api_url, model="smollm2", clients=4) as load:
        wait_until(lambda: len(load.served_by()) == 2, timeout_s=30, what="both replicas")
    assert took < BACK_S + 5
    assert stack.status()["haproxy"]["pid"] != before
    assert load.failed() == []


def test_a_killed_replica_fails_only_its_own_streams(stack: LocalStack) -> None:
    """Ray Serve starts another one; meanwhile every request to the other replica succeeds."""
    victim = stack.ready()[0]

    with steady_load(stack.api_url, model="smollm2", clients=3) as load:
        wait_until(lambda: victim["id"] in load.served_by(), timeout_s=30, what="a served request")
        kill(victim["pid"])
        wait_until(
            lambda: (
                len(stack.ready()) == 2
                and victim["id"] not in {each["id"] for each in stack.ready()}
            ),
            timeout_s=LOAD_TIMEOUT_S,
            what="another replica",
        )

    assert [each for each in load.failed() if each.replica != victim["id"]] == []
    assert len(load.failed()) <= 3


def test_scaling_down_under_load_costs_no_request(stack: LocalStack) -> None:
    """The leaving replica drains: it gets nothing new and finishes what it has."""
    reloads = stack.status()["haproxy"]["reloads"]

    with steady_load(stack.api_url, model="smollm2", clients=4, max_tokens=24) as load:
        stack.sluice("scale", "smollm2", "1")
        wait_until(lambda: len(stack.replicas()) == 1, timeout_s=90, what="one replica")

    assert load.outcomes
    assert load.failed() == []
    assert stack.status()["haproxy"]["reloads"] == reloads == 0
