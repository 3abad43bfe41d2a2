"""Starts vLLM's engine with its front ends: the Rust program, and the Python application here.

Everything that blocks (importing vllm, reading the model's configuration, waiting for the engine
core) runs in a thread, so that the replica's lease goes on meanwhile.
"""

from __future__ import annotations

import asyncio
import os
from argparse import Namespace
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import Tracer

from libs.contracts.lease import FrontEnd, Versions
from libs.contracts.model_spec import FrontEndChoice, ModelSpec
from libs.engine.arguments import (
    Executor,
    api_server_arguments,
    engine_environment,
    stall_timeout_of,
)
from libs.engine.engine_folder import FOLDER_VARIABLE
from libs.engine.memory import check_memory
from libs.engine.rust_front_end import Missing, find_program
from libs.engine.sources import ModelSource, resolve_source
from libs.engine.threads import worker_threads
from libs.engine.version import SLUICE_VERSION
from libs.telemetry.logging import get_logger
from libs.telemetry.settings import otel_environment
from libs.telemetry.tracing import otlp_target
from services.replica.adapters.vllm.engine_core import (
    CLIENTS,
    FRONT_ENDS,
    PYTHON_ALONE,
    Started,
    engine_config,
    start_engine,
)
from services.replica.adapters.vllm.engine_error import telling_engine_errors
from services.replica.adapters.vllm.engine_reports import EngineReports, Record, engine_reports
from services.replica.adapters.vllm.engine_spans import Engine
from services.replica.adapters.vllm.engine_start import shut_down, start_beside
from services.replica.adapters.vllm.lora_slots import LoraSlots
from services.replica.adapters.vllm.rust_program import (
    RustPlan,
    RustProgram,
    RustProgramError,
)
from services.replica.domain.statements import EngineFacts, FrontEnds
from services.replica.sockets import FrontEndSocket

if TYPE_CHECKING:
    from vllm.config import VllmConfig
    from vllm.entrypoints.openai.models.protocol import BaseModelPath
    from vllm.v1.engine.async_llm import AsyncLLM


_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where the engine's workers run.

    Attributes:
        executor: how vLLM runs them.
        ray_address: the cluster's address, for the engine core's own connection; None without Ray.
        placement_group: Ray's handle of the bundles that Serve reserved; None without Ray.
    """

    executor: Executor
    ray_address: str | None = None
    placement_group: object | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """What it takes to start an engine and its front ends.

    Attributes:
        models_dir: where the built-in model is.
        rust_at: where the Rust front end listens, if there is one.
        python_at: where the Python application listens.
        record: exports finished spans of requests; None where spans go nowhere.
        folder: of this replica alone, for all that it and its engine put into the file system.
        drain_timeout_s: how long the Rust front end finishes running requests when it is to end.
    """

    spec: ModelSpec
    models_dir: Path
    placement: Placement
    tracer: Tracer
    rust_at: FrontEndSocket
    python_at: FrontEndSocket
    record: Record | None
    folder: Path
    drain_timeout_s: float


class VllmEngine:
    """A running engine core with its front ends, behind the replica's `Engine` port."""

    def __init__(
        self, started: Started, reports: EngineReports, facts: EngineFacts, served: Served
    ) -> None:
        """Wrap an engine that runs."""
        self._llm = started.llm
        self.rust = started.rust
        self._reports = reports
        self.load = reports.load
        self.facts = facts
        self.answer_to = served.names.answer_to
        self.slots = served.slots

    def failure(self) -> str | None:
        """Return why it is dead or stuck; None while it lives."""
        if self._llm.errored:
            return "vLLM's engine died; its log says why"
        if self.rust is not None and self.rust.failure is not None:
            return self.rust.failure
        return self._reports.stall(is_excused=self.slots.is_asking)


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """What an engine's application serves beside its model: other names for it, and adapters."""

    names: ServedNames
    slots: LoraSlots


