"""From the command to the first token: `./sluice up` against vLLM's own API server, in one run.

Both serve the same model with the same engine arguments, one after the other on an idle machine,
and both clocks run from the start of the process to the first streamed token.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import httpx

from libs.contracts.model_spec import ModelSpec
from libs.engine.arguments import Executor, api_server_arguments, engine_environment
from libs.errors import PeerUnreachableError, UsageError
from tools.cli.stack.ports import free_ports

_POLL_S: Final = 0.1
_HTTP_S: Final = 60.0
_END_S: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Startup:
    """One round, in seconds from the start of the process to the first token.

    Attributes:
        difference_s: what Sluice takes beyond plain vLLM; Ray, Ray Serve and the control plane.
    """

    plain_vllm_s: float
    sluice_s: float
    difference_s: float

    def to_json(self) -> dict[str, float]:
        """Return plain values, rounded to 10 ms."""
        return {name: round(value, 2) for name, value in asdict(self).items()}


def measure_startup(*, root: Path, spec: ModelSpec, model: Path, timeout_s: float) -> Startup:
    """Start each of the two once and stop it again.

    Raises:
        PeerUnreachableError: one of them gave no token in time.
        UsageError: `./sluice up` refused to start.
    """
    plain_s = _plain_vllm(root, spec, model, timeout_s)
    sluice_s = _sluice(root, spec, model, timeout_s)
    return Startup(plain_vllm_s=plain_s, sluice_s=sluice_s, difference_s=sluice_s - plain_s)


def _plain_vllm(root: Path, spec: ModelSpec, model: Path, timeout_s: float) -> float:
    (port,) = free_ports(1)
    arguments = api_server_arguments(spec, model=str(model), executor=Executor.MULTIPROCESSING)
    command = [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *("--host", "127.0.0.1", "--port", str(port)),
        *arguments,
    ]
    with tempfile.TemporaryDirectory(prefix="sl-", dir="/tmp") as folder:
        own = {"TMPDIR": folder}  # vLLM leaves its sockets there
        environment = {**os.environ, **engine_environment(spec, is_local=True), **own}
        started = time.monotonic()
        server = subprocess.Popen(
            command,
            cwd=root,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            _first_token(f"http://127.0.0.1:{port}", spec.name, timeout_s, alive=_alive(server))
            return time.monotonic() - started
        finally:
            _end(server)


def _sluice(root: Path, spec: ModelSpec, model: Path, timeout_s: float) -> float:
    with tempfile.TemporaryDirectory(prefix="sl-") as var:
        environment = {**os.environ, "SLUICE_VAR": var, "SLUICE_MODELS_DIR": str(model.parent)}
        (port,) = free_ports(1)
        started = time.monotonic()
        try:
            _run(root, environment, "up", "--detach", "--port", str(port))
            _first_token(f"http://127.0.0.1:{port}", spec.name, timeout_s, alive=lambda: True)
            return time.monotonic() - started
        finally:
            _run(root, environment, "down")


def _run(root: Path, environment: Mapping[str, str], *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise UsageError(f"`sluice {' '.join(arguments)}`: {done.stderr.strip()}")


def _first_token(url: str, model: str, timeout_s: float, *, alive: Callable[[], bool]) -> None:
    deadline = time.monotonic() + timeout_s
    with httpx.Client(base_url=url, timeout=_HTTP_S) as client:
        while not _streams_a_token(client, model):
            if time.monotonic() > deadline or not alive():
                raise PeerUnreachableError(
                    f"no token from {url}; run the server by hand to see why"
                )
            time.sleep(_POLL_S)


def _streams_a_token(client: httpx.Client, model: str) -> bool:
    body = {"model": model, "prompt": "Hello", "max_tokens": 1, "stream": True}
    try:
        with client.stream("POST", "/v1/completions", json=body) as reply:
            return reply.is_success and any(_has_text(line) for line in reply.iter_lines())
    except httpx.HTTPError:
        return False


def _has_text(line: str) -> bool:
    if not line.startswith("data: {"):
        return False
    choices = json.loads(line.removeprefix("data: "))["choices"]
    return bool(choices and choices[0]["text"])


def _alive(server: subprocess.Popen[bytes]) -> Callable[[], bool]:
    return lambda: server.poll() is None


def _end(server: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(_END_S)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
    except ProcessLookupError:
        server.wait()
