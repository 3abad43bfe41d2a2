"""Builds one replica out of its parts and runs it."""

from __future__ import annotations

import os
import secrets
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from opentelemetry import trace
from opentelemetry.trace import Tracer

from libs.bus.nats_bus import connect
from libs.bus.settings import BusSettings, read_credentials
from libs.clock import SystemClock
from libs.contracts.ids import EventId, Incarnation, ReplicaId
from libs.contracts.lease import Endpoint
from libs.contracts.model_spec import ModelSpec
from libs.engine.memory import check_memory
from libs.engine.sources import resolve_source
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware
from services.replica.adapters.http.server import ReplicaPort
from services.replica.adapters.vllm.host import Placement, VllmEngine, running_engine
from services.replica.domain.statements import Identity
from services.replica.service import DrainLimits, ReplicaService, Surroundings
from services.replica.settings import ReplicaSettings


class ReplicaHost:
    """The engine behind its HTTP port: the service's `Host`."""

    def __init__(
        self,
        spec: ModelSpec,
        identity: Identity,
        *,
        port: ReplicaPort,
        placement: Placement,
        models_dir: Path,
        tracer: Tracer,
    ) -> None:
        """Take the parts; nothing starts before `running`."""
        self._spec = spec
        self._server_name = f"{identity.replica_id}.{identity.incarnation}"
        self._port = port
        self._placement = placement
        self._models_dir = models_dir
        self._tracer = tracer

    @property
    def endpoint(self) -> Endpoint:
        """Where the port is, or will be once it is open."""
        return self._port.endpoint

    @asynccontextmanager
    async def running(self) -> AsyncIterator[tuple[VllmEngine, HttpDoor]]:
        """Run engine and port while the body runs."""
        source = resolve_source(self._spec.source, models_dir=self._models_dir)
        check_memory(self._spec, source)
        async with AsyncExitStack() as stack:
            engine, app = await stack.enter_async_context(
                running_engine(self._spec, source, self._placement, self._tracer)
            )
            door = HttpDoor()
            guarded = ReplicaMiddleware(app, door=door, tracer=self._tracer)
            await stack.enter_async_context(
                self._port.serving(guarded, server_name=self._server_name)
            )
            yield engine, door


@asynccontextmanager
async def wired(
    settings: ReplicaSettings, spec: ModelSpec, replica: ReplicaId, placement: Placement
) -> AsyncIterator[ReplicaService]:
    """Build a replica; the body runs it."""
    async with AsyncExitStack() as stack:
        credentials = read_credentials(settings.nats_credentials_file)
        bus_settings = BusSettings(credentials=credentials, name=f"replica-{replica}")
        bus = await stack.enter_async_context(connect(bus_settings, wait=False))
        tracer = trace.get_tracer("services.replica")
        port = ReplicaPort(listen_host=settings.listen_host, advertise_host=settings.advertise_host)
        stack.callback(port.close)
        clock = SystemClock()
        identity = _identity(spec, replica, started_at=clock.now())
        host = ReplicaHost(
            spec,
            identity,
            port=port,
            placement=placement,
            models_dir=settings.models_dir,
            tracer=tracer,
        )
        limits = DrainLimits(grace_s=settings.drain_grace_s, deadline_s=settings.drain_deadline_s)
        world = Surroundings(
            store=bus, bus=bus, clock=clock, tracer=tracer, new_event_id=_new_event_id
        )
        yield ReplicaService(identity, host, limits=limits, world=world)


def _identity(spec: ModelSpec, replica: ReplicaId, *, started_at: float) -> Identity:
    return Identity(
        replica_id=replica,
        incarnation=Incarnation(secrets.token_hex(4)),
        model=spec.name,
        device=spec.device.value,
        max_num_seqs=spec.engine.max_num_seqs,
        pid=os.getpid(),
        started_at=started_at,
    )


def _new_event_id() -> EventId:
    return EventId(uuid.uuid4().hex)
