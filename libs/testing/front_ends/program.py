"""vLLM's two front ends over one engine core: the program behind `two_front_ends`.

Its argument is a JSON list of vLLM's arguments. Client 0 is the Rust program, client 1 vLLM's
Python application in this process, in the order of vLLM 0.32's own `serve` command. Its first line
says where both listen; it ends when its standard input ends.

Source: vllm/entrypoints/cli/serve.py, run_multi_api_server.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
import threading
from argparse import Namespace
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import wait
from typing import IO, Any

import uvicorn
import vllm
import zmq
from vllm.config import VllmConfig
from vllm.engine.arg_utils import AsyncEngineArgs
from vllm.entrypoints.launchers.api_server.app_state import init_app_state
from vllm.entrypoints.launchers.app import build_app
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.usage.usage_lib import UsageContext
from vllm.utils.argparse_utils import FlexibleArgumentParser
from vllm.v1.engine.async_llm import AsyncLLM
from vllm.v1.engine.core import EngineCoreProc
from vllm.v1.engine.utils import (
    EngineZmqListeners,
    bind_engine_zmq_listeners,
    launch_core_engines,
)
from vllm.v1.executor import Executor
from vllm.v1.utils import RustFrontendProcessManager

from libs.engine.rust_front_end import Missing, find_program
from libs.testing.two_front_ends import FrontEnds


@dataclass(frozen=True, slots=True, kw_only=True)
class _Started:
    llm: AsyncLLM
    rust: RustFrontendProcessManager
    rust_url: str
    engines: Any
    arguments: Namespace


async def _run(words: list[str], hello: IO[str]) -> None:
    started = await asyncio.to_thread(_start, words)
    try:
        async with _python_application(started) as python_url:
            said = FrontEnds(
                rust=started.rust_url,
                python=python_url,
                rust_pid=started.rust.processes[0].pid,
                python_pid=os.getpid(),
                engine_pid=started.engines.processes[0].pid,
            )
            hello.write(json.dumps(asdict(said)) + "\n")
            hello.flush()
            await asyncio.to_thread(sys.stdin.read)
    finally:
        started.rust.shutdown(timeout=0.0)
        started.llm.shutdown(1.0)
        started.engines.shutdown(timeout=1.0)


def _start(words: list[str]) -> _Started:

    arguments = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
    engine_arguments = AsyncEngineArgs.from_cli_args(arguments)
    engine_arguments._api_process_count = 2  # noqa: SLF001 - as vLLM's own `serve` does
    engine_arguments._api_process_rank = -1  # noqa: SLF001
    config = engine_arguments.create_engine_config(UsageContext.OPENAI_API_SERVER)
    listeners = bind_engine_zmq_listeners(config, 2)
    executor = Executor.get_class(config)
    with launch_core_engines(
        config, executor, log_stats=True, addresses=listeners.addresses
    ) as launch:
        rust, rust_url = _start_rust(arguments, listeners)
        launch.watched_frontend_processes = rust.processes
    engines = launch.engine_manager
    _announce_death(engines.processes[0].sentinel, listeners.addresses.outputs)
    return _Started(
        llm=_python_client(config, listeners),
        rust=rust,
        rust_url=rust_url,
        engines=engines,
        arguments=arguments,
    )


def _start_rust(
    arguments: Namespace, listeners: EngineZmqListeners
) -> tuple[RustFrontendProcessManager, str]:
    """Start the Rust program as client 0; gives it and its URL."""
    listener = _listener()
    url = _url(listener)
    rust = RustFrontendProcessManager(
        binary_path=_program(),
        sock=listener,
        args=arguments,
        input_listener=listeners.inputs[0],
        output_listener=listeners.outputs[0],
        engine_start_index=0,
        engine_count=1,
        data_parallel_size=1,
    )
    # A copy that stays open here would go on taking connections after the program has stopped.
    listener.close()
    return rust, url


def _python_client(config: VllmConfig, listeners: EngineZmqListeners) -> AsyncLLM:
    """Connect vLLM's Python client as client 1."""
    return AsyncLLM(
        vllm_config=config,
        executor_class=Executor.get_class(config),
        log_stats=True,
        client_addresses={
            "input_address": listeners.addresses.inputs[1],
            "output_address": listeners.addresses.outputs[1],
            "input_listener": listeners.inputs[1].socket,
            "output_listener": listeners.outputs[1].socket,
        },
        client_count=2,
        client_index=1,
    )


def _announce_death(sentinel: int, outputs: Sequence[str]) -> None:
    """Tell both front ends when the engine core ends, however it does.

    An engine core that ends by an exception says so itself; one that is killed cannot, and neither
    front end would notice. The message is the engine core's own.
    """

    def watch() -> None:

        wait([sentinel])
        for address in outputs:
            push: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
            push.connect(address)
            push.send(EngineCoreProc.ENGINE_CORE_DEAD)
            push.close()

    threading.Thread(target=watch, name="engine-death", daemon=True).start()


@asynccontextmanager
async def _python_application(started: _Started) -> AsyncIterator[str]:
    """Serve vLLM's own application while the body runs; gives its URL."""
    llm = started.llm
    await llm.reset_mm_cache()
    tasks = await llm.get_supported_tasks()
    app = build_app(started.arguments, tasks, llm.model_config)
    await init_app_state(llm, app.state, started.arguments, tasks)
    listener = _listener()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    # What vLLM's own server does when the engine is dead: its handler ends the server through this.
    app.state.server = server
    async with asyncio.TaskGroup() as serving:
        serving.create_task(server.serve(sockets=[listener]))
        try:
            yield _url(listener)
        finally:
            server.should_exit = server.force_exit = True


def _listener() -> socket.socket:
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(128)
    return listener


def _url(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _program() -> str:

    found = find_program(vllm.__version__)
    if isinstance(found, Missing):
        raise SystemExit(found.reason)
    return str(found)


def main() -> None:
    """Keep the first line apart from what vLLM prints."""
    with os.fdopen(os.dup(1), "w") as hello:
        os.dup2(2, 1)
        asyncio.run(_run(json.loads(sys.argv[1]), hello))


if __name__ == "__main__":
    main()
