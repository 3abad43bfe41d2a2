"""A real Ray head node on loopback with logical device slots, in a short folder of its own."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from deploy.local.ray_head import RayHead, driver_environment, node_environment, start_command
from libs.engine.engine_folder import remove_dead
from libs.testing.free_port import free_port

START_TIMEOUT_S: Final = 180.0
STOP_TIMEOUT_S: Final = 10.0
REQUEST_TIMEOUT_S: Final = 30.0

_CPUS: Final = 8
_OBJECT_STORE_BYTES: Final = 128 * 2**20
_ROOT: Final = Path(__file__).absolute().parents[2]
_MARK: Final = "SLUICE_TEST_RAY_NODE"


def _import_path(folders: Sequence[Path]) -> str:
    """Return this process's own, which Bazel may have given it, behind ours."""
    own = [*folders, _ROOT, _ROOT / "libs" / "engine" / "plugin"]
    words = [*(str(folder) for folder in own), *(folder for folder in sys.path if folder)]
    return os.pathsep.join(dict.fromkeys(words))


class RayNode:
    """One head node; everything that it starts carries its mark and ends with it."""

    def __init__(
        self, environment: Mapping[str, str], *, slots: int, import_folders: Sequence[Path] = ()
    ) -> None:
        """Choose ports and a folder; `environment` is what replicas inherit."""
        self.folder = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp"))
        self.token = secrets.token_hex(32)
        self.token_file = self.folder / "token"
        self.token_file.touch(mode=0o600)
        self.token_file.write_text(self.token)
        self._node = self._described(slots)
        self._mark = self.folder.name
        self._environment = {
            **os.environ,
            **environment,
            **node_environment(self._node),
            "TMPDIR": str(self.folder),
            _MARK: self._mark,
            "PYTHONPATH": _import_path(import_folders),
        }
        self._head: subprocess.Popen[bytes] | None = None

    @property
    def mark(self) -> str:
        """What everything that the node starts has in its environment; for `marked`."""
        return f"{_MARK}={self._mark}"

    @property
    def address(self) -> str:
        """Where drivers connect."""
        return self._node.address

    @property
    def dashboard_url(self) -> str:
        """Where the dashboard listens."""
        return self._node.dashboard_url

    @property
    def logs(self) -> Path:
        """Where Ray and its workers write."""
        return self.folder / "r" / "session_latest" / "logs"

    def start(self) -> None:
        """Start the node and wait until its dashboard answers."""
        with (self.folder / "head.log").open("wb") as log:
            self._head = subprocess.Popen(
                start_command(self._node, python=sys.executable),
                env=self._environment,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self._answers():
            assert self._head.poll() is None, (self.folder / "head.log").read_text()
            assert time.monotonic() < deadline, "Ray's dashboard did not answer in time"
            time.sleep(0.2)

    def ended(self, within_s: float) -> int:
        """Wait until the node ends by itself, and return its exit code.

        Raises:
            subprocess.TimeoutExpired: it goes on.
        """
        assert self._head is not None, "the node was not started"
        return self._head.wait(within_s)

    def stop(self) -> None:
        """End everything that carries the node's mark, and remove its folder."""
        for sent in (signal.SIGTERM, signal.SIGKILL):
            if self._end_marked(sent):
                break
        if self._head is not None:
            self._head.wait(STOP_TIMEOUT_S)
        remove_dead(self.folder)
        shutil.rmtree(self.folder, ignore_errors=True)

    def put_application(self, name: str, import_path: str, args: Mapping[str, str]) -> None:
        """Deploy one Serve application without Serve's own proxy, scaled from outside."""
        application = {
            "name": name,
            "route_prefix": None,
            "import_path": import_path,
            "external_scaler_enabled": True,
            "args": dict(args),
        }
        body = {"proxy_location": "Disabled", "applications": [application]}
        self.call("PUT", "/api/serve/applications/", body)

    def application(self, name: str) -> dict[str, object]:
        """Return what Serve says of an application; empty before it knows of it."""
        applications = self.call("GET", "/api/serve/applications/").get("applications", {})
        assert isinstance(applications, dict)
        found = applications.get(name, {})
        assert isinstance(found, dict)
        return found

    def scale(self, application: str, deployment: str, replicas: int) -> None:
        """Set how many replicas a deployment should have."""
        path = f"/api/v1/applications/{application}/deployments/{deployment}/scale"
        self.call("POST", path, {"target_num_replicas": replicas})

    def call(self, method: str, path: str, body: object = None) -> dict[str, object]:
        """Call the dashboard; an answer that is no JSON object is empty."""
        request = urllib.request.Request(  # noqa: S310 - its own loopback URL
            f"{self.dashboard_url}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {self.token}",
                "Content-Type": "application/json",
            },
        )
        with urllib.request.urlopen(request, timeout=REQUEST_TIMEOUT_S) as answer:  # noqa: S310
            text = answer.read()
        with suppress(ValueError):
            tree = json.loads(text)
            return tree if isinstance(tree, dict) else {}
        return {}

    def driver_environment(self) -> dict[str, str]:
        """Return what a process needs to connect to this node as a driver."""
        return driver_environment(self._node)

    def _described(self, slots: int) -> RayHead:
        return RayHead(
            port=free_port(),
            dashboard_port=free_port(),
            agent_port=free_port(),
            temp_dir=self.folder / "r",
            token_file=self.token_file,
            object_store_bytes=_OBJECT_STORE_BYTES,
            logical_cpus=_CPUS,
            logical_devices=slots,
        )

    def _answers(self) -> bool:
        try:
            self.call("GET", "/api/serve/applications/")
        except (urllib.error.URLError, OSError):
            return False
        return True

    def _end_marked(self, sent: signal.Signals) -> bool:
        deadline = time.monotonic() + STOP_TIMEOUT_S
        told: set[int] = set()
        while left := marked(self.mark):
            for pid in left - told:
                with suppress(ProcessLookupError):
                    os.kill(pid, sent)
            told |= left
            if time.monotonic() > deadline:
                return False
            time.sleep(0.1)
        return True


def marked(mark: str) -> set[int]:
    """Return the living processes, beside this one, that have a `NAME=value` in their environment.

    Zombies have no environment and do not count.
    """
    found = set()
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            if folder.name.isdigit() and mark.encode() in _environ(folder):
                found.add(int(folder.name))
    return found - {os.getpid()}


@contextmanager
def ray_node(
    environment: Mapping[str, str] | None = None,
    *,
    slots: int = 4,
    import_folders: Sequence[Path] = (),
    keep_logs_in: Path | None = None,
) -> Iterator[RayNode]:
    """Run a node while the body runs; afterwards its logs are in `keep_logs_in`."""
    node = RayNode(environment or {}, slots=slots, import_folders=import_folders)
    try:
        node.start()
        yield node
    finally:
        if keep_logs_in is not None:
            shutil.copytree(node.logs, keep_logs_in, ignore_dangling_symlinks=True)
        node.stop()


def _environ(folder: Path) -> list[bytes]:
    return (folder / "environ").read_bytes().split(b"\0")
