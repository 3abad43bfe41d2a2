"""Ray Serve's REST API in memory: takes the same requests and keeps the same promises.

What it knows was seen on Ray 2.60: a configuration replaces the whole set of applications and
needs at least one replica for each; a number in it counts where it differs from the number in the
configuration before, so that one which scale calls set since then may stay. Scale calls take any
number from 0 and are refused where the application does not exist or does not allow them.

An application whose spec has the source `BROKEN` fails: a look finds it starting, the next ones
find it given up, until something of its configuration changes. Every configuration makes every
application look as if it were being deployed, for one look.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Final

import httpx

BROKEN: Final = "broken"
"""The source of a model that never starts."""

RUNNING: Final = "RUNNING"
DEPLOYING: Final = "DEPLOYING"
DEPLOY_FAILED: Final = "DEPLOY_FAILED"

_STARTS: Final = 3
_FAILED: Final = f"""\
The deployment failed to start {_STARTS} times in a row. This may be due to a problem with its \
constructor or initial health check failing. See controller logs for details. Error:
Traceback (most recent call last):
  File "x.py", line 1, in __init__
services.replica.serve_app.ReplicaFailedError: no such file
"""


@dataclass(slots=True)
class FakeApplication:
    """One application.

    Attributes:
        starts: how often its replicas were started anew.
        taken_in: Serve has just got a configuration.
    """

    config: dict[str, object]
    target: int
    starts: int = 1
    status: str = RUNNING
    message: str = ""
    taken_in: bool = False

    def is_broken(self) -> bool:
        """Tell whether its replicas cannot start."""
        return f'"source":"{BROKEN}"' in str(self.config["args"])

    def begin(self) -> None:
        """Start replicas that cannot start."""
        if self.is_broken():
            self.status, self.message = DEPLOYING, ""

    def go_on(self) -> None:
        """Do what happens between two looks."""
        self.taken_in = False
        if self.status == DEPLOYING and self.target:
            self.status, self.message = DEPLOY_FAILED, _FAILED
            self.starts += _STARTS


@dataclass(slots=True)
class FakeServe:
    """The dashboard and Serve behind it.

    Attributes:
        started: Serve runs; the first configuration starts it.
        token: what requests must carry; None lets everybody in.
        reachable: False lets every request fail as a dead process does.
        refusing: a status with which every change is refused; None takes changes.
        building: True keeps new applications without deployments, as while Serve builds them.
        changes: requests that changed something or tried to.
    """

    started: bool = False
    token: str | None = None
    reachable: bool = True
    refusing: int | None = None
    building: bool = False
    applications: dict[str, FakeApplication] = field(default_factory=dict)
    changes: list[str] = field(default_factory=list)

    def client(self) -> httpx.AsyncClient:
        """Return an HTTP client that talks to this fake."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        transport = httpx.MockTransport(self._answer)
        return httpx.AsyncClient(transport=transport, base_url="http://ray", headers=headers)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        if not self.reachable:
            raise httpx.ConnectError("connection refused", request=request)
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return httpx.Response(401, text="Unauthorized: Missing authentication token")
        if request.method == "GET":
            return httpx.Response(200, json=self._details())
        self.changes.append(f"{request.method} {request.url.path}")
        if self.refusing is not None:
            return httpx.Response(self.refusing, text="Internal Server Error")
        body = json.loads(request.content)
        return self._put(body) if request.method == "PUT" else self._scale(request.url.path, body)

    def _details(self) -> dict[str, object]:
        shown = {name: self._show(app) for name, app in self.applications.items()}
        for app in self.applications.values():
            app.go_on()
        controller = {"actor_name": "SERVE_CONTROLLER_ACTOR"} if self.started else {}
        return {"controller_info": controller, "applications": shown if self.started else {}}

    def _show(self, app: FakeApplication) -> dict[str, object]:
        deployment = {
            "name": "replica",
            "target_num_replicas": app.target,
            "status": app.status,
            "message": app.message,
        }
        deployments = {"replica": deployment}
        return {
            "status": DEPLOYING if self.building or app.taken_in else app.status,
            "message": "",
            "external_scaler_enabled": app.config["external_scaler_enabled"],
            "deployed_app_config": app.config,
            "deployments": {} if self.building else deployments,
        }

    def _put(self, body: dict[str, list[dict[str, object]]]) -> httpx.Response:
        numbers = {str(app["name"]): _replicas(app) for app in body["applications"]}
        if any(number < 1 for number in numbers.values()):
            return httpx.Response(400, text="num_replicas: Input should be greater than 0")
        self.started = True
        configs = {str(app["name"]): app for app in body["applications"]}
        self.applications = {
            name: self._deployed(name, config, numbers[name]) for name, config in configs.items()
        }
        for app in self.applications.values():
            app.taken_in = True
        return httpx.Response(200)

    def _deployed(self, name: str, config: dict[str, object], target: int) -> FakeApplication:
        before = self.applications.get(name)
        if before is None:
            app = FakeApplication(config=config, target=target)
            app.begin()
            return app
        if before.config == config:
            return before
        same = all(before.config[key] == config[key] for key in ("import_path", "args"))
        keeps = same and _replicas(before.config) == target
        app = FakeApplication(
            config=config,
            target=before.target if keeps else target,
            starts=before.starts + (0 if same else 1),
        )
        app.begin()
        return app

    def _scale(self, path: str, body: dict[str, int]) -> httpx.Response:
        name = path.split("/")[4]
        app = self.applications.get(name)
        if app is None or self.building:
            return httpx.Response(404, json={"error": "Application or Deployment not found"})
        if not app.config["external_scaler_enabled"]:
            return httpx.Response(412, json={"error": "external_scaler_enabled=false"})
        app.target = body["target_num_replicas"]
        return httpx.Response(200)


def _replicas(app: dict[str, object]) -> int:
    match app["deployments"]:
        case [{"num_replicas": int(number)}]:
            return number
        case _:
            return 1
