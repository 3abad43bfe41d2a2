"""A real Ray head node on loopback, in a short folder of its own."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

import httpx
import psutil  # type: ignore[import-untyped]

from libs.testing.nats_server import free_port

START_TIMEOUT_S: Final = 90.0
STOP_TIMEOUT_S: Final = 20.0
_OBJECT_STORE_BYTES: Final = 80 * 1024 * 1024


class RayHead:
    """One head node, which can be killed and started again on the same ports."""

    def __init__(self, import_folders: Sequence[Path] = ()) -> None:
        """Choose ports, a token and a folder; replicas can import from `import_folders` as well."""
        # Ray's socket paths end at 107 bytes, so the folder cannot be pytest's.
        self.folder = Path(tempfile.mkdtemp(prefix="sr-", dir="/tmp"))
        self.token_file = self.folder / "token"
        self.token = secrets.token_hex(32)
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token)
        self._import_folders = import_folders
        self._ports = [free_port() for _ in range(4)]
        self._head: subprocess.Popen[bytes] | None = None

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard listens."""
        return f"http://127.0.0.1:{self._ports[1]}"

    def start(self) -> None:
        """Start it and wait until the dashboard knows about Serve."""
        with (self.folder / "ray.log").open("ab") as log:
            self._head = subprocess.Popen(
                self._command(),
                env=self._environment(),
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_answering()

    def kill(self) -> None:
        """End every process of the node at once."""
        for part in self._processes():
            with suppress(psutil.NoSuchProcess):
                part.send_signal(signal.SIGKILL)
        if self._head is not None:
            self._head.wait()
            self._head = None

    def stop(self) -> None:
        """End the node politely, then whatever of it is left, and remove its folder."""
        if self._head is not None:
            self._head.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._head.wait(STOP_TIMEOUT_S)
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _processes(self) -> list[psutil.Process]:
        """Find this node's processes: they carry its folder in their command or environment."""
        mark, own = str(self.folder), os.getpid()
        return [p for p in psutil.process_iter() if p.pid != own and mark in _words(p)]

    def _wait_answering(self) -> None:
        headers = {"Authorization": f"Bearer {self.token}"}
        deadline = time.monotonic() + START_TIMEOUT_S
        with httpx.Client(headers=headers, trust_env=False, timeout=30.0) as http:
            while not _answers(http, f"{self.dashboard_url}/api/serve/applications/"):
                assert self._head is not None
                assert self._head.poll() is None, f"ray ended: see {self.folder}/ray.log"
                assert time.monotonic() < deadline, f"ray is too slow: see {self.folder}/ray.log"
                time.sleep(0.2)

    def _command(self) -> list[str]:
        port, dashboard, client, agent = self._ports
        return [
            sys.executable,
            "-m",
            "ray.scripts.scripts",
            "start",
            "--head",
            "--block",
            "--node-ip-address=127.0.0.1",
            f"--port={port}",
            "--dashboard-host=127.0.0.1",
            f"--dashboard-port={dashboard}",
            "--include-dashboard=true",
            f"--ray-client-server-port={client}",
            f"--dashboard-agent-listen-port={agent}",
            "--min-worker-port=0",
            "--max-worker-port=0",
            f"--temp-dir={self.folder}",
            f"--object-store-memory={_OBJECT_STORE_BYTES}",
            "--num-cpus=8",
            "--disable-usage-stats",
            "--no-monitor",
        ]

    def _environment(self) -> dict[str, str]:
        folders = [*(str(folder) for folder in self._import_folders), *sys.path]
        return os.environ | {
            "PYTHONPATH": os.pathsep.join(folder for folder in folders if folder),
            "RAY_ADDRESS": f"127.0.0.1:{self._ports[0]}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.token_file),
            # Otherwise Ray replaces 127.0.0.1 by the machine's address.
            "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0",
            "RAY_worker_niceness": "0",
        }


@contextmanager
def ray_head(import_folders: Sequence[Path] = ()) -> Iterator[RayHead]:
    """Run a head node while the body runs."""
    head = RayHead(import_folders)
    try:
        head.start()
        yield head
    finally:
        head.stop()


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        return http.get(url).is_success
    except httpx.TransportError:
        return False


def _words(part: psutil.Process) -> str:
    try:
        return " ".join([*part.cmdline(), part.environ().get("RAY_AUTH_TOKEN_PATH", "")])
    except psutil.Error:
        return ""
