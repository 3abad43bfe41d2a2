"""Runs router-config: `python -m services.router_config`.

`... check` checks its settings; `... reader` runs the body reader beside its HAProxy.
"""

from __future__ import annotations

import asyncio
import signal
import sys

import uvloop
from pydantic import ValidationError

from libs.errors import ControlPlaneError, UsageError
from libs.haproxy.binary import find_haproxy
from libs.telemetry.logging import configure_logging
from libs.telemetry.settings import otel_environment
from libs.telemetry.tracing import configure_tracing
from services.router_config.settings import RouterConfigSettings
from services.router_config.wiring import Stop, become_body_reader, wire


def main() -> int:
    """Run until SIGTERM or SIGINT and return the exit code: 2 where a person must act."""
    try:
        settings = read_settings()
        configure_logging("router-config", level=settings.log_level)
        if sys.argv[1:] == ["check"]:
            find_haproxy(settings.haproxy_binary)
            return 0
        if sys.argv[1:] == ["reader"]:
            become_body_reader(settings)
        # Half the cost of asyncio's own loop for each line of the span log.
        uvloop.run(_run(settings))
    except UsageError as error:
        sys.stderr.write(f"router-config: {error}\n")
        return UsageError.exit_code
    except ControlPlaneError as error:
        sys.stderr.write(f"router-config: {error}\n")
        return 1
    return 0


def read_settings() -> RouterConfigSettings:
    """Read the environment.

    Raises:
        UsageError: a setting is missing or wrong; the message lists all of them.
    """
    try:
        return RouterConfigSettings()
    except ValidationError as exc:
        problems = (f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise UsageError("SLUICE_ROUTER_CONFIG_: " + "; ".join(problems)) from exc


async def _run(settings: RouterConfigSettings) -> None:
    stop = Stop()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.ask)
    loop.add_signal_handler(signal.SIGINT, stop.ask_for_both)
    provider = configure_tracing(
        "router-config", settings.traces_dir, otel_environment(), instance_id=settings.edge_id
    )
    try:
        async with wire(settings, provider) as app:
            await app.run(stop)
    finally:
        provider.shutdown()


if __name__ == "__main__":
    sys.exit(main())
