"""One real replica under Ray Serve, with a real nats-server and the built-in model."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.bus.codec import encode
from libs.bus.nats_bus import NatsBus, connect
from libs.bus.permissions import CLI, REPLICA
from libs.bus.ports import BucketView
from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd, ReplicaLease, ReplicaState
from libs.contracts.model_spec import EngineSpec, ModelSpec
from libs.contracts.subjects import REPLICAS_BUCKET
from libs.engine.default_model import make_ready
from libs.testing.nats_server import NatsServer, nats_server
from libs.testing.ray_node import RayNode, ray_node

MODEL: Final = ModelName("smollm2")
READY_TIMEOUT_S: Final = 180.0
ROOT: Final = Path(__file__).absolute().parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaWorld:
    """Everything around the replica."""

    ray: RayNode
    nats: NatsServer
    bus: NatsBus
    leases: BucketView
    traces: Path

    def lease(self) -> ReplicaLease | None:
        """Return the newest lease; None when there is none."""
        values = [entry.value for entry in self.leases.snapshot().entries.values()]
        found = [value for value in values if isinstance(value, ReplicaLease)]
        return max(found, key=lambda lease: lease.started_at, default=None)

    async def until(self, wanted: Callable[[ReplicaLease | None], bool], timeout_s: float) -> float:
        """Wait until the newest lease is as wanted; return how many seconds that took."""
        began = time.monotonic()
        while not wanted(self.lease()):
            left_s = timeout_s - (time.monotonic() - began)
            assert left_s > 0, f"not in time: {self.lease()}; see {self.ray.logs}"
            await self.leases.changed(timeout_s=min(left_s, 0.5))
        return time.monotonic() - began

    def url(self, front_end: FrontEnd = FrontEnd.RUST) -> str:
        """Return the address of the ready replica's front end; without Rust both are Python's."""
        lease = self.lease()
        assert lease is not None
        address = lease.address
        if front_end is FrontEnd.PYTHON and lease.python_address is not None:
            address = lease.python_address
        assert address is not None
        return f"http://{address}"


def is_ready(lease: ReplicaLease | None) -> bool:
    """Tell whether a replica takes requests."""
    return lease is not None and lease.state is ReplicaState.READY


@asynccontextmanager
async def replica_world(folder: Path) -> AsyncIterator[ReplicaWorld]:
    """Start everything and wait for the replica; `folder` takes all files, logs too."""
    models_dir = Path(os.environ.get("SLUICE_MODELS_DIR", ROOT / "var" / "models"))
    await asyncio.to_thread(make_ready, models_dir, _quietly)
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(nats_server(folder))
        bus = await stack.enter_async_context(connect(nats.settings(CLI)))
        leases = await stack.enter_async_context(bus.view(REPLICAS_BUCKET))
        node = stack.enter_context(
            ray_node(_environment(folder, nats, models_dir), keep_logs_in=folder / "ray-logs")
        )
        made = ReplicaWorld(ray=node, nats=nats, bus=bus, leases=leases, traces=folder / "traces")
        await asyncio.to_thread(_deploy, node)
        await made.until(is_ready, READY_TIMEOUT_S)
        yield made


def _quietly(_line: str) -> None:
    """Let a test's output be the test's."""


def _environment(folder: Path, nats: NatsServer, models_dir: Path) -> dict[str, str]:
    credentials = nats.write_credentials(REPLICA, folder / "nats-replica.json")
    return {
        "SLUICE_REPLICA_NATS_CREDENTIALS_FILE": str(credentials),
        "SLUICE_REPLICA_MODELS_DIR": str(models_dir),
        "SLUICE_REPLICA_TRACES_DIR": str(folder / "traces"),
    }


def _deploy(node: RayNode) -> None:
    spec = ModelSpec(
        name=MODEL,
        source="builtin:smollm2-135m-instruct",
        aliases=("default",),
        engine=EngineSpec(max_model_len=2048, max_num_seqs=16, kv_cache_gib=0.5),
    )
    node.put_application(
        MODEL, "services.replica.serve_app:build", {"model_spec": encode(spec).decode()}
    )