class ServedNames:
    """The names under which vLLM's application serves its model."""

    def __init__(self, paths: list[BaseModelPath]) -> None:
        """Take vLLM's own list, which all of its handlers share; its first entry is the model's."""
        self._paths = paths

    def answer_to(self, aliases: tuple[str, ...]) -> None:
        """Accept the model's own name and these."""
        own = self._paths[0]
        self._paths[1:] = [replace(own, name=alias) for alias in aliases]


@asynccontextmanager
async def running_engine(launch: Launch) -> AsyncIterator[tuple[VllmEngine, Any]]:
    """Run an engine while the body runs; gives it and its ASGI application.

    The Rust front end, where there is one, answers its health checks by then.

    Raises:
        UsageError: the model is not there or does not fit into memory; told within a second.
        RustProgramError: the spec asks for the Rust front end, and it does not serve this model.
    """
    arguments = await asyncio.to_thread(_prepare, launch)
    known = Engine(model=launch.spec.name, front_ends=FRONT_ENDS)
    stall_timeout_s = stall_timeout_of(launch.spec)
    async with engine_reports(
        launch.folder, known, launch.record, stall_timeout_s=stall_timeout_s
    ) as reports:
        _set_environment(reports.environment)
        async with _engine(arguments, launch, reports) as running:
            yield running


@asynccontextmanager
async def _engine(
    arguments: Namespace, launch: Launch, reports: EngineReports
) -> AsyncIterator[tuple[VllmEngine, Any]]:
    with telling_engine_errors(launch.folder):
        started, reason = await _start(arguments, launch)
    if started.rust is None:
        reports.serve_through(PYTHON_ALONE)
    try:
        facts = EngineFacts(
            executor=started.executor,
            versions=_versions(),
            front_ends=_front_ends(launch, started.rust, reason),
        )
        _log.info("engine_started", executor=facts.executor, front_end=facts.front_ends.main)
        app = await application(started.llm, arguments)
        models = app.state.openai_serving_models
        served = Served(
            names=ServedNames(models.base_model_paths),
            slots=LoraSlots(started.llm, models, launch.spec),
        )
        async with _asked(started.rust):
            yield VllmEngine(started, reports, facts, served), app
    finally:
        await shut_down(started)


@asynccontextmanager
async def _asked(rust: RustProgram | None) -> AsyncIterator[None]:
    """Ask the Rust program for its health while the body runs."""
    if rust is None:
        yield
        return
    asking = asyncio.create_task(  # tidy: allow orphan-task - ended below
        rust.watch_silence()
    )
    try:
        yield
    finally:
        asking.cancel()
        await asyncio.wait([asking])


async def _start(arguments: Namespace, launch: Launch) -> tuple[Started, str]:
    """Start the engine with the front ends of its spec; returns why there is no Rust among them."""
    plan = await asyncio.to_thread(_plan_rust, launch)
    if isinstance(plan, str):
        return await start_beside(partial(_start_engine, arguments, launch, None)), plan
    try:
        started = await start_beside(partial(_start_engine, arguments, launch, plan))
        await _until_healthy(started, started.rust)
    except RustProgramError as exc:
        if launch.spec.engine.front_end is FrontEndChoice.RUST:
            raise
        _log.warning("rust_front_end_failed", reason=str(exc))
        return await start_beside(partial(_start_engine, arguments, launch, None)), str(exc)
    return started, ""


async def _until_healthy(started: Started, rust: RustProgram | None) -> None:
    """Wait for the Rust front end; a start that ends here leaves nothing running."""
    if rust is None:
        return
    try:
        await rust.until_healthy()
    except (RustProgramError, asyncio.CancelledError):
        await shut_down(started)
        raise


def _plan_rust(launch: Launch) -> RustPlan | str:
    """Plan the Rust front end, or say why there is none.

    Raises:
        RustProgramError: the spec asks for it, and its program cannot be used.
    """
    import vllm

    choice = launch.spec.engine.front_end
    if choice is FrontEndChoice.PYTHON:
        return "engine.front_end is python"
    program = find_program(vllm.__version__)
    if isinstance(program, Missing):
        if choice is FrontEndChoice.RUST:
            raise RustProgramError(program.reason)
        return program.reason
    return RustPlan(
        program=program,
        at=launch.rust_at,
        folder=launch.folder,
        drain_timeout_s=launch.drain_timeout_s,
        silence_max_s=stall_timeout_of(launch.spec),
    )


