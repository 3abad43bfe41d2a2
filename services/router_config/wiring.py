"""Builds router-config from its settings, and closes everything in the reverse order."""

from __future__ import annotations

import asyncio
import os
import resource
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Never

from opentelemetry.sdk.trace import TracerProvider
from prometheus_client import CollectorRegistry, ProcessCollector

from libs.bus.nats_bus import NatsBus, connect
from libs.bus.settings import BusSettings, read_credentials
from libs.clock import Clock, SystemClock
from libs.contracts.ids import EdgeId, EventId
from libs.errors import UsageError
from libs.haproxy.binary import find_haproxy
from libs.haproxy.body_reader import READER_FILE, render_reader
from libs.haproxy.client import HaproxyClient
from libs.haproxy.config import EdgeConfig, connections_inside
from libs.haproxy.hold import HoldLimits
from libs.telemetry.logging import get_logger
from services.router_config.adapters.haproxy.certificate import (
    CertificateFile,
    forget_certificate,
)
from services.router_config.adapters.haproxy.edge import HaproxyEdge
from services.router_config.adapters.haproxy.files import StateFiles
from services.router_config.adapters.haproxy.program import HaproxyProgram, Launch
from services.router_config.adapters.haproxy.whole_file import replace_file
from services.router_config.adapters.prometheus.server import MetricsServer
from services.router_config.adapters.spans.codec import EdgeIdentity
from services.router_config.adapters.spans.front_end_names import FrontEndNames
from services.router_config.adapters.spans.receiver import SpanReceiver
from services.router_config.adapters.spans.sink import span_sink
from services.router_config.certificate import CertificateWatch
from services.router_config.gauges import StandingCollector
from services.router_config.metrics import MeteredEdge, Meters
from services.router_config.outbox import Outbox
from services.router_config.ports import Certificate
from services.router_config.protection import require_protection
from services.router_config.recorder import Recorder
from services.router_config.reporter import Reporter
from services.router_config.service import Pace, Peers, RouterConfig
from services.router_config.settings import RouterConfigSettings
from services.router_config.views import BusViews
from services.router_config.weigher import Weigher

_SPARE_FILES: Final = 256

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class Stop:
    """A wish to end router-config.

    Attributes:
        takes_haproxy: HAProxy ends as well, whatever the settings say.
    """

    asked: asyncio.Event = field(default_factory=asyncio.Event)
    takes_haproxy: bool = False

    def ask(self) -> None:
        """End router-config; whether HAProxy ends with it is for `own_haproxy` to say."""
        self.asked.set()

    def ask_for_both(self) -> None:
        """End router-config and its HAProxy."""
        self.takes_haproxy = True
        self.asked.set()


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterConfigApp:
    """Everything that runs, and the program that it looks after."""

    service: RouterConfig
    outbox: Outbox
    reporter: Reporter
    weigher: Weigher
    metrics: MetricsServer
    spans: SpanReceiver
    program: HaproxyProgram
    settings: RouterConfigSettings

    async def run(self, stop: Stop) -> None:
        """Bring HAProxy up and look after it until a stop is asked for.

        Raises:
            UsageError: HAProxy cannot run with these settings.
            TransientError: HAProxy did not come up.
        """
        await self.service.bring_up()
        async with asyncio.TaskGroup() as tasks:
            loops = [
                tasks.create_task(self.service.run()),
                tasks.create_task(self.outbox.deliver()),
                tasks.create_task(self.reporter.report_status(every_s=self.settings.status_s)),
                tasks.create_task(self.reporter.report_demand(every_s=self.settings.demand_s)),
                tasks.create_task(self.spans.keep_open(every_s=self.settings.resync_s)),
                tasks.create_task(self.weigher.follow()),
                tasks.create_task(self.weigher.adjust_for_ever(every_s=self.settings.weigh_s)),
            ]
            await stop.asked.wait()
            for loop in loops:
                loop.cancel()
        if self.settings.own_haproxy or stop.takes_haproxy:
            await self.program.stop(timeout_s=self.settings.stop_timeout_s)


