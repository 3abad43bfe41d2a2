"""What differs from how it was left although nobody wanted another state.

Theory: after a reconcile whose steps were all done, the edge is what was wanted then. What a plan
towards *that* state finds at the next look, the edge did by itself or somebody did by hand.
A change of what is wanted is no drift, nor is a step that was not done yet, nor a server that is
on its way out.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import assert_never

from services.router_config.domain.model import Desired, Observed, ServerKey
from services.router_config.domain.plan import (
    Action,
    Adjust,
    Admit,
    Block,
    Drain,
    Join,
    Publish,
    Resume,
    Retire,
    Weigh,
    plan,
)


class DriftKind(StrEnum):
    """What drifted: a server, or the maps of routes, of tenants or of models that fail."""

    SERVER = "server"
    ROUTES = "routes"
    TENANTS = "tenants"
    FAILING = "failing"


Subject = ServerKey | DriftKind
"""What an action is about: one server, or one kind of map."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Left:
    """How a reconcile left the edge.

    Attributes:
        desired: what was wanted.
        unsettled: what it could not bring there, and servers that were on their way out.
    """

    desired: Desired
    unsettled: frozenset[Subject] = field(default_factory=frozenset)


def leave(
    desired: Desired,
    outcomes: Iterable[tuple[Action, bool]],
    *,
    leaving: Collection[ServerKey],
) -> Left:
    """Describe how a reconcile leaves the edge; each action comes with whether it was done."""
    undone = {_subject(action) for action, done in outcomes if not done}
    return Left(desired=desired, unsettled=frozenset({*undone, *leaving}))


def drift(
    left: Left | None, observed: Observed, *, desired: Desired, actions: Iterable[Action]
) -> dict[DriftKind, int]:
    """Count what is not as it was left, by kind; empty when nothing is, and before the first look.

    `actions` are the plan from `observed` to `desired`: they serve for both where nothing else is
    wanted than before, which is nearly always.
    """
    if left is None:
        return {}
    if desired != left.desired:
        steps = plan(left.desired, observed, leaving_since={}, now=0.0, drain_timeout_s=1.0)
        actions = steps.actions
    counts: dict[DriftKind, int] = {}
    for subject in {_subject(action) for action in actions} - left.unsettled:
        kind = DriftKind.SERVER if isinstance(subject, ServerKey) else subject
        counts[kind] = counts.get(kind, 0) + 1
    return counts


def _subject(action: Action) -> Subject:
    match action:
        case Join(server=server) | Adjust(server=server):
            return server.key
        case Resume(key=key) | Weigh(key=key) | Drain(key=key) | Retire(key=key):
            return key
        case Publish():
            return DriftKind.ROUTES
        case Admit():
            return DriftKind.TENANTS
        case Block():
            return DriftKind.FAILING
        case _:
            assert_never(action)
