"""The autoscaler as a process, as a supervisor would start, kill and start it again."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from libs.bus.permissions import AUTOSCALER
from libs.testing.nats_server import NatsServer
from libs.testing.ray_node import RayNode


class AutoscalerProcess:
    """`python -m services.autoscaler` between a Ray node and a NATS server."""

    def __init__(self, *, head: RayNode, server: NatsServer, folder: Path) -> None:
        """Keep logs, traces and credentials in the folder."""
        self.traces_dir = folder / "traces"
        self.log_file = folder / "autoscaler.log"
        self._head = head
        self._server = server
        self._credentials = folder / "autoscaler.json"
        self._running: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Start it and return at once."""
        self._server.write_credentials(AUTOSCALER, self._credentials)
        with self.log_file.open("ab") as log:
            self._running = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "services.autoscaler",
                env=self._environment(),
                stdout=log,
                stderr=log,
            )

    async def kill(self) -> None:
        """End it as `kill -9` does; one that does not run stays so."""
        if self._running is not None and self._running.returncode is None:
            self._running.kill()
            await self._running.wait()
        self._running = None

    async def stop(self) -> int:
        """End it as a supervisor does and return its exit code."""
        assert self._running is not None, "the autoscaler is not running"
        self._running.terminate()
        async with asyncio.timeout(10):
            return await self._running.wait()

    def _environment(self) -> dict[str, str]:
        kept = {name: text for name, text in os.environ.items() if not name.startswith("OTEL_")}
        prefix = "SLUICE_AUTOSCALER_"
        return kept | {
            "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
            "RAY_AUTH_TOKEN_PATH": str(self._head.token_file),
            f"{prefix}NATS_CREDENTIALS_FILE": str(self._credentials),
            f"{prefix}RAY_DASHBOARD_URL": self._head.dashboard_url,
            f"{prefix}IMPORT_PATH": "standin_app:build",
            f"{prefix}TRACES_DIR": str(self.traces_dir),
            f"{prefix}RESYNC_S": "1",
            f"{prefix}REQUEST_TIMEOUT_S": "3",
        }