@asynccontextmanager
async def wire(
    settings: RouterConfigSettings, provider: TracerProvider
) -> AsyncIterator[RouterConfigApp]:
    """Build the whole service.

    Raises:
        UsageError: a setting names something that is not there or too old.
    """
    binary = find_haproxy(settings.haproxy_binary)
    credentials = read_credentials(settings.nats_credentials_file)
    settings.run_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    bus_settings = BusSettings(credentials=credentials, name=f"router-config-{settings.edge_id}")
    async with connect(bus_settings, wait=False) as bus:
        files = StateFiles(settings.state_dir, pools_per_kind=settings.pools_per_kind)
        await require_protection(bus, settings.listener, admitted=files.admits_tenants())
        files.prepare(edge_config(settings))
        client = HaproxyClient(settings.admin_socket, timeout_s=settings.command_timeout_s)
        program = HaproxyProgram(launch_of(settings, binary.path), client)
        local = _Local(client=client, program=program, files=files)
        app = _app(settings, bus, provider, local)
        app.spans.open()
        app.metrics.open()
        _log.info("router_config_starting", **settings.model_dump(mode="json"))
        try:
            yield app
        finally:
            app.metrics.close()
            app.spans.close()
            program.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Local:
    """What belongs to this machine's HAProxy."""

    client: HaproxyClient
    program: HaproxyProgram
    files: StateFiles


def _app(
    settings: RouterConfigSettings, bus: NatsBus, provider: TracerProvider, local: _Local
) -> RouterConfigApp:
    clock = SystemClock()
    edge_name = EdgeId(settings.edge_id)
    outbox = Outbox(bus, bus)
    registry = CollectorRegistry()
    meters = Meters(registry)
    peers = Peers(
        edge=MeteredEdge(_edge(local, clock), meters),
        program=local.program,
        memory=local.files,
        recorder=Recorder(
            provider.get_tracer("sluice.router_config"),
            outbox,
            edge_id=edge_name,
            new_event_id=lambda: EventId(uuid.uuid4().hex),
            meters=meters,
        ),
        certificate=CertificateWatch(_certificate(settings, local.client), local.program),
    )
    service = RouterConfig(
        peers,
        lambda wake: BusViews(bus, wake, settings.homes),
        pace=_pace(settings),
        clock=clock,
    )
    return RouterConfigApp(
        service=service,
        outbox=outbox,
        reporter=Reporter(service, outbox, edge_id=edge_name, clock=clock),
        weigher=Weigher(service, peers.edge, events=bus, clock=clock),
        metrics=_metrics_server(registry, service, port=settings.metrics_port),
        spans=_spans(settings, provider, service),
        program=local.program,
        settings=settings,
    )


def _spans(
    settings: RouterConfigSettings, provider: TracerProvider, service: RouterConfig
) -> SpanReceiver:
    identity = _identity(settings)
    return SpanReceiver(
        settings.span_socket,
        identity,
        span_sink(provider, identity),
        front_end_of=FrontEndNames(lambda: service.standing().known.leases).of,
        on_hold=service.look_again,
    )


def _edge(local: _Local, clock: Clock) -> HaproxyEdge:
    return HaproxyEdge(
        local.client,
        addresses=local.files.addresses(),
        now=clock.monotonic,
    )


def _certificate(settings: RouterConfigSettings, client: HaproxyClient) -> Certificate | None:
    """Make ready what HAProxy's start needs for TLS, or remove what an earlier one left."""
    if settings.tls_certificate_file is None:
        forget_certificate(settings.state_dir)
        return None
    file = CertificateFile(settings.tls_certificate_file, settings.state_dir, client)
    file.prepare()
    return file


def _metrics_server(
    registry: CollectorRegistry, service: RouterConfig, *, port: int
) -> MetricsServer:
    ProcessCollector(registry=registry)
    registry.register(StandingCollector(service))
    return MetricsServer(registry, lambda: service.standing().known.leases, port=port)


