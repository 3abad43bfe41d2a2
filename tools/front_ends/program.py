"""vLLM's two front ends over one engine core: the program behind `libs.testing.two_front_ends`.

Its argument is a JSON list of vLLM's arguments. It starts them with the replica's own code, but
puts nothing of the replica around vLLM's application. Its first line says where both listen; it
ends when its standard input ends.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from argparse import Namespace
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import IO, Final

import vllm

from libs.engine.engine_folder import FOLDER_VARIABLE
from libs.engine.rust_front_end import Missing, find_program
from libs.testing.two_front_ends import FrontEnds
from services.replica.adapters.http.server import serving
from services.replica.adapters.vllm.engine_core import (
    CLIENTS,
    Started,
    engine_config,
    start_engine,
)
from services.replica.adapters.vllm.engine_start import shut_down, start_beside
from services.replica.adapters.vllm.host import application, parse_arguments
from services.replica.adapters.vllm.rust_program import RustPlan
from services.replica.sockets import TcpSocket

_SERVER_NAME: Final = "front-ends"
_LOOPBACK: Final = "127.0.0.1"
_DRAIN_TIMEOUT_S: Final = 1.0


async def _run(words: list[str], hello: IO[str]) -> None:
    arguments = parse_arguments(words)
    rust_at, python_at = (
        TcpSocket(listen_host=_LOOPBACK, advertise_host=_LOOPBACK) for _ in range(CLIENTS)
    )
    started = await start_beside(partial(_start, arguments, rust_at))
    try:
        app = await application(started.llm, arguments)
        async with serving(app, python_at, server_name=_SERVER_NAME):
            urls = FrontEnds(rust=f"http://{rust_at.address}", python=f"http://{python_at.address}")
            hello.write(json.dumps(asdict(urls)) + "\n")
            hello.flush()
            await asyncio.to_thread(sys.stdin.read)
    finally:
        await shut_down(started)


def _start(arguments: Namespace, rust_at: TcpSocket) -> Started:
    plan = RustPlan(
        program=_program(),
        at=rust_at,
        folder=Path(os.environ[FOLDER_VARIABLE]),
        drain_timeout_s=_DRAIN_TIMEOUT_S,
    )
    return start_engine(engine_config(arguments, clients=CLIENTS), arguments, plan)


def _program() -> Path:
    found = find_program(vllm.__version__)
    if isinstance(found, Missing):
        raise SystemExit(found.reason)
    return found


def main() -> None:
    """Keep the first line apart from what vLLM prints."""
    with os.fdopen(os.dup(1), "w") as hello:
        os.dup2(2, 1)
        asyncio.run(_run(json.loads(sys.argv[1]), hello))


if __name__ == "__main__":
    main()
