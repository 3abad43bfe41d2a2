"""`python -m services.autoscaler`: runs until SIGTERM or SIGINT; exit code 2 is a wrong setting."""

from __future__ import annotations

import asyncio
import signal
import sys

from pydantic import ValidationError

from libs.errors import UsageError
from libs.telemetry.logging import configure_logging, get_logger
from libs.telemetry.settings import otel_environment
from libs.telemetry.tracing import configure_tracing
from services.autoscaler.recorder import SOURCE
from services.autoscaler.settings import AutoscalerSettings
from services.autoscaler.wiring import wired


async def run(settings: AutoscalerSettings) -> None:
    """Run until a signal."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with wired(settings) as autoscaler:
        await autoscaler.run(stop)


def main() -> int:
    """Read the settings, set up logs and traces, run."""
    try:
        settings = AutoscalerSettings()
        configure_logging(SOURCE, level=settings.log_level)
        get_logger(__name__).info("starting", settings=settings.model_dump(mode="json"))
        tracing = configure_tracing(
            SOURCE, settings.traces_dir, otel_environment(), ratio=settings.trace_ratio
        )
        asyncio.run(run(settings))
        tracing.shutdown()
    except (ValidationError, UsageError) as exc:
        sys.stderr.write(f"{exc}\n")
        return UsageError.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
