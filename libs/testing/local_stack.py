"""A whole stack for tests: `./sluice up --detach` in a folder of its own, then `down`.

Every command runs as a process of its own, as a user would start it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypedDict

from deploy.local.places import run_folder
from libs.testing.free_port import free_port

ROOT: Final = Path(__file__).absolute().parents[2]
UP_TIMEOUT_S: Final = 420.0
COMMAND_TIMEOUT_S: Final = 90.0
_POLL_S: Final = 0.2


class HAProxyJson(TypedDict):
    """`haproxy` of the status."""

    version: str | None
    pid: int | None
    reloads: int | None


class RoutingJson(TypedDict):
    """`routing` of the status."""

    revision: int | None
    applied_at: float | None
    degraded: str
    age_s: float | None


class BusJson(TypedDict):
    """`bus` of the status."""

    answers: bool
    takes_writes: bool | None
    cause: str


class AutoscalerJson(TypedDict):
    """`autoscaler` of the status."""

    leads: bool | None
    age_s: float | None


class ReplicaJson(TypedDict):
    """One replica of the status."""

    id: str
    pid: int
    state: str
    address: str | None
    executor: str
    device: str
    running: int | None
    waiting: int | None
    kv_cache_usage_ratio: float | None
    adapters: list[str]
    front_end: str
    front_end_reason: str


class AdapterJson(TypedDict):
    """One adapter of the status."""

    name: str
    source: str
    loaded: int
    causes: list[str]


class FailureJson(TypedDict):
    """Why a model does not come."""

    error: str
    failed_starts: int
    failed_at: float
    next_try_at: float | None
    refused: bool


class ModelJson(TypedDict):
    """One model of the status."""

    name: str
    aliases: list[str]
    aliases_served_by_python: list[str]
    target: int | None
    ready: int
    held: int | None
    replicas: list[ReplicaJson]
    adapters: list[AdapterJson]
    failure: FailureJson | None


class PartJson(TypedDict):
    """One supervised process of the status."""

    name: str
    state: str
    pid: int


class ScalingJson(TypedDict):
    """`scaling` of the status."""

    trouble: str
    since: float | None


class StatusJson(TypedDict):
    """What `./sluice status --json` prints."""

    api_url: str
    haproxy: HAProxyJson
    nats_url: str
    bus: BusJson
    autoscaler: AutoscalerJson
    supervised: bool
    routing: RoutingJson
    models: list[ModelJson]
    scaling: ScalingJson
    processes: list[PartJson]
    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LocalStack:
    """A running stack.

    Attributes:
        environment: what its commands get beside this process's own.
    """

    var: Path
    port: int
    encrypted: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def api_url(self) -> str:
        """Where clients send requests."""
        return f"http{'s' if self.encrypted else ''}://127.0.0.1:{self.port}"

    @property
    def run(self) -> Path:
        """The folder of what it needs while it runs."""
        return run_folder(self.var, user_id=os.geteuid())

    @property
    def stack_id(self) -> str:
        """What marks its processes, in their variable `SLUICE_STACK_ID`."""
        record = json.loads((self.run / "stack.json").read_text())
        return str(record["stack_id"])

    def sluice(self, *arguments: str, timeout_s: float = COMMAND_TIMEOUT_S) -> Done:
        """Run one command against this stack."""
        return sluice(*arguments, var=self.var, timeout_s=timeout_s, environment=self.environment)

    def status(self) -> StatusJson:
        """Return what `status --json` prints, problems or not.

        Raises:
            AssertionError: the command failed.
        """
        done = self.sluice("status", "--json")
        assert done.code in {0, 1}, done.err
        assert done.out, done.err
        found: StatusJson = json.loads(done.out)
        return found

    def pid_of(self, part: str) -> int:
        """Return the process id of one supervised process."""
        return next(each["pid"] for each in self.status()["processes"] if each["name"] == part)

    def replicas(self, model: str = "smollm2") -> list[ReplicaJson]:
        """Return the replicas of a model as `status` shows them."""
        models = self.status()["models"]
        return [each for found in models if found["name"] == model for each in found["replicas"]]

    def ready(self, model: str = "smollm2") -> list[ReplicaJson]:
        """Return the ready replicas of a model."""
        return [each for each in self.replicas(model) if each["state"] == "ready"]


def sluice(
    *arguments: str,
    var: Path,
    timeout_s: float = COMMAND_TIMEOUT_S,
    environment: Mapping[str, str] | None = None,
) -> Done:
    """Run one command of `./sluice` with its own state folder, as the script does."""
    done = subprocess.run(
        [sys.executable, "-m", "tools.cli", *arguments],
        cwd=ROOT,
        env={
            **os.environ,
            **(environment or {}),
            "PYTHONPATH": _python_path(),
            "SLUICE_VAR": str(var),
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    return Done(code=done.returncode, out=done.stdout, err=done.stderr)


@contextmanager
def local_stack(*up_options: str) -> Iterator[LocalStack]:
    """Start a stack, hand it out, stop it; its logs are printed when the start fails."""
    var = Path(tempfile.mkdtemp(prefix="sl-"))
    stack = LocalStack(var=var, port=free_port())
    try:
        started = stack.sluice(
            "up", "--detach", "--port", str(stack.port), *up_options, timeout_s=UP_TIMEOUT_S
        )
        assert started.code == 0, _report(stack, started)
        yield stack
    finally:
        stack.sluice("down")
        shutil.rmtree(var, ignore_errors=True)


def wait_until(condition: Callable[[], bool], *, timeout_s: float, what: str) -> float:
    """Ask until the answer is yes; returns the seconds it took.

    Raises:
        AssertionError: the time is over.
    """
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < timeout_s, f"{what}: not within {timeout_s} s"
        time.sleep(_POLL_S)
    return time.monotonic() - started


def _python_path() -> str:
    """Return the import roots: the checkout's, then those that Bazel or the user set."""
    kept = [part for part in os.environ.get("PYTHONPATH", "").split(":") if part]
    return ":".join(dict.fromkeys([str(ROOT), *kept]))


def _report(stack: LocalStack, done: Done) -> str:
    logs = [
        f"--- {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-40:])
        for path in sorted((stack.var / "log").glob("*.log"))
    ]
    return "\n".join([done.out, done.err, *logs])
