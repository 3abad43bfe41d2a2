"""Starts vLLM's engine core with its clients: AsyncLLM here, and the Rust program beside it.

With the Rust program the engine core is launched as vLLM's own `serve` command launches it for
several front ends; the program is client 0, AsyncLLM is client 1. Everything here blocks.

Source: vLLM 0.32, vllm/entrypoints/cli/serve.py, run_multi_api_server.
"""

from __future__ import annotations

import threading
from argparse import Namespace
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any, Final

import zmq

from libs.contracts.lease import FrontEnd
from services.replica.adapters.vllm.rust_program import (
    RustPlan,
    RustProgram,
    RustProgramError,
    died,
    launch_program,
)

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.v1.engine.async_llm import AsyncLLM

CLIENTS: Final = 2
RUST_CLIENT: Final = 0
PYTHON_CLIENT: Final = 1

FRONT_ENDS: Final = {RUST_CLIENT: FrontEnd.RUST, PYTHON_CLIENT: FrontEnd.PYTHON}
"""Which front end an engine core with both knows by which number."""

PYTHON_ALONE: Final = {0: FrontEnd.PYTHON}

_ANNOUNCED_WITHIN_MS: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """A running engine core and its clients; `rust` is None where Python serves alone.

    Attributes:
        listeners: what the engine core's messages come in on; vLLM removes them from the file
            system as soon as nothing refers to them.
    """

    llm: AsyncLLM
    executor: str
    rust: RustProgram | None = None
    listeners: object = None


def engine_config(arguments: Namespace, *, clients: int) -> VllmConfig:
    """Return vLLM's configuration of an engine core that has so many clients."""
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.usage.usage_lib import UsageContext

    wanted = AsyncEngineArgs.from_cli_args(arguments)
    if clients > 1:
        wanted._api_process_count = clients  # noqa: SLF001 - as vLLM's own `serve` sets it
        wanted._api_process_rank = -1  # noqa: SLF001
    return wanted.create_engine_config(UsageContext.OPENAI_API_SERVER)


def start_engine(config: VllmConfig, arguments: Namespace, plan: RustPlan | None) -> Started:
    """Start the engine core, and wait until it has loaded the model.

    Raises:
        RustProgramError: the Rust program ended meanwhile; nothing is left running.
    """
    from vllm.v1.executor import Executor

    executor = Executor.get_class(config)
    if plan is None:
        return Started(llm=_client(config, executor), executor=executor.__name__)
    return _with_rust(config, executor, arguments, plan)


def _with_rust(config: Any, executor: Any, arguments: Namespace, plan: RustPlan) -> Started:  # noqa: ANN401 - vLLM's own
    from vllm.v1.engine.utils import bind_engine_zmq_listeners, launch_core_engines

    listeners = bind_engine_zmq_listeners(config, CLIENTS)
    rust: RustProgram | None = None
    engines: Any = None
    try:
        with launch_core_engines(config, executor, True, listeners.addresses) as launched:  # noqa: FBT003 - vLLM has it by position
            engines = launched.engine_manager
            rust = launch_program(plan, arguments, listeners)
            launched.watched_frontend_processes = rust.processes
        llm = _client(config, executor, _addresses(listeners))
    except BaseException as exc:
        code = rust.exit_code if rust else None
        if rust is not None:
            rust.stop()
        if engines is not None:
            engines.shutdown(timeout=0)
        if code is not None:
            raise RustProgramError(died(code)) from exc
        raise
    _own(llm, engines)
    _announce_death(engines, listeners.addresses.outputs[RUST_CLIENT])
    return Started(llm=llm, executor=executor.__name__, rust=rust, listeners=listeners)


def _client(
    config: Any,  # noqa: ANN401 - vLLM's VllmConfig
    executor: Any,  # noqa: ANN401 - vLLM's Executor class
    addresses: dict[str, Any] | None = None,
) -> AsyncLLM:
    from vllm.usage.usage_lib import UsageContext
    from vllm.v1.engine.async_llm import AsyncLLM

    among = {"client_addresses": addresses, "client_count": CLIENTS, "client_index": PYTHON_CLIENT}
    return AsyncLLM(
        vllm_config=config,
        executor_class=executor,
        log_stats=True,
        usage_context=UsageContext.OPENAI_API_SERVER,
        log_requests=False,
        **(among if addresses else {}),
    )


def _addresses(listeners: Any) -> dict[str, Any]:  # noqa: ANN401 - vLLM's EngineZmqListeners
    found = listeners.addresses
    return {
        "input_address": found.inputs[PYTHON_CLIENT],
        "output_address": found.outputs[PYTHON_CLIENT],
        "input_listener": listeners.inputs[PYTHON_CLIENT].socket,
        "output_listener": listeners.outputs[PYTHON_CLIENT].socket,
    }


def _own(llm: AsyncLLM, engines: object) -> None:
    """Have AsyncLLM watch and end the engine core, as it does with one that it launched itself."""
    core: Any = llm.engine_core
    core.resources.engine_manager = engines
    core.start_engine_core_monitor()


def _announce_death(engines: Any, output_address: str) -> None:  # noqa: ANN401 - vLLM's CoreEngineProcManager
    """Tell the Rust program when the engine core is gone, so that its streams end with an error.

    An engine core that fails says so itself; one that is killed cannot.
    """
    arguments = ([core.sentinel for core in engines.processes], output_address)
    threading.Thread(
        target=_announce_after, args=arguments, name="sluice-engine-death", daemon=True
    ).start()


def _announce_after(sentinels: list[int], output_address: str) -> None:
    from vllm.v1.engine.core import EngineCoreProc  # takes seconds, so it comes first

    wait(sentinels)
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.linger = _ANNOUNCED_WITHIN_MS
        push.connect(output_address)
        push.send(EngineCoreProc.ENGINE_CORE_DEAD)
