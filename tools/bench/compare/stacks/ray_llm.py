"""Ray Serve LLM as its users deploy it: a Ray node, and a Serve configuration sent to it."""

from __future__ import annotations

import secrets
import subprocess
from collections.abc import Mapping
from typing import Final

import httpx

from tools.bench.compare.stacks.launch import (
    Patience,
    StackFailedError,
    end,
    environment,
    launch,
    one_token,
)
from tools.bench.compare.stacks.port import Setup
from tools.bench.compare.stacks.ray_config import (
    APPLICATION,
    RayPorts,
    node_command,
    node_environment,
    serve_config,
)
from tools.cli.stack.ports import free_ports

_HTTP_S: Final = 30.0
_PATH: Final = "/api/serve/applications/"
_FAILED: Final = "DEPLOY_FAILED"


class RayLlmStack:
    """Ray Serve LLM on a Ray node of its own."""

    def __init__(self, setup: Setup, *, switches: Mapping[str, str]) -> None:
        """Choose ports; `switches` are the environment variables that select Ray's path."""
        self._setup = setup
        self._switches = switches
        self._stack_id = secrets.token_hex(8)
        self._token = secrets.token_hex(32)
        api, ray, dashboard, client, agent, metrics, stats = free_ports(7)
        self._ports = RayPorts(
            api=api,
            ray=ray,
            dashboard=dashboard,
            client=client,
            agent=agent,
            haproxy_metrics=metrics,
            haproxy_stats=stats,
        )
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where clients send requests."""
        return f"http://127.0.0.1:{self._ports.api}"

    @property
    def stack_id(self) -> str:
        """The mark in the environment of each of its processes."""
        return self._stack_id

    def start(self) -> None:
        """Start the node, deploy, and wait until every replica is running."""
        setup, spec = self._setup, self._setup.spec
        env = self._environment()
        command = node_command(self._ports, setup.folder)
        self._started.append(launch(command, env=env, folder=setup.root, log_file=setup.log_file))
        patience = Patience(setup, self._started)
        patience.until("Ray", lambda: self._call("GET").is_success)
        config = serve_config(spec, model=setup.model, port=self._ports.api)
        # On a busy machine Serve may give up on its own proxy; it can be asked again.
        patience.until("Ray Serve", lambda: self._call("PUT", config).is_success)
        patience.until("Ray Serve LLM", self._is_running)
        patience.until("its first token", lambda: one_token(self.url, spec.name))

    def stop(self) -> None:
        """End the node with everything on it."""
        end(self._started, self._stack_id, folder=self._setup.folder)

    def _environment(self) -> dict[str, str]:
        setup = self._setup
        token_file = setup.folder / "token"
        token_file.touch(mode=0o600)
        token_file.write_text(self._token)
        (setup.folder / "h").mkdir()
        return {
            **environment(setup, self._stack_id, packages=[setup.peer_packages]),
            **node_environment(self._ports, setup.folder, token_file),
            **self._switches,
        }

    def _is_running(self) -> bool:
        application = self._call("GET").json().get("applications", {}).get(APPLICATION, {})
        if application.get("status") == _FAILED:
            raise StackFailedError(f"Ray Serve LLM failed: {application.get('message')}")
        return bool(application.get("status") == "RUNNING")

    def _call(self, method: str, config: Mapping[str, object] | None = None) -> httpx.Response:
        """Ask Ray's dashboard about Serve; one that does not answer counts as unavailable."""
        url = f"http://127.0.0.1:{self._ports.dashboard}{_PATH}"
        headers = {"Authorization": f"Bearer {self._token}"}
        with httpx.Client(headers=headers, timeout=_HTTP_S, trust_env=False) as client:
            try:
                return client.request(method, url, json=config)
            except httpx.TransportError:
                return httpx.Response(httpx.codes.SERVICE_UNAVAILABLE, json={})
