"""VLLM's own servers behind a HAProxy whose configuration never changes.

`VllmStack` has vLLM's Python API server, `VllmRustStack` its engine with the Rust front end.
"""

from __future__ import annotations

import secrets
import shlex
import subprocess
import sys
from collections.abc import Mapping
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
from tools.bench.compare.stacks.rust_program import require_program, switches, write_starter
from tools.cli.stack.ports import free_ports

_CONFIG_FILE: Final = "haproxy.cfg"
_PYTHON: Final = ("vllm.entrypoints.openai.api_server", "--disable-uvicorn-access-log")
_RUST: Final = ("tools.bench.compare.stacks.rust_server",)


class VllmStack:
    """As many API servers as replicas, and one HAProxy."""

    _program: tuple[str, ...] = _PYTHON

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
        setup = self._setup
        env = environment(setup, self._stack_id) | dict(self._switches())
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
        end(self._started[::-1], self._stack_id, folder=self._setup.folder)

    def _switches(self) -> Mapping[str, str]:
        """Return the environment variables that select the front end."""
        return {}

    def _server(self, port: int) -> list[str]:
        setup = self._setup
        module, *options = self._program
        return [
            *(sys.executable, "-m", module),
            *api_server_arguments(
                setup.spec, model=str(setup.model), executor=Executor.MULTIPROCESSING
            ),
            *("--host", "127.0.0.1", "--port", str(port), *options),
        ]


class VllmRustStack(VllmStack):
    """The same with vLLM's Rust front end, its threads at vLLM's defaults."""

    _program = _RUST

    def _server(self, port: int) -> list[str]:
        """Leave out what the Rust program refuses; no request here has media."""
        words = super()._server(port)
        at = words.index("--allowed-media-domains")
        return [*words[:at], *words[at + 2 :]]

    def _switches(self) -> Mapping[str, str]:
        return switches(write_starter(require_program(), self._setup.folder))
