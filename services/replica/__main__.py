"""Runs one replica without Ray Serve, its workers as processes: for development.

    python -m services.replica --model-spec '{"name": "smollm2", "source": "builtin:..."}'

Settings are those of every replica; SIGTERM and SIGINT drain it.
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import signal
import sys

from pydantic import TypeAdapter, ValidationError

from libs.contracts.ids import ReplicaId
from libs.contracts.lease import ReplicaState
from libs.contracts.model_spec import ModelSpec
from libs.engine.arguments import Executor
from libs.errors import UsageError
from libs.telemetry.logging import configure_logging
from services.replica.adapters.vllm.host import Placement
from services.replica.settings import ReplicaSettings
from services.replica.wiring import SERVICE, wired


async def run(settings: ReplicaSettings, spec: ModelSpec) -> int:
    """Live until a signal asks to drain or the engine fails; returns the exit code."""
    replica = ReplicaId(f"dev-{secrets.token_hex(3)}")
    placement = Placement(executor=Executor.MULTIPROCESSING)
    async with wired(settings, spec, replica, placement) as service:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.ask_to_drain)
        await service.run()
        return 1 if service.standing.state is ReplicaState.FAILED else 0


def main() -> int:
    """Read arguments and settings, and run."""
    parser = argparse.ArgumentParser(prog="python -m services.replica")
    parser.add_argument("--model-spec", required=True, help="the model spec as JSON")
    try:
        spec = TypeAdapter(ModelSpec).validate_json(parser.parse_args().model_spec)
        settings = ReplicaSettings()
        configure_logging(SERVICE, level=settings.log_level)
        return asyncio.run(run(settings, spec))
    except (ValidationError, UsageError) as exc:
        sys.stderr.write(f"{exc}\n")
        return UsageError.exit_code


if __name__ == "__main__":
    sys.exit(main())
