"""VLLM's own API servers behind a HAProxy whose configuration never changes."""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from typing import Final

from libs.engine.arguments import Executor, api_server_arguments
from libs.haproxy.binary import find_haproxy
from tools.bench.compare.stacks.haproxy_static import render_static
from tools.bench.compare.stacks.launch import (
    Patience,
    end,
    environment,
    healthy,
    launch,
    one_token,
)
from tools.bench.compare.stacks.port import Setup
from tools.cli.stack.ports import free_ports

_CONFIG_FILE: Final = "haproxy.cfg"


class VllmStack:
    """As many API servers as replicas, and one HAProxy."""

    def __init__(self, setup: Setup) -> None:
        """Choose ports."""
        self._setup = setup
        self._stack_id = secrets.token_hex(8)
        self._port, *self._servers = free_ports(1 + setup.spec.scaling.min)
        self._started: list[subprocess.Popen[bytes]] = []

    @property
    def url(self) -> str:
        """Where clients send requests."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def stack_id(self) -> str:
        """The mark in the environment of each of its processes."""
        return self._stack_id

    def start(self) -> None:
        """Start the servers, wait for each, then start HAProxy."""
        setup, env = self._setup, environment(self._setup, self._stack_id)
        # One shell starts them all, so that they share a session as other stacks' replicas do.
        servers = " & ".join(shlex.join(self._server(port)) for port in self._servers)
        command = ["sh", "-c", f"trap 'kill 0' TERM; {servers} & wait"]
        self._started.append(launch(command, env=env, folder=setup.root, log_file=setup.log_file))
        patience = Patience(setup, self._started)
        for port in self._servers:
            url = f"http://127.0.0.1:{port}/health"
            patience.until(f"the server on port {port}", lambda url=url: healthy(url))  # type: ignore[misc]
        (setup.folder / _CONFIG_FILE).write_text(render_static(self._port, self._servers))
        haproxy = [str(find_haproxy(None).path), "-db", "-f", str(setup.folder / _CONFIG_FILE)]
        self._started.append(launch(haproxy, env=env, folder=setup.root, log_file=setup.log_file))
        patience.until("its first token", lambda: one_token(self.url, setup.spec.name))

    def stop(self) -> None:
        """End HAProxy and the servers."""
        end(self._started[::-1], self._stack_id)

    def _server(self, port: int) -> list[str]:
        setup = self._setup
        return [
            *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
            *api_server_arguments(
                setup.spec, model=str(setup.model), executor=Executor.MULTIPROCESSING
            ),
            *("--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"),
        ]
