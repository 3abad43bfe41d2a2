"""Who may say and hear what: one NATS user per service, with the least subjects it needs.

Two kinds of reading differ in what they cost in trust. `get` is one request about one key.
`view` makes a consumer, and whoever may make a consumer chooses the subject to which the server
delivers: such a user could have a bucket's values delivered into another bucket. So only services
that must follow a bucket may, and replicas, which run models' code, may not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from libs.contracts.subjects import (
    DEMAND_SUBJECTS,
    FACTS_PROBE,
    FACTS_STREAM,
    LEADERS_BUCKET,
    LOAD_SUBJECTS,
    MODELS_BUCKET,
    PROBE_KEY,
    REPLICAS_BUCKET,
    ROUTING_BUCKET,
    TARGETS_BUCKET,
    TENANTS_BUCKET,
    TROUBLE_KEY,
    bucket_stream,
    bucket_subject,
)

ADMIN: Final = "admin"
ROUTER_CONFIG: Final = "router-config"
REPLICA: Final = "replica"
AUTOSCALER: Final = "autoscaler"
CLI: Final = "cli"
NATS_WATCH: Final = "nats-watch"


@dataclass(frozen=True, slots=True, kw_only=True)
class UserPermissions:
    """One user's subjects."""

    user: str
    publish: tuple[str, ...]
    subscribe: tuple[str, ...]


def _inbox(user: str) -> str:
    return f"_INBOX_{user}.>"


def _get(bucket: str) -> tuple[str, ...]:
    return (f"$JS.API.DIRECT.GET.{bucket_stream(bucket)}.{bucket_subject(bucket, '>')}",)


def _view(bucket: str) -> tuple[str, ...]:
    return (*_get(bucket), f"$JS.API.CONSUMER.CREATE.{bucket_stream(bucket)}")


def _put(bucket: str, keys: str = ">") -> tuple[str, ...]:
    return (bucket_subject(bucket, keys),)


def _facts(*kinds: str) -> tuple[str, ...]:
    return tuple(f"fact.{kind}.*" for kind in kinds)


PERMISSIONS: Final = (
    UserPermissions(user=ADMIN, publish=(">",), subscribe=(">",)),
    UserPermissions(
        user=ROUTER_CONFIG,
        publish=(
            *_view(REPLICAS_BUCKET),
            *_view(MODELS_BUCKET),
            *_view(TENANTS_BUCKET),
            *_view(TARGETS_BUCKET),
            *_get(ROUTING_BUCKET),
            *_put(ROUTING_BUCKET),
            *_facts("routing_applied"),
            DEMAND_SUBJECTS,
        ),
        subscribe=(_inbox(ROUTER_CONFIG), LOAD_SUBJECTS),
    ),
    UserPermissions(
        user=REPLICA,
        publish=(
            *_get(REPLICAS_BUCKET),
            *_put(REPLICAS_BUCKET),
            *_facts("replica_joined", "replica_left", "replica_failed"),
            LOAD_SUBJECTS,
        ),
        subscribe=(_inbox(REPLICA),),
    ),
    UserPermissions(
        user=AUTOSCALER,
        publish=(
            *_view(MODELS_BUCKET),
            *_view(TARGETS_BUCKET),
            *_view(REPLICAS_BUCKET),
            *_get(LEADERS_BUCKET),
            *_put(LEADERS_BUCKET, "autoscaler"),
            *_put(TARGETS_BUCKET, "decided.*"),
            *_put(TARGETS_BUCKET, "failing.*"),
            *_put(TARGETS_BUCKET, TROUBLE_KEY),
            *_facts("scale_decided", "scale_done"),
        ),
        subscribe=(_inbox(AUTOSCALER), LOAD_SUBJECTS, DEMAND_SUBJECTS),
    ),
    UserPermissions(
        user=CLI,
        publish=(
            *_view(MODELS_BUCKET),
            *_view(TENANTS_BUCKET),
            *_view(TARGETS_BUCKET),
            *_view(REPLICAS_BUCKET),
            *_view(ROUTING_BUCKET),
            *_view(LEADERS_BUCKET),
            *_put(MODELS_BUCKET),
            *_put(TENANTS_BUCKET),
            *_put(TARGETS_BUCKET, "manual.*"),
            f"$JS.API.CONSUMER.CREATE.{FACTS_STREAM}",
        ),
        subscribe=(_inbox(CLI), LOAD_SUBJECTS, DEMAND_SUBJECTS),
    ),
    UserPermissions(
        user=NATS_WATCH,
        publish=(
            *_put(MODELS_BUCKET, PROBE_KEY),
            *_put(TENANTS_BUCKET, PROBE_KEY),
            *_put(TARGETS_BUCKET, PROBE_KEY),
            *_put(REPLICAS_BUCKET, PROBE_KEY),
            *_put(LEADERS_BUCKET, PROBE_KEY),
            *_put(ROUTING_BUCKET, PROBE_KEY),
            FACTS_PROBE,
        ),
        subscribe=(_inbox(NATS_WATCH),),
    ),
)
"""Every user of the bus. `nats.conf` is rendered from this."""

USERS: Final = tuple(permissions.user for permissions in PERMISSIONS)
