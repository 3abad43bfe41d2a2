"""VLLM's own API server on a simulated device, as a process of its own."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import httpx

from libs.contracts.model_spec import ModelSpec
from libs.engine.arguments import Executor, api_server_arguments, engine_environment
from libs.engine.engine_folder import FOLDER_VARIABLE, engine_folder
from libs.testing.free_port import free_port

ROOT: Final = Path(__file__).absolute().parents[2]
START_TIMEOUT_S: Final = 240.0
STOP_TIMEOUT_S: Final = 15.0
REQUEST_TIMEOUT_S: Final = 60.0

_METRIC: Final = re.compile(r"^(vllm:[a-z_]+)\{.*\} ([0-9.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """A finished completion."""

    text: str
    finish_reason: str
    output_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """What one worker says it has done."""

    steps: int
    prefill_tokens: int
    output_tokens: int
    busy_s: float

    def since(self, before: Totals) -> Totals:
        """Return what was done after another reading."""
        return Totals(
            steps=self.steps - before.steps,
            prefill_tokens=self.prefill_tokens - before.prefill_tokens,
            output_tokens=self.output_tokens - before.output_tokens,
            busy_s=self.busy_s - before.busy_s,
        )


class SimulatedServer:
    """A running server and a client for it; its methods may be called from several threads."""

    def __init__(self, url: str, model: str) -> None:
        """Take the server's address and the model's name."""
        self._model = model
        self._http = httpx.Client(base_url=url, trust_env=False, timeout=REQUEST_TIMEOUT_S)

    def complete(
        self,
        prompt: str,
        *,
        max_tokens: int,
        stop_token_ids: Sequence[int] = (),
        model: str | None = None,
    ) -> Completion:
        """Complete a prompt, not streamed; None asks the model itself, not an adapter."""
        body = {
            "model": model or self._model,
            "prompt": prompt,
            "max_tokens": max_tokens,
            "stop_token_ids": list(stop_token_ids),
        }
        answer = self._http.post("/v1/completions", json=body)
        assert answer.is_success, answer.text
        tree = answer.json()
        return Completion(
            text=tree["choices"][0]["text"],
            finish_reason=tree["choices"][0]["finish_reason"],
            output_tokens=tree["usage"]["completion_tokens"],
        )

    def stream(self, prompt: str, *, max_tokens: int) -> list[str]:
        """Complete a prompt as a stream, and return the text of each event."""
        body = {
            "model": self._model,
            "messages": [{"role": "user", "content": prompt}],
            "max_tokens": max_tokens,
            "stream": True,
        }
        with self._http.stream("POST", "/v1/chat/completions", json=body) as answer:
            assert answer.is_success
            lines = [line for line in answer.iter_lines() if line]
        assert lines[-1] == "data: [DONE]"
        return lines[:-1]

    def load_adapter(self, name: str, folder: Path) -> bool:
        """Load an adapter as vLLM's own server does; False when the engine refused it."""
        body = {"lora_name": name, "lora_path": str(folder)}
        return self._http.post("/v1/load_lora_adapter", json=body).is_success

    @property
    def address(self) -> str:
        """Where it listens, as `host:port`."""
        return f"{self._http.base_url.host}:{self._http.base_url.port}"

    def totals(self) -> list[Totals]:
        """Ask every worker what it has done."""
        answer = self._http.post("/collective_rpc", json={"method": "simulation_totals"})
        assert answer.is_success, answer.text
        return [Totals(**each) for each in answer.json()["results"]]

    def metrics(self) -> dict[str, float]:
        """Return the engine's own metrics, without their labels."""
        return {name: float(value) for name, value in _METRIC.findall(self.metrics_page())}

    def metrics_page(self) -> str:
        """Return the page that Prometheus reads."""
        return self._get("/metrics")

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return self._http.get("/health").is_success
        except httpx.TransportError:
            return False

    def close(self) -> None:
        """Close the client."""
        self._http.close()

    def _get(self, path: str) -> str:
        answer = self._http.get(path)
        assert answer.is_success, answer.text
        return answer.text


@contextmanager
def simulated_server(
    spec: ModelSpec,
    folder: Path,
    *,
    executor: Executor = Executor.MULTIPROCESSING,
    environment: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> Iterator[SimulatedServer]:
    """Run a server for the model in a folder while the body runs; its log is in the folder."""
    port = free_port()
    command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
    command += api_server_arguments(spec, model=str(folder), executor=executor)
    command += ["--host", "127.0.0.1", "--port", str(port), *options]
    log_file = folder / f"server-{port}.log"
    with ExitStack() as stack:
        own = stack.enter_context(engine_folder(Path(tempfile.gettempdir()), secrets.token_hex(4)))
        with log_file.open("wb") as log:
            started = subprocess.Popen(
                command,
                env={**_environment(spec, environment or {}), FOLDER_VARIABLE: str(own)},
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        stack.callback(_end, started)
        server = SimulatedServer(f"http://127.0.0.1:{port}", spec.name)
        stack.callback(server.close)
        _wait_ready(server, started, log_file)
        yield server


def _environment(spec: ModelSpec, extra: Mapping[str, str]) -> dict[str, str]:
    folders = [str(ROOT), str(ROOT / "libs" / "engine" / "plugin"), *sys.path]
    return {
        **os.environ,
        **engine_environment(spec, is_local=True),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folder for folder in folders if folder)),
        # Opens `/collective_rpc`, through which a worker tells its totals.
        "VLLM_SERVER_DEV_MODE": "1",
        # Opens `/v1/load_lora_adapter`.
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "1",
        **extra,
    }


def _wait_ready(server: SimulatedServer, started: subprocess.Popen[bytes], log_file: Path) -> None:
    deadline_s = time.monotonic() + START_TIMEOUT_S
    while not server.is_ready():
        assert started.poll() is None, f"the server ended:\n{_tail(log_file)}"
        assert time.monotonic() < deadline_s, f"the server is too slow:\n{_tail(log_file)}"
        time.sleep(0.1)


def _end(started: subprocess.Popen[bytes]) -> None:
    """End the server politely, then whatever is left of its session."""
    started.terminate()
    try:
        with suppress(subprocess.TimeoutExpired):
            started.wait(STOP_TIMEOUT_S)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(started.pid, signal.SIGKILL)
        started.wait()


def _tail(log_file: Path) -> str:
    return "\n".join(log_file.read_text(errors="replace").splitlines()[-60:])
