"""Ray Serve's REST bodies to and from the domain's words. Pure.

Source: Ray 2.60, ray/serve/schema.py (ServeDeploySchema, ServeInstanceDetails) and
ray/dashboard/modules/serve/serve_head.py.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, replace
from typing import Final

from pydantic import BaseModel, Field, ValidationError

from libs.bus.codec import decode_record, encode
from libs.contracts.model_spec import AdapterSpec, ModelSpec, start_part
from libs.errors import TerminalError
from services.autoscaler.adapters.ray_serve.explanations import explain
from services.autoscaler.domain.applications import (
    DEPLOY_FAILED,
    Application,
    ObservedApplication,
)

DEPLOYMENT: Final = "replica"
"""The one deployment of every application."""

SPEC_ARGUMENT: Final = "model_spec"
"""The argument of the application's builder that carries the spec as JSON text."""

ALIASES: Final = "aliases"
ADAPTERS: Final = "adapters"
ATTEMPT: Final = "attempt"
"""The keys of the deployment's user configuration.

Serve hands a changed user configuration to running replicas, and restarts them for changed
arguments: so aliases and adapters travel in the one and everything else of the spec in the other.
A changed configuration of any kind also makes Serve try again what it had given up; replicas do
not look at the number of the attempt.
"""


def render_config(applications: Iterable[Application]) -> bytes:
    """Render the body of `PUT /api/serve/applications/`.

    Serve's own proxies stay off: clients reach replicas through HAProxy.
    """
    return json.dumps(
        {
            "proxy_location": "Disabled",
            "http_options": {"host": "127.0.0.1"},
            "applications": [_application(app) for app in applications],
        }
    ).encode()


def render_scale(target: int) -> bytes:
    """Render the body of a scale call."""
    return json.dumps({"target_num_replicas": target}).encode()


def scale_path(application: str) -> str:
    """Build the path of an application's scale call."""
    return f"/api/v1/applications/{application}/deployments/{DEPLOYMENT}/scale"


def parse_details(body: bytes) -> tuple[ObservedApplication, ...] | None:
    """Parse the answer of `GET /api/serve/applications/`; None when it knows of no controller.

    Raises:
        TerminalError: it is not what Serve of this version answers.
    """
    try:
        details = _Details.model_validate_json(body)
    except ValidationError as exc:
        why = exc.errors()[0]
        raise TerminalError("Ray Serve answered in an unknown form.", why=str(why["msg"])) from exc
    if not details.controller_info:
        return None
    return tuple(_observed(name, app) for name, app in sorted(details.applications.items()))


class _Deployment(BaseModel):
    target_num_replicas: int
    status: str = ""
    message: str = ""


class _UserConfig(BaseModel):
    aliases: tuple[str, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    attempt: int = 0


class _DeploymentConfig(BaseModel):
    user_config: _UserConfig | None = None


class _Config(BaseModel):
    import_path: str
    args: dict[str, object] = Field(default_factory=dict)
    deployments: list[_DeploymentConfig] = Field(default_factory=list)


class _Application(BaseModel):
    status: str
    message: str = ""
    external_scaler_enabled: bool = False
    deployed_app_config: _Config | None = None
    deployments: dict[str, _Deployment] = Field(default_factory=dict)


class _Details(BaseModel):
    controller_info: dict[str, object] = Field(default_factory=dict)
    applications: dict[str, _Application]


def _application(app: Application) -> dict[str, object]:
    deployment = {
        "name": DEPLOYMENT,
        "num_replicas": app.target,
        "user_config": {
            ALIASES: list(app.spec.aliases),
            ADAPTERS: [asdict(adapter) for adapter in app.spec.adapters],
            **({ATTEMPT: app.attempt} if app.attempt else {}),
        },
    }
    return {
        "name": app.name,
        "route_prefix": None,
        "import_path": app.import_path,
        "args": {SPEC_ARGUMENT: encode(start_part(app.spec)).decode()},
        "external_scaler_enabled": True,
        "deployments": [deployment],
    }


def _observed(name: str, app: _Application) -> ObservedApplication:
    config, deployment = app.deployed_app_config, app.deployments.get(DEPLOYMENT)
    return ObservedApplication(
        name=name,
        import_path=config.import_path if config else None,
        spec=_spec(config) if config else None,
        scaled_from_outside=app.external_scaler_enabled,
        target=deployment.target_num_replicas if deployment else None,
        status=app.status,
        message=app.message,
        trouble=_trouble(app, deployment),
        attempt=_user_config(config).attempt if config else 0,
    )


def _trouble(app: _Application, deployment: _Deployment | None) -> str:
    """Return what went wrong: a deployment says why, an application without one as well."""
    if deployment is not None and deployment.message:
        return explain(deployment.message, failed=deployment.status == DEPLOY_FAILED)
    return explain(app.message, failed=app.status == DEPLOY_FAILED)


def _spec(config: _Config) -> ModelSpec | None:
    text = config.args.get(SPEC_ARGUMENT)
    if not isinstance(text, str):
        return None
    try:
        record = decode_record(text.encode())
    except TerminalError:
        return None
    return _with_user_config(record, config) if isinstance(record, ModelSpec) else None


def _with_user_config(spec: ModelSpec, config: _Config) -> ModelSpec | None:
    """Return the whole spec; None when the two halves do not fit together."""
    user_config = _user_config(config)
    try:
        return replace(spec, aliases=user_config.aliases, adapters=user_config.adapters)
    except ValueError:
        return None


def _user_config(config: _Config) -> _UserConfig:
    found = [each.user_config for each in config.deployments if each.user_config]
    return found[0] if found else _UserConfig()
