"""Which part of a stack a process is, by its command line (pure).

Ray and vLLM write what a process is into its title; the other programs are known by their name.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import PurePath
from typing import Final

from libs.engine.rust_front_end import PROGRAM as RUST_FRONT_END


class Role(StrEnum):
    """What a process does for a request."""

    FRONT_END = "front_end"
    HAPROXY = "haproxy"
    ROUTER = "router"
    PROXY = "proxy"
    CONTROL_PLANE = "control_plane"
    ENGINE_CORE = "engine_core"
    WORKER = "worker"


OUTSIDE_ENGINE: Final = "outside_engine"
"""The sum of all roles but the engine core and the worker: what orchestration costs."""

_INSIDE_ENGINE: Final = (Role.ENGINE_CORE, Role.WORKER)

_REPLICA: Final = "ray::ServeReplica:"
_ROUTING_DEPLOYMENTS: Final = ("LLMRouter", "OpenAiIngress")
"""Ray Serve LLM's own parts that choose a replica; the older one relays every token as well."""

_TITLES: Final = (
    ("VLLM::EngineCore", Role.ENGINE_CORE),
    ("VLLM::Worker", Role.WORKER),
    ("ray::RayWorkerProc", Role.WORKER),
    ("ray::ProxyActor", Role.PROXY),
    ("VLLM::APIServer", Role.FRONT_END),
)
_PROGRAMS: Final = {"haproxy": Role.HAPROXY, RUST_FRONT_END: Role.FRONT_END}
_API_SERVER: Final = "vllm.entrypoints.openai.api_server"


def role_of(command: str) -> Role:
    """Return the role of a process; what is not on a request's path is the control plane."""
    for title, role in _TITLES:
        if command.startswith(title):
            return role
    if command.startswith(_REPLICA):
        return _replica_role(command.removeprefix(_REPLICA))
    words = command.split()
    program = PurePath(words[0]).name if words else ""
    if program in _PROGRAMS:
        return _PROGRAMS[program]
    return Role.FRONT_END if _API_SERVER in words else Role.CONTROL_PLANE


def outside_engine(by_role: dict[Role, float]) -> float:
    """Return the sum over everything but the engine core and the worker."""
    return sum(value for role, value in by_role.items() if role not in _INSIDE_ENGINE)


def _replica_role(deployment: str) -> Role:
    is_routing = any(name in deployment for name in _ROUTING_DEPLOYMENTS)
    return Role.ROUTER if is_routing else Role.FRONT_END
