"""What can go wrong, what it may cost, and how soon everything is right again (pure).

The failure table of docs/ARCHITECTURE.md is rendered from this catalogue by table.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Target(StrEnum):
    """A kind of process; the value is how a person reads it."""

    NATS = "NATS"
    ROUTER_CONFIG = "router-config"
    AUTOSCALER = "autoscaler"
    HAPROXY = "HAProxy"
    BODY_READER = "body reader"
    SUPERVISOR = "supervisord"
    RAY_NODE = "Ray node's program"
    GCS = "GCS"
    RAYLET = "raylet"
    DASHBOARD = "Ray's dashboard"
    AGENTS = "a Ray agent"
    SERVE_CONTROLLER = "Ray Serve's controller"
    SERVE_REPLICA = "a replica's actor"
    RUST_FRONT_END = "a Rust front end"
    ENGINE_CORE = "an engine core"
    WORKER = "an engine's worker"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """SIGKILL to one process."""

    target: Target


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """SIGSTOP to one process, SIGCONT after some seconds."""

    target: Target
    for_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FillDisk:
    """Fill the stack's file system to its last byte, and make room again after some seconds."""

    for_s: float


@dataclass(frozen=True, slots=True)
class LoseStore:
    """Kill NATS and delete its store; then declare models and tenants again."""


@dataclass(frozen=True, slots=True)
class DamageStore:
    """Kill NATS and overwrite parts of its store; then declare models and tenants again."""


@dataclass(frozen=True, slots=True)
class ReplaceCertificate:
    """Put another certificate in the place of the one that is served."""


@dataclass(frozen=True, slots=True)
class Scale:
    """Scale by hand to one replica more, and back."""


@dataclass(frozen=True, slots=True)
class Apply:
    """Declare another alias, and take it back."""


@dataclass(frozen=True, slots=True)
class Revoke:
    """Add a tenant and revoke it."""


Action = (
    Kill | Stop | FillDisk | LoseStore | DamageStore | ReplaceCertificate | Scale | Apply | Revoke
)


class Cost(StrEnum):
    """The most that clients may notice; the value is the table's wording."""

    NOTHING = "nothing"
    ONE_REPLICA = "streams of that replica end"
    ALL_REPLICAS = "all streams end; new requests wait"
    LARGE_BODIES = "requests above 46 KiB get 503"
    EVERYTHING = "open streams end; new connections are refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One fault.

    Attributes:
        name: for `--only`, reports and logs.
        bound_s: from the end of the fault until every part is right again.
        brings_back: who mends it, for the table.
        words: what happens, for the table; a process's kill or stop has its own.
        changes_replicas: replicas may come and go without a request failing.
        is_slow: takes a minute or more, so a short run leaves it out.
    """

    name: str
    action: Action
    cost: Cost
    bound_s: float
    brings_back: str
    words: str = ""
    changes_replicas: bool = False
    is_slow: bool = False


_SUPERVISOR_RESTARTS: Final = "supervisord"
_SERVE_REPLACES: Final = "Ray Serve starts another replica"
_NODE_RESTARTS: Final = "the node's program starts it again"
_GOES_ON: Final = "the process continues"

_BACK_S: Final = 10.0
"""For what `supervisord`, router-config or the Ray node's program starts again by itself."""

_QUICK_S: Final = 20.0
"""A Python process starts in 2 s where nothing else runs, and in 10 beside two engines' starts."""

_REPLICA_S: Final = 120.0
"""An engine starts in 20 s where nothing else runs."""

_NODE_S: Final = 240.0
"""Ray's node and two engines, on two cores."""

_STOPPED_S: Final = 5.0

_KILLED: Final = (
    (Target.NATS, Cost.NOTHING, _BACK_S, _SUPERVISOR_RESTARTS),
    (Target.ROUTER_CONFIG, Cost.NOTHING, _BACK_S, f"{_SUPERVISOR_RESTARTS}; it adopts HAProxy"),
    (Target.AUTOSCALER, Cost.NOTHING, _BACK_S, _SUPERVISOR_RESTARTS),
    (Target.HAPROXY, Cost.EVERYTHING, _BACK_S, "router-config, from the files on disk"),
    (Target.BODY_READER, Cost.LARGE_BODIES, _QUICK_S, _SUPERVISOR_RESTARTS),
    (Target.SUPERVISOR, Cost.NOTHING, 60.0, "`./sluice up`"),
    (Target.GCS, Cost.NOTHING, _BACK_S, _NODE_RESTARTS),
    (Target.DASHBOARD, Cost.NOTHING, 60.0, _NODE_RESTARTS),
    (Target.SERVE_CONTROLLER, Cost.NOTHING, 60.0, "Ray"),
    (Target.SERVE_REPLICA, Cost.ONE_REPLICA, _REPLICA_S, _SERVE_REPLACES),
    (Target.RUST_FRONT_END, Cost.ONE_REPLICA, _REPLICA_S, _SERVE_REPLACES),
    (Target.ENGINE_CORE, Cost.ONE_REPLICA, _REPLICA_S, _SERVE_REPLACES),
    (Target.WORKER, Cost.ONE_REPLICA, _REPLICA_S, _SERVE_REPLACES),
    (Target.AGENTS, Cost.ALL_REPLICAS, _NODE_S, "supervisord starts the node again"),
    (Target.RAYLET, Cost.ALL_REPLICAS, _NODE_S, "supervisord starts the node again"),
    (Target.RAY_NODE, Cost.ALL_REPLICAS, _NODE_S, "supervisord starts the node again"),
)

