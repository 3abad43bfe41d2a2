"""Builds the autoscaler from its settings and closes everything in reverse order."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from libs.bus.leadership import Leadership
from libs.bus.nats_bus import connect
from libs.bus.settings import BusSettings, read_credentials
from libs.clock import SystemClock
from libs.errors import UsageError
from libs.telemetry.tracing import default_instance_id
from services.autoscaler.adapters.ray_serve.client import ServeLimits, open_client
from services.autoscaler.listener import DemandListener
from services.autoscaler.recorder import SOURCE, Recorder
from services.autoscaler.service import Autoscaler, Peers
from services.autoscaler.settings import AutoscalerSettings


@asynccontextmanager
async def wired(settings: AutoscalerSettings) -> AsyncIterator[Autoscaler]:
    """Open the bus and the Ray dashboard's client; neither has to answer for this to succeed.

    Raises:
        UsageError: a file that the settings name cannot be read.
    """
    clock = SystemClock()
    bus_settings = BusSettings(
        credentials=read_credentials(settings.nats_credentials_file), name=SOURCE
    )
    limits = ServeLimits(
        request_timeout_s=settings.request_timeout_s, deploy_timeout_s=settings.deploy_timeout_s
    )
    token = _token(settings.ray_token_file)
    async with AsyncExitStack() as stack:
        bus = await stack.enter_async_context(connect(bus_settings, clock=clock, wait=False))
        applications = await stack.enter_async_context(
            open_client(settings.ray_dashboard_url, token=token, limits=limits)
        )
        peers = Peers(
            store=bus,
            demand=DemandListener(bus, clock),
            applications=applications,
            recorder=Recorder(bus, bus, clock),
            leadership=Leadership(bus, clock, service=SOURCE, holder=default_instance_id()),
            clock=clock,
        )
        yield Autoscaler(peers, import_path=settings.import_path, resync_s=settings.resync_s)


def _token(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        return path.read_text().strip()
    except OSError as exc:
        raise UsageError(f"Cannot read Ray's token {path}: {exc.strerror}.") from exc