def _front_ends(launch: Launch, rust: RustProgram | None, reason: str) -> FrontEnds:
    if rust is None:
        return FrontEnds(main=FrontEnd.PYTHON, reason=reason, address=launch.python_at.address)
    return FrontEnds(
        main=FrontEnd.RUST,
        address=rust.address,
        python_address=launch.python_at.address,
        rust_names=(launch.spec.name, *launch.spec.aliases),
    )


def _prepare(launch: Launch) -> Namespace:
    source = resolve_source(launch.spec.source, models_dir=launch.models_dir)
    check_memory(launch.spec, source)
    _set_environment(_environment(launch, source))
    return parse_arguments(
        api_server_arguments(launch.spec, model=source.model, executor=launch.placement.executor)
    )


def _set_environment(values: Mapping[str, str]) -> None:
    os.environ.update(values)  # tidy: allow environment - vLLM's processes inherit their settings


def _environment(launch: Launch, source: ModelSource) -> dict[str, str]:
    """Return what vLLM's processes read; this process belongs to one replica alone."""
    environment = engine_environment(launch.spec, is_local=source.is_local)
    environment[FOLDER_VARIABLE] = str(launch.folder)
    if not source.is_local:
        environment |= _hub_token()
    if launch.placement.executor is Executor.MULTIPROCESSING:
        environment["OMP_NUM_THREADS"] = str(_threads(launch))
    if launch.placement.ray_address is not None:
        environment["RAY_ADDRESS"] = launch.placement.ray_address
    if (target := otlp_target(otel_environment())) is not None:
        # vLLM's default protocol differs from the specification's and ours.
        environment["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = target.protocol.value
    return environment


def _hub_token() -> dict[str, str]:
    """Return the hub's token for the Rust front end, which does not read the file that has it."""
    from huggingface_hub import get_token

    token = get_token()
    return {"HF_TOKEN": token} if token else {}


def parse_arguments(words: list[str]) -> Namespace:
    """Parse words as vLLM's API server does."""
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    _log.info("vllm_imported", arguments=words)
    parsed: Namespace = make_arg_parser(FlexibleArgumentParser()).parse_args(words)
    return parsed


def _start_engine(arguments: Namespace, launch: Launch, plan: RustPlan | None) -> Started:
    config = _configure(arguments, launch, clients=1 if plan is None else CLIENTS)
    _log.info("engine_configured", rust=plan is not None)
    return start_engine(config, arguments, plan)


def _configure(arguments: Namespace, launch: Launch, *, clients: int) -> VllmConfig:
    config = engine_config(arguments, clients=clients)
    config.parallel_config.placement_group = launch.placement.placement_group
    threads = _threads(launch)
    if threads > 1 and launch.placement.executor is Executor.RAY:
        # Ray sets this to 1 before vLLM could; a changed environment costs a fresh worker process.
        environment = {"env_vars": {"OMP_NUM_THREADS": str(threads)}}
        config.parallel_config.ray_runtime_env = environment
    return config


def _threads(launch: Launch) -> int:
    return worker_threads(launch.spec, cpus=len(os.sched_getaffinity(0))) or 1


async def application(llm: AsyncLLM, arguments: Namespace) -> Any:  # noqa: ANN401 - an ASGI application
    """Return vLLM's own application for an engine."""
    from vllm.entrypoints.launchers.api_server.app_state import init_app_state
    from vllm.entrypoints.launchers.app import build_app

    await llm.reset_mm_cache()
    tasks = await llm.get_supported_tasks()
    app = build_app(arguments, tasks, llm.model_config)
    await init_app_state(llm, app.state, arguments, tasks)
    # vLLM's handler of a dead engine ends this server; the replica's own service does that here.
    app.state.server = SimpleNamespace(should_exit=False)
    return app


def _versions() -> Versions:
    import ray
    import vllm

    return Versions(sluice=SLUICE_VERSION, vllm=vllm.__version__, ray=ray.__version__)
