"""From models and targets to Ray Serve: what has to change, as a list of actions.

One Serve application per model, named like the model, with one deployment `replica`. Serve takes
its applications as one whole configuration: what is not in it is removed. So every change of the
set, or of what a replica is started with, is one `DeployApplications` with all of them, and a
change of a number alone is one `ScaleApplication`.

Serve's configuration cannot say "no replicas", its scale call can. An application whose target is
0 is therefore left out of every configuration, and made when its target rises. One that Serve has
given up leaves at once, since Serve would not start it again for a number alone.

Invariants: planning on the applied plan gives nothing; order does not matter; a model that cannot
be read keeps its application; scaling bounds and routing never restart a replica.
Source: Ray 2.60, ray/serve/schema.py (ServeApplicationSchema, DeploymentSchema).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ModelSpec, RoutingSpec, ScalingSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Application:
    """One application as it should be.

    Attributes:
        spec: what its replicas are started with; see `serving_part`.
        target: how many replicas.
        attempt: changed, it has Serve try again what it had given up, and nothing else.
    """

    name: ModelName
    import_path: str
    spec: ModelSpec
    target: int
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ObservedApplication:
    """One application as Serve reports it.

    Attributes:
        import_path: None while Serve has no configuration of it, as while it is deleted.
        spec: what its replicas are started with; None when it cannot be read.
        scaled_from_outside: whether Serve accepts scale calls for it.
        target: how many replicas Serve works towards; None before the deployment exists.
        status: Serve's own word, such as `RUNNING` or `DEPLOY_FAILED`.
        message: Serve's explanation of the status.
        trouble: what went wrong, in one line as far as Serve tells; empty when nothing did.
        attempt: as in `Application`.
    """

    name: str
    import_path: str | None
    spec: ModelSpec | None
    scaled_from_outside: bool
    target: int | None
    status: str
    message: str = ""
    trouble: str = ""
    attempt: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeployApplications:
    """Replace Serve's whole configuration; `changed` are the names that made it necessary."""

    applications: tuple[Application, ...]
    changed: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaleApplication:
    """Change the number of replicas of one application."""

    name: ModelName
    target: int


Action = DeployApplications | ScaleApplication

DELETING: Final = "DELETING"
DEPLOY_FAILED: Final = "DEPLOY_FAILED"
"""Serve's words for an application that is on its way out, and for one that it has given up."""


def serving_part(spec: ModelSpec) -> ModelSpec:
    """Return the part of a spec that a replica is started with.

    Scaling and routing happen outside of replicas, so that changing them restarts none.
    """
    return replace(spec, scaling=ScalingSpec(), routing=RoutingSpec())


def plan(
    desired: Iterable[Application],
    observed: Iterable[ObservedApplication],
    *,
    unreadable: frozenset[str] = frozenset(),
) -> list[Action]:
    """Return what turns the observed applications into the desired ones, `[]` when equal.

    `unreadable` names models whose declaration cannot be decoded: their applications stay.
    """
    wanted = {app.name: app for app in desired}
    present = {app.name: app for app in observed}
    kept = [app for name, app in sorted(present.items()) if name in unreadable - wanted.keys()]
    changed = _changed(wanted, present) | _surplus(wanted, present, unreadable)
    if not changed:
        return _scaled(wanted, present)
    if any(app.spec is None or app.import_path is None for app in kept):
        # A whole configuration without an application that must stay cannot be written.
        return _scaled(wanted, present)
    applications = [app for app in wanted.values() if app.target > 0] + _as_they_are(kept)
    return [
        DeployApplications(
            applications=tuple(sorted(applications, key=lambda app: app.name)),
            changed=tuple(sorted(changed)),
        )
    ]


def _changed(
    wanted: dict[ModelName, Application], present: dict[str, ObservedApplication]
) -> set[str]:
    return {str(name) for name, app in wanted.items() if _differs(app, present.get(name))}


def _differs(app: Application, found: ObservedApplication | None) -> bool:
    if found is None or found.status == DELETING:
        return app.target > 0
    if app.target == 0 and found.status == DEPLOY_FAILED:
        return True
    same_attempt = app.target == 0 or found.attempt == app.attempt
    return not (starts_alike(app, found) and found.scaled_from_outside and same_attempt)


def starts_alike(app: Application, found: ObservedApplication) -> bool:
    """Tell whether Serve starts the application's replicas with what they should be started."""
    return found.import_path == app.import_path and found.spec == app.spec


def _surplus(
    wanted: dict[ModelName, Application],
    present: dict[str, ObservedApplication],
    unreadable: frozenset[str],
) -> set[str]:
    return {
        name
        for name, app in present.items()
        if name not in wanted and name not in unreadable and app.status != DELETING
    }


def _scaled(
    wanted: dict[ModelName, Application], present: dict[str, ObservedApplication]
) -> list[Action]:
    return [
        ScaleApplication(name=name, target=app.target)
        for name, app in sorted(wanted.items())
        if _present_target(present.get(name)) not in (None, app.target)
    ]


def _present_target(found: ObservedApplication | None) -> int | None:
    if found is None or found.status == DELETING or not found.scaled_from_outside:
        return None
    return found.target


def _as_they_are(kept: Sequence[ObservedApplication]) -> list[Application]:
    return [
        Application(
            name=app.spec.name,
            import_path=app.import_path,
            spec=app.spec,
            target=1 if app.target is None else app.target,
            attempt=app.attempt,
        )
        for app in kept
        if app.spec is not None and app.import_path is not None and app.target != 0
    ]