def _identity(settings: RouterConfigSettings) -> EdgeIdentity:
    return EdgeIdentity(edge_id=settings.edge_id, host=settings.api_host, port=settings.api_port)


def _pace(settings: RouterConfigSettings) -> Pace:
    return Pace(
        resync_s=settings.resync_s,
        drain_poll_s=settings.drain_poll_s,
        grace_s=settings.lease_grace_s,
        drain_timeout_s=settings.drain_timeout_s,
    )


def launch_of(settings: RouterConfigSettings, binary: Path) -> Launch:
    """Return how this edge's HAProxy is started."""
    return Launch(
        binary=binary,
        state_dir=settings.state_dir,
        admin_socket=settings.admin_socket,
        pid_file=settings.run_dir / "haproxy.pid",
        log_file=settings.log_file or settings.state_dir / "haproxy.log",
        api=(settings.api_host, settings.api_port),
        start_timeout_s=settings.start_timeout_s,
        environment=settings.haproxy_environment,
    )


def edge_config(settings: RouterConfigSettings) -> EdgeConfig:
    """Return what HAProxy's configuration depends on."""
    return EdgeConfig(
        admin_socket=settings.admin_socket,
        span_socket=settings.span_socket,
        host=settings.api_host,
        port=settings.api_port,
        encrypted=settings.tls_certificate_file is not None,
        stats_port=settings.stats_port or None,
        threads=settings.threads,
        connections_max=connections_within(
            settings.connections_max,
            files_max=_files_max(),
            inside=connections_inside(settings.large_bodies_max, settings.huge_bodies_max),
        ),
        connections_per_address_max=settings.connections_per_address_max,
        queue_timeout_s=settings.queue_timeout_s,
        holds=_hold_limits(settings),
        response_timeout_s=settings.response_timeout_s,
        request_timeout_s=settings.request_timeout_s,
        body_timeout_s=settings.body_timeout_s,
        client_timeout_s=settings.client_timeout_s,
        body_bytes_max=settings.body_bytes_max,
        large_bodies_max=settings.large_bodies_max,
        huge_bodies_max=settings.huge_bodies_max,
        prefix_bytes=settings.prefix_bytes,
        trace_ratio=settings.trace_ratio,
        prefix_cache_by_tenant=settings.prefix_cache_by_tenant,
    )


def _hold_limits(settings: RouterConfigSettings) -> HoldLimits | None:
    if settings.hold_timeout_s == 0:
        return None
    return HoldLimits(
        timeout_s=settings.hold_timeout_s,
        pool_max=settings.holds_per_model_max,
        all_max=settings.holds_max,
        large_max=settings.large_bodies_max // 2,
    )


def become_body_reader(settings: RouterConfigSettings) -> Never:
    """Write the body reader's configuration, and go on as its HAProxy.

    Raises:
        UsageError: there is no HAProxy that is new enough, or nothing that it could start from.
    """
    binary = find_haproxy(settings.haproxy_binary).path
    file = settings.state_dir / READER_FILE
    try:
        for folder in (settings.state_dir, settings.run_dir):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        replace_file(file, render_reader(edge_config(settings)).encode())
    except OSError as error:
        # The configuration of the last start serves as well, and a disk may stay full for long.
        if not file.exists():
            raise UsageError(f"{file}: {error.strerror}") from error
        _log.error("state_file_not_written", file=READER_FILE, reason=error.strerror)
    arguments = ["-db", "-C", str(settings.state_dir), "-f", READER_FILE]
    os.execv(binary, [str(binary), *arguments])  # noqa: S606 - a list of ours, and no shell


def connections_within(wanted: int, *, files_max: int, inside: int) -> int:
    """Return as many connections as open files allow: each needs one on either side.

    `inside` are those that are no client's and come on top.
    """
    return max(16, min(wanted, (files_max - _SPARE_FILES) // 2 - inside))


def _files_max() -> int:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    return 1_000_000_000 if hard == resource.RLIM_INFINITY else hard
