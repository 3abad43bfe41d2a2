"""Builds one replica out of its parts."""

from __future__ import annotations

import os
import secrets
import tempfile
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

from opentelemetry.trace import Tracer

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.settings import BusSettings, read_credentials
from libs.clock import Clock, SystemClock
from libs.contracts.ids import EventId, Incarnation, ReplicaId
from libs.contracts.model_spec import ModelSpec
from libs.engine.engine_folder import engine_folder
from libs.telemetry.settings import otel_environment
from libs.telemetry.tracing import ServiceTracerProvider, configure_tracing
from services.replica.adapters.http.door import HttpDoor
from services.replica.adapters.http.middleware import ReplicaMiddleware
from services.replica.adapters.http.missing_routes import shape_missing_routes
from services.replica.adapters.http.server import serving
from services.replica.adapters.loop_guard import guarded_loop
from services.replica.adapters.vllm.host import Launch, Placement, VllmEngine, running_engine
from services.replica.domain.statements import Identity
from services.replica.domain.work import WorkLimits
from services.replica.doors import ReplicaDoor
from services.replica.service import DrainLimits, ReplicaService, Surroundings
from services.replica.settings import ReplicaSettings
from services.replica.sockets import FrontEndSocket, TcpSocket, UnixSocket

SERVICE = "replica"


class ReplicaHost:
    """The engine behind its front ends: the service's `Host`."""

    def __init__(self, launch: Launch, *, server_name: str, limits: WorkLimits) -> None:
        """Take the parts; nothing starts before `running`."""
        self._launch = launch
        self._server_name = server_name
        self._limits = limits

    @asynccontextmanager
    async def running(
        self, aliases: tuple[str, ...]
    ) -> AsyncIterator[tuple[VllmEngine, ReplicaDoor]]:
        """Run engine and front ends while the body runs."""
        spec = replace(self._launch.spec, aliases=aliases)
        async with running_engine(replace(self._launch, spec=spec)) as (engine, app):
            shape_missing_routes(app.router)
            door = HttpDoor()
            guarded = ReplicaMiddleware(
                app,
                door=door,
                tracer=self._launch.tracer,
                limits=self._limits,
                rust=engine.rust,
            )
            async with serving(guarded, self._launch.python_at, server_name=self._server_name):
                try:
                    yield engine, ReplicaDoor(door, engine.rust)
                finally:
                    # Before the Python application, which gives its last requests some time too.
                    if engine.rust is not None:
                        await engine.rust.cut()


@asynccontextmanager
async def wired(
    settings: ReplicaSettings, spec: ModelSpec, replica: ReplicaId, placement: Placement
) -> AsyncIterator[ReplicaService]:
    """Build a replica; the body runs it. The bus need not be there.

    Raises:
        UsageError: the path of the folder for sockets is too long.
    """
    clock = SystemClock()
    who = _identity(spec, replica, clock)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(guarded_loop())
        folder = stack.enter_context(engine_folder(_base(settings), who.incarnation))
        bus = await stack.enter_async_context(connect(_bus_settings(settings, who), wait=False))
        provider = _tracing(settings, who, stack)
        tracer = provider.get_tracer("services.replica")
        launch = Launch(
            spec=spec,
            models_dir=settings.models_dir,
            placement=placement,
            tracer=tracer,
            rust_at=_socket(settings, folder / "rust.sock", stack),
            python_at=_socket(settings, folder / "python.sock", stack),
            record=provider.recorder("services.replica"),
            folder=folder,
            drain_timeout_s=settings.drain_deadline_s,
        )
        service = ReplicaService(
            who,
            ReplicaHost(launch, server_name=server_name(who), limits=settings.work_limits),
            limits=DrainLimits(
                grace_s=settings.drain_grace_s, deadline_s=settings.drain_deadline_s
            ),
            world=_world(bus, clock, tracer),
        )
        service.answer_to(spec.aliases)
        service.want_adapters(spec.adapters)
        yield service


def server_name(who: Identity) -> str:
    """Name this start of the replica as HAProxy does."""
    return f"{who.replica_id}.{who.incarnation}"


def _identity(spec: ModelSpec, replica: ReplicaId, clock: Clock) -> Identity:
    return Identity(
        replica_id=replica,
        incarnation=Incarnation(secrets.token_hex(4)),
        model=spec.name,
        device=spec.device.value,
        max_num_seqs=spec.engine.max_num_seqs,
        pid=os.getpid(),
        started_at=clock.now(),
    )


def _bus_settings(settings: ReplicaSettings, who: Identity) -> BusSettings:
    credentials = read_credentials(settings.nats_credentials_file)
    return BusSettings(credentials=credentials, name=f"{SERVICE}-{server_name(who)}")


def _tracing(
    settings: ReplicaSettings, who: Identity, stack: AsyncExitStack
) -> ServiceTracerProvider:
    provider = configure_tracing(
        SERVICE,
        settings.traces_dir,
        otel_environment(),
        instance_id=server_name(who),
        ratio=settings.trace_ratio,
    )
    stack.callback(provider.shutdown)
    return provider


def _base(settings: ReplicaSettings) -> Path:
    """Return where this replica makes its folder."""
    return settings.sockets_dir or Path(tempfile.gettempdir())


def _socket(settings: ReplicaSettings, path: Path, stack: AsyncExitStack) -> FrontEndSocket:
    """Bind where one front end listens: beside the edge on a unix socket, else on a port."""
    at: FrontEndSocket
    if settings.sockets_dir is None:
        at = TcpSocket(listen_host=settings.listen_host, advertise_host=settings.advertise_host)
    else:
        at = UnixSocket(path)
    stack.callback(at.close)
    return at


def _world(bus: NatsBus, clock: Clock, tracer: Tracer) -> Surroundings:
    return Surroundings(store=bus, bus=bus, clock=clock, tracer=tracer, new_event_id=_new_event_id)


def _new_event_id() -> EventId:
    return EventId(uuid.uuid4().hex)
