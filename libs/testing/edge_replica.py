"""A real replica behind a real edge: the service itself, without Ray, its workers as processes."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from asyncio.subprocess import Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from libs.bus.permissions import REPLICA
from libs.contracts.lease import ReplicaLease, ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.contracts.subjects import REPLICAS_BUCKET
from libs.engine.engine_folder import SHARED_MEMORY, remove_dead
from libs.engine.simulated.totals_file import VARIABLE, read_totals
from libs.errors import PeerUnreachableError
from libs.testing.edge_world import EdgeWorld
from libs.testing.eventually import eventually

START_TIMEOUT_S: Final = 240.0
JOIN_TIMEOUT_S: Final = 30.0
_ROOT: Final = Path(__file__).resolve().parents[2]
_STOP_S: Final = 20.0
_LOOK_S: Final = 0.5
_SHOWN_CHARACTERS: Final = 300
_SPEC: Final = TypeAdapter(ModelSpec)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """A replica that is ready and has a server at the edge.

    Attributes:
        totals_file: where its simulated device keeps its totals.
        started: its operating system process.
    """

    lease: ReplicaLease
    totals_file: Path
    started: Process

    def made(self) -> int:
        """Return how many tokens its device has made so far."""
        return read_totals(self.totals_file).output_tokens


@asynccontextmanager
async def running_replica(world: EdgeWorld, spec: ModelSpec) -> AsyncIterator[Replica]:
    """Run a replica behind the world's edge while the body runs.

    Raises:
        PeerUnreachableError: it did not become ready.
    """
    async with starting_replica(world, spec) as started:
        lease = await _until_ready(world, started, _log_file(world))
        await _until_served(world)
        yield Replica(lease=lease, totals_file=_totals_file(world), started=started)


@asynccontextmanager
async def starting_replica(world: EdgeWorld, spec: ModelSpec) -> AsyncIterator[Process]:
    """Start a replica, without waiting for anything, and end it with the body."""
    _temporary_dir(world).mkdir(exist_ok=True)
    with _log_file(world).open("wb") as log:
        started = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "services.replica"),
            *("--model-spec", _SPEC.dump_json(spec).decode()),
            cwd=_ROOT,
            env=_environment(world),
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        yield started
    finally:
        await _end(started)
        remove_dead(sockets_dir(world))


def sockets_dir(world: EdgeWorld) -> Path:
    """Return where the world's replicas make their folders."""
    return world.folder / "s"


def replica_files(world: EdgeWorld) -> set[Path]:
    """Return what there is of the world's replicas: files, folders and shared memory.

    torch keeps its cache for every process of a user.
    """
    temporary = {path for path in _temporary_dir(world).iterdir() if "inductor" not in path.name}
    own = set(sockets_dir(world).rglob("*"))
    notes = [path.name for path in own if path.suffix == ".shm"]
    return temporary | own | {SHARED_MEMORY / note.split(".")[0] for note in notes}


def _temporary_dir(world: EdgeWorld) -> Path:
    return world.folder / "t"


def _log_file(world: EdgeWorld) -> Path:
    return world.folder / "replica.log"


def _totals_file(world: EdgeWorld) -> Path:
    return world.folder / "totals"


async def _until_ready(world: EdgeWorld, started: Process, log_file: Path) -> ReplicaLease:
    try:
        async with asyncio.timeout(START_TIMEOUT_S), world.bus.view(REPLICAS_BUCKET) as view:
            while started.returncode is None:
                for entry in view.snapshot().entries.values():
                    lease = entry.value
                    if isinstance(lease, ReplicaLease) and _is_ready(lease, started):
                        return lease
                await view.changed(timeout_s=_LOOK_S)
    except TimeoutError:
        pass
    raise PeerUnreachableError(peer="replica", cause=f"it did not become ready: {_said(log_file)}")


def _is_ready(lease: ReplicaLease, started: Process) -> bool:
    """Tell whether this is the process's own lease; a killed one's stays for its TTL."""
    return lease.pid == started.pid and lease.state is ReplicaState.READY


def _said(log_file: Path) -> str:
    return log_file.read_text(errors="replace").strip()[-_SHOWN_CHARACTERS:]


async def _until_served(world: EdgeWorld) -> None:
    async def served() -> bool:
        said = await world.status()
        return said is not None and said.servers_ready > 0

    await eventually(served, within_s=JOIN_TIMEOUT_S, what="the replica at the edge")


async def _end(started: Process) -> None:
    """Let the replica drain, then end whatever is left of its session."""
    with suppress(ProcessLookupError):
        started.terminate()
    with suppress(TimeoutError):
        async with asyncio.timeout(_STOP_S):
            await started.wait()
    with suppress(ProcessLookupError):
        os.killpg(started.pid, signal.SIGKILL)
    await started.wait()


def _environment(world: EdgeWorld) -> dict[str, str]:
    folders = [str(_ROOT), str(_ROOT / "libs" / "engine" / "plugin"), *sys.path]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(dict.fromkeys(folder for folder in folders if folder)),
        "SLUICE_REPLICA_NATS_CREDENTIALS_FILE": str(_credentials(world)),
        "SLUICE_REPLICA_MODELS_DIR": str(world.folder),
        "SLUICE_REPLICA_SOCKETS_DIR": str(sockets_dir(world)),
        "SLUICE_REPLICA_DRAIN_GRACE_S": "0",
        "TMPDIR": str(_temporary_dir(world)),
        VARIABLE: str(_totals_file(world)),
    }


def _credentials(world: EdgeWorld) -> Path:
    return world.nats.write_credentials(REPLICA, world.folder / "replica.json")
