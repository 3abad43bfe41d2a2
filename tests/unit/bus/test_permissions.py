"""Who may do what, read off the table; the integration test asks a real server the same."""

from __future__ import annotations

import pytest

from libs.bus.permissions import (
    ADMIN,
    AUTOSCALER,
    CLI,
    NATS_WATCH,
    PERMISSIONS,
    REPLICA,
    ROUTER_CONFIG,
    USERS,
    UserPermissions,
)
from libs.bus.subject_match import subject_matches

BY_USER = {entry.user: entry for entry in PERMISSIONS}
SERVICES = [user for user in USERS if user != ADMIN]


@pytest.mark.parametrize(
    ("subject", "writers"),
    [
        ("$KV.replicas.m.r1", {REPLICA}),
        ("$KV.models.m", {CLI}),
        ("$KV.tenants.t", {CLI}),
        ("$KV.targets.manual.m", {CLI}),
        ("$KV.targets.decided.m", {AUTOSCALER}),
        ("$KV.targets.failing.m", {AUTOSCALER}),
        ("$KV.targets.trouble", {AUTOSCALER}),
        ("$KV.leaders.autoscaler", {AUTOSCALER}),
        ("$KV.routing.edge", {ROUTER_CONFIG}),
        ("load.m.r1", {REPLICA}),
        ("demand.m.edge", {ROUTER_CONFIG}),
        ("fact.replica_joined.m", {REPLICA}),
        ("fact.routing_applied.-", {ROUTER_CONFIG}),
        ("fact.scale_decided.m", {AUTOSCALER}),
        ("fact.probe.-", {NATS_WATCH}),
    ],
)
def test_every_subject_has_exactly_its_writers(subject: str, writers: set[str]) -> None:
    """Beside `admin`, each thing is written by the one service that owns it."""
    found = {user for user in SERVICES if may_publish(BY_USER[user], subject)}

    assert found == writers


@pytest.mark.parametrize("user", SERVICES)
def test_nobody_hears_the_answers_to_others(user: str) -> None:
    """Inboxes are private."""
    strangers = [other for other in SERVICES if other != user]

    assert not any(
        subject_matches(pattern, f"_INBOX_{other}.x.y")
        for pattern in BY_USER[user].subscribe
        for other in strangers
    )


@pytest.mark.parametrize("user", SERVICES)
def test_nobody_but_admin_changes_streams(user: str) -> None:
    """Buckets are made, changed, purged and removed by `admin` alone."""
    verbs = ("CREATE", "UPDATE", "DELETE", "PURGE", "MSG.DELETE")

    assert not any(may_publish(BY_USER[user], f"$JS.API.STREAM.{verb}.KV_models") for verb in verbs)


def test_a_replica_cannot_make_consumers() -> None:
    """A consumer's owner chooses the subject of delivery, which could be another's bucket."""
    assert not any("CONSUMER" in pattern for pattern in BY_USER[REPLICA].publish)


def may_publish(entry: UserPermissions, subject: str) -> bool:
    """Tell whether a user may publish to a subject."""
    return any(subject_matches(pattern, subject) for pattern in entry.publish)
