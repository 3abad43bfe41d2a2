"""Everything beside the byte path is dead for a minute: no stream notices, and all comes back."""

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

from libs.testing.local_stack import LocalStack, wait_until
from libs.testing.stack_inside import Part, StackInside
from libs.testing.steady_load import steady_load, stream_once

MODEL = "simulated"
PARTS = (Part.NATS, Part.ROUTER_CONFIG, Part.AUTOSCALER, Part.GCS)
DEAD_S = 60.0
BACK_S = 30.0
"""Four programs start at the same time on two cores; each alone is back within 10 s."""

SPANNING_TOKENS = 1700
"""At 0.05 s a step this stream begins before the first kill and ends after the return."""

START_TIMEOUT_S = 180.0


def kill_all_and_wait(inside: StackInside) -> None:
    """Kill one part after the other; the last of them stays dead for the whole time."""
    for part in PARTS:
        pid = inside.pid_of(part)
        assert pid is not None, f"{part} does not run"
        os.kill(pid, signal.SIGKILL)
        time.sleep(0.5)
    dead_since = time.monotonic()
    while time.monotonic() - dead_since < DEAD_S:
        assert [part for part in PARTS if inside.pid_of(part) is not None] == []
        time.sleep(2)


def test_a_minute_without_nats_router_config_autoscaler_and_gcs_costs_no_stream(
    stack: LocalStack, inside: StackInside
) -> None:
    """Short streams and streams that span it all arrive whole; then a scale by hand works."""
    before = inside.until_whole(within_s=BACK_S, what="a whole stack")

    with (
        steady_load(stack.api_url, model=MODEL, clients=4) as load,
        ThreadPoolExecutor(max_workers=2) as pool,
    ):
        spanning = [
            pool.submit(stream_once, stack.api_url, model=MODEL, max_tokens=SPANNING_TOKENS)
            for _ in range(2)
        ]
        wait_until(lambda: len(load.outcomes) > 8, timeout_s=30, what="some answers")
        with inside.nobody_restarts_anything():
            kill_all_and_wait(inside)
            served_meanwhile = len(load.outcomes)
            returned_at = time.time()
        after = inside.until_whole(since=returned_at, within_s=BACK_S, what="all of them back")
        wait_until(
            lambda: inside.pid_of(Part.GCS) is not None, timeout_s=BACK_S, what="the GCS back"
        )
        done = stack.sluice("scale", MODEL, "3")
        inside.until_whole(
            since=returned_at, replicas=3, within_s=START_TIMEOUT_S, what="a third replica"
        )
        whole = [each.result().whole for each in spanning]

    assert done.code == 0, done.err
    assert served_meanwhile > 100
    assert load.failed() == []
    assert whole == [True, True]
    assert after.leases == before.leases
    assert before.routing is not None
    assert after.routing is not None
    assert after.routing.haproxy_pid == before.routing.haproxy_pid
    assert after.routing.reloads == 0


def test_after_that_the_status_is_whole(stack: LocalStack, inside: StackInside) -> None:
    """Every process runs, nothing is degraded, and back under the autoscaler it has two."""
    began_at = time.time()
    stack.sluice("scale", MODEL, "auto")
    inside.until_whole(since=began_at, within_s=90, what="two replicas again")

    status = stack.status()

    assert status["routing"]["degraded"] == ""
    assert {each["state"] for each in status["processes"]} == {"RUNNING"}
    assert [(each["target"], each["ready"]) for each in status["models"]] == [(2, 2)]
