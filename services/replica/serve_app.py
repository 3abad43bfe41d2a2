"""The Ray Serve application of one model: a deployment `replica` that opens its own HTTP port.

Serve places, starts, checks and stops the replicas; no request goes through it. This module is
also imported by Serve's controller, so nothing heavy is imported before a replica starts.

The placement group of a replica has one bundle for this process and one `GPU` for each worker: a
device on CUDA, a logical slot on CPU.
"""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

import ray
from pydantic import BaseModel
from ray import serve
from ray.serve import Application

from libs.bus.codec import decode_record
from libs.contracts.ids import replica_id
from libs.contracts.lease import ReplicaState
from libs.contracts.model_spec import AdapterSpec, Device, ModelSpec
from libs.errors import ControlPlaneError, TerminalError
from libs.telemetry.logging import configure_logging
from services.replica.adapters.serve_log import keep_serve_log
from services.replica.settings import ReplicaSettings

if TYPE_CHECKING:
    from services.replica.adapters.vllm.host import Placement
    from services.replica.service import ReplicaService

DEPLOYMENT: Final = "replica"

ALIASES: Final = "aliases"
ADAPTERS: Final = "adapters"
"""The keys of Serve's user configuration: what may change without a restart."""

HEALTH_CHECK_PERIOD_S: Final = 1.0
HEALTH_CHECK_TIMEOUT_S: Final = 10.0

SHUTDOWN_MARGIN_S: Final = 30.0
"""What Serve waits beyond the drain's own deadline before it kills the replica."""

FRONT_END_CPUS: Final = {Device.CPU: 0.1, Device.CUDA: 1.0, Device.SIMULATED: 0.1}
"""What the HTTP process reserves; without devices, slots and memory are the limit, not CPUs."""


class _UserConfig(BaseModel):
    aliases: tuple[str, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()


class ReplicaFailedError(ControlPlaneError):
    """The replica failed."""


def build(args: dict[str, str]) -> Application:
    """Return the application of one model; `args["model_spec"]` is the spec as JSON.

    Raises:
        TerminalError: the argument is missing or is no model spec.
    """
    spec = _spec(args.get("model_spec", ""))
    settings = ReplicaSettings()
    cpus = FRONT_END_CPUS[spec.device]
    deployment = serve.deployment(
        Replica,
        name=DEPLOYMENT,
        num_replicas=max(1, spec.scaling.min),
        user_config={
            ALIASES: list(spec.aliases),
            ADAPTERS: [asdict(adapter) for adapter in spec.adapters],
        },
        ray_actor_options={"num_cpus": cpus},
        placement_group_bundles=_bundles(spec, cpus),
        placement_group_strategy="PACK",
        health_check_period_s=HEALTH_CHECK_PERIOD_S,
        health_check_timeout_s=HEALTH_CHECK_TIMEOUT_S,
        graceful_shutdown_timeout_s=(
            settings.drain_grace_s + settings.drain_deadline_s + SHUTDOWN_MARGIN_S
        ),
    )
    return deployment.bind(args["model_spec"])


class Replica:
    """One replica as Serve sees it: starts in `__init__` and `reconfigure`, drains in `__del__`."""

    async def __init__(self, model_spec: str) -> None:  # type: ignore[misc]  # Serve awaits it
        """Prepare; Serve then calls `reconfigure`, which starts it and returns when it is ready."""
        keep_serve_log()
        self._stack = AsyncExitStack()
        self._service: ReplicaService = await self._stack.enter_async_context(
            _wired(_spec(model_spec))
        )
        self._life: asyncio.Task[None] | None = None

    async def reconfigure(self, user_config: dict[str, object]) -> None:
        """Take aliases and adapters, at the start and on every change, and wait until it is ready.

        Adapters that change later are loaded after this returns: Serve must not wait for them.

        Raises:
            ReplicaFailedError: it failed to start; the lease says why as well.
        """
        keep_serve_log()
        wanted = _UserConfig.model_validate(user_config)
        self._service.answer_to(wanted.aliases)
        self._service.want_adapters(wanted.adapters)
        if self._life is None:
            # Not before: the Rust front end keeps the aliases that it is started with.
            self._life = asyncio.create_task(  # tidy: allow orphan-task - `_end` awaits it
                self._service.run()
            )
        standing = await self._service.until_settled()
        if standing.state in {ReplicaState.STARTING, ReplicaState.FAILED}:
            await self._end()
            raise ReplicaFailedError(standing.reason)

    async def check_health(self) -> None:
        """Raise when the replica is no longer alive, so that Serve replaces it.

        Raises:
            ReplicaFailedError: the engine died, or the replica's service ended with an error.
        """
        standing = self._service.standing
        if standing.state is ReplicaState.FAILED:
            raise ReplicaFailedError(standing.reason)
        if self._life is not None and self._life.done():
            raise ReplicaFailedError("The replica's service ended; its log says why.")

    async def __del__(self) -> None:
        """Drain, then end; Serve awaits this before it ends the process."""
        if hasattr(self, "_life"):  # `__init__` may have failed
            self._service.ask_to_drain()
            await self._end()

    async def _end(self) -> None:
        try:
            if self._life is not None:
                await self._life
        finally:
            await self._stack.aclose()


def _wired(spec: ModelSpec) -> AbstractAsyncContextManager[ReplicaService]:
    from services.replica.wiring import SERVICE, wired

    settings = ReplicaSettings()
    configure_logging(SERVICE, level=settings.log_level)
    replica = replica_id(serve.get_replica_context().replica_id.unique_id)
    return wired(settings, spec, replica, _placement())


def _placement() -> Placement:
    from libs.engine.arguments import Executor
    from services.replica.adapters.vllm.host import Placement

    return Placement(
        executor=Executor.RAY,
        ray_address=ray.get_runtime_context().gcs_address,
        placement_group=ray.util.get_current_placement_group(),
    )


def _bundles(spec: ModelSpec, cpus: float) -> list[dict[str, float]]:
    return [{"CPU": cpus}, *({"GPU": 1.0} for _ in range(spec.engine.tensor_parallel_size))]


def _spec(text: str) -> ModelSpec:
    record = decode_record(text.encode())
    if not isinstance(record, ModelSpec):
        raise TerminalError("The argument model_spec is no model spec.", schema=record.schema)
    return record