_SLOW: Final = {Target.RAYLET, Target.RAY_NODE, Target.AGENTS}


_DECLARED_AGAIN: Final = "`./sluice apply`, and the tenants added again"

_DONE: Final[tuple[tuple[str, Action, float, str, str], ...]] = (
    (
        "fill-disk",
        FillDisk(for_s=15.0),
        60.0,
        "the disk is full for 15 s",
        "the services, once there is room",
    ),
    ("lose-store", LoseStore(), _QUICK_S, "NATS's store is deleted", _DECLARED_AGAIN),
    ("damage-store", DamageStore(), _QUICK_S, "NATS's store is damaged", _DECLARED_AGAIN),
    (
        "replace-certificate",
        ReplaceCertificate(),
        _QUICK_S,
        "the certificate is replaced",
        "router-config hands it to HAProxy",
    ),
    ("apply", Apply(), _QUICK_S, "an alias is declared and taken back", "router-config"),
    ("revoke", Revoke(), _QUICK_S, "a tenant is added and revoked", "router-config"),
)

_HANGING: Final = (
    (Target.ENGINE_CORE, "an engine core hangs"),
    (Target.RUST_FRONT_END, "a Rust front end hangs"),
    (Target.SERVE_REPLICA, "a replica's actor hangs"),
)

_HANGS_S: Final = 120.0
"""Longer than a replica may be stuck (`stall_timeout_s` of the run's model, 30 s) and its end."""

_SCALE: Final = Fault(
    name="scale",
    action=Scale(),
    cost=Cost.NOTHING,
    bound_s=_REPLICA_S,
    brings_back="the autoscaler",
    words="a replica is added and taken away",
    changes_replicas=True,
    is_slow=True,
)


def catalogue() -> tuple[Fault, ...]:
    """Return every fault there is, kills first."""
    return (*_kills(), *_stops(), *_hangs(), *_others(), _SCALE)


def fault_named(name: str) -> Fault | None:
    """Return a fault by its name."""
    return next((each for each in catalogue() if each.name == name), None)


def slug(target: Target) -> str:
    """Return how a target is written in a fault's name."""
    words = target.value.lower().replace("'s ", " ").replace("-", " ").split()
    return "-".join(word for word in words if word not in {"a", "an"})


def _kills() -> list[Fault]:
    return [
        Fault(
            name=f"kill-{slug(target)}",
            action=Kill(target=target),
            cost=cost,
            bound_s=bound_s,
            brings_back=brings_back,
            is_slow=target in _SLOW,
        )
        for target, cost, bound_s, brings_back in _KILLED
    ]


def _stops() -> list[Fault]:
    """Any process may be stopped for some seconds at no cost."""
    return [
        Fault(
            name=f"stop-{slug(target)}",
            action=Stop(target=target, for_s=_STOPPED_S),
            cost=Cost.NOTHING,
            bound_s=_QUICK_S,
            brings_back=_GOES_ON,
        )
        for target in Target
    ]


def _hangs() -> list[Fault]:
    """A part of a replica that is stopped for longer than `stall_timeout_s` fails the replica."""
    return [
        Fault(
            name=f"hang-{slug(target)}",
            action=Stop(target=target, for_s=_HANGS_S),
            cost=Cost.ONE_REPLICA,
            bound_s=_REPLICA_S,
            brings_back="the replica fails by itself or by Serve's check; Serve starts another",
            words=words,
            is_slow=True,
        )
        for target, words in _HANGING
    ]


def _others() -> list[Fault]:
    return [
        Fault(
            name=name,
            action=action,
            cost=Cost.NOTHING,
            bound_s=bound_s,
            brings_back=brings_back,
            words=words,
        )
        for name, action, bound_s, words, brings_back in _DONE
    ]
