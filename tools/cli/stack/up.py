"""Start a stack, step by step, and stop everything again when a step fails."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from deploy.local.nats_binary import find_nats_server
from deploy.local.prometheus_conf import render_prometheus_conf
from deploy.local.supervisord_conf import render
from libs.bus.provision import forget_leases, provision
from libs.bus.settings import BusSettings, read_credentials
from libs.contracts.exposure import Listener, refusal, warning
from libs.contracts.model_spec import ModelSpec
from libs.engine.default_model import make_ready
from libs.engine.memory import available_memory_bytes
from libs.errors import UsageError
from libs.haproxy.binary import find_haproxy
from tools.cli.console import err, step
from tools.cli.declare import check_sources, read_models, write_changes
from tools.cli.model_changes import model_changes
from tools.cli.models_yaml import load_models
from tools.cli.stack.bus import stack_bus
from tools.cli.stack.down import stop_hard
from tools.cli.stack.layout import Layout
from tools.cli.stack.ports import free_ports
from tools.cli.stack.preflight import (
    check_certificate,
    check_exposure,
    check_machine,
    wants_cuda,
)
from tools.cli.stack.processes import of_folder, of_stack
from tools.cli.stack.programs import (
    AUTOSCALER,
    BODY_READER,
    HUB_TOKEN,
    LOG_KEEPER,
    LOGICAL_SLOTS,
    NATS,
    NATS_WATCH,
    RAY,
    ROUTER_CONFIG,
    programs,
    supervisor_environment,
)
from tools.cli.stack.record import StackRecord, load_or_none, save, write_private
from tools.cli.stack.replicas import require_room, with_replicas
from tools.cli.stack.run_folder import locked
from tools.cli.stack.secrets import (
    make_folders,
    make_ray_token,
    write_hub_token,
    write_launches,
    write_nats_configuration,
)
from tools.cli.stack.supervision import launch, repair
from tools.cli.stack.supervisor import Supervisor
from tools.cli.stack.trust import Trust, trust
from tools.cli.stack.waiting import Watch, answers, until, until_ready, until_served
from tools.cli.tenants import stored_tenants

_BUILTIN: Final = "builtin:"


@dataclass(frozen=True, slots=True, kw_only=True)
class UpOptions:
    """What the user asked for.

    Attributes:
        start_timeout_s: how long the stack may take from its first process to its first token.
        replicas: of every model, whatever the file says; None leaves it to the file.
        tls_certificate: a PEM file with certificate, chain and key; None serves HTTP.
    """

    host: str
    port: int
    models_file: Path
    start_timeout_s: float
    haproxy: Path | None
    nats_server: Path | None
    replicas: int | None = None
    tls_certificate: Path | None = None

    @property
    def listener(self) -> Listener:
        """Where the API is to listen."""
        return Listener(host=self.host, encrypted=self.tls_certificate is not None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack that is being started."""

    layout: Layout
    record: StackRecord
    supervisor: Supervisor
    specs: tuple[ModelSpec, ...]
    nats_server: Path

    def trusted(self) -> Trust:
        """Return how to trust the API; raises as `trust`."""
        return trust(self.layout, self.record)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A stack that is up.

    Attributes:
        began: the parts that had ended and were started again; None where all of it is new.
    """

    record: StackRecord
    began: tuple[str, ...] | None


async def up(layout: Layout, options: UpOptions) -> Standing:
    """Start everything and return once every model has answered; repair what runs in part.

    Another `up` or `down` of the same stack is waited for.

    Raises:
        UsageError: the machine, the options or the models file cannot work; nothing is left.
        ControlPlaneError: a part did not start; nothing is left running.
    """
    with locked(layout.run, on_wait=_say_waiting):
        record = _complete(layout)
        if record is not None:
            return Standing(record=record, began=tuple(await _repaired(layout, record)))
        return Standing(record=await _fresh(layout, options), began=None)


def _say_waiting() -> None:
    err.print("Another `./sluice up` or `down` works on this stack; waiting for its end.")


def _complete(layout: Layout) -> StackRecord | None:
    """Return the record of a stack that came up and of which something lives; end other remains."""
    record = load_or_none(layout.record)
    if record is not None and record.complete and of_stack(record.stack_id):
        return record
    if record is not None or of_folder(layout.var):
        with step("removing what is left of a stack that was not stopped"):
            stop_hard(layout)
    return None


async def _repaired(layout: Layout, record: StackRecord) -> list[str]:
    with step("looking whether all of it runs"):
        return await repair(layout, record)


async def _fresh(layout: Layout, options: UpOptions) -> StackRecord:
    specs = _check(layout, options)
    _make_models(layout, specs)
    record = _new_record(options)
    stack = Stack(
        layout=layout,
        record=record,
        supervisor=Supervisor(layout.supervisor_socket),
        specs=specs,
        nats_server=find_nats_server(options.nats_server),
    )
    try:
        await _start(stack, options.start_timeout_s)
    except BaseException:
        with step("stopping what was started"):
            stop_hard(layout)
        raise
    record = replace(record, complete=True)
    save(record, layout.record)
    return record


def _check(layout: Layout, options: UpOptions) -> tuple[ModelSpec, ...]:
    with step("checking this machine") as say:
        specs = with_replicas(load_models(options.models_file), options.replicas)
        if options.replicas is not None:
            require_room(specs, slots=LOGICAL_SLOTS, available_bytes=available_memory_bytes())
        check_machine(layout, host=options.host, port=options.port)
        check_certificate(options.tls_certificate)
        check_exposure(layout, options.listener)
        say("HAProxy")
        find_haproxy(options.haproxy)
    return specs


def _make_models(layout: Layout, specs: Sequence[ModelSpec]) -> None:
    for source in sorted({spec.source for spec in specs if spec.source.startswith(_BUILTIN)}):
        with step(f"model {source.removeprefix(_BUILTIN)}") as say:
            make_ready(layout.models, say)
    check_sources(specs, layout)


def _new_record(options: UpOptions) -> StackRecord:
    stats, metrics, nats, ray, ray_agent, dashboard = free_ports(6)
    certificate = options.tls_certificate
    return StackRecord(
        stack_id=secrets.token_hex(8),
        started_at=time.time(),
        api_host=options.host,
        api_port=options.port,
        stats_port=stats,
        nats_port=nats,
        ray_port=ray,
        ray_agent_port=ray_agent,
        dashboard_port=dashboard,
        metrics_port=metrics,
        tls_certificate=None if certificate is None else str(certificate.absolute()),
    )


async def _start(stack: Stack, timeout_s: float) -> None:
    watch = Watch(
        layout=stack.layout,
        supervisor=stack.supervisor,
        deadline=time.monotonic() + timeout_s,
    )
    with step("NATS with JetStream"):
        _write_files(stack)
        launch(stack.layout, stack.supervisor)
        stack.supervisor.start(LOG_KEEPER)
        stack.supervisor.start(NATS)
        await _require_protection(stack, timeout_s=timeout_s)
        # Ray takes longest, so it starts at once and is waited for last.
        stack.supervisor.start(RAY)
        await provision(_admin(stack.layout), timeout_s=timeout_s)
        # No process of an earlier stack is left, so every stored lease is dead.
        await forget_leases(_admin(stack.layout), timeout_s=timeout_s)
        stack.supervisor.start(NATS_WATCH)
    with step("HAProxy under router-config"):
        stack.supervisor.start(ROUTER_CONFIG)
        stack.supervisor.start(BODY_READER)
        stack.supervisor.start(AUTOSCALER)
        await _declare(stack)
        await until(
            watch, "HAProxy", lambda: answers(f"{stack.record.api_url}/health", stack.trusted)
        )
    with step("Ray, Ray Serve and the replicas") as say:
        async with stack_bus(stack.layout) as bus:
            await until_ready(watch, bus, stack.specs, say, since=stack.record.started_at)
    with step("first token"):
        await until_served(watch, stack.record.api_url, stack.specs, trusted=stack.trusted())


async def _require_protection(stack: Stack, *, timeout_s: float) -> None:
    """Refuse to serve where nothing would protect the API; tenants are on the bus alone.

    Raises:
        UsageError: others than this machine's users could reach it.
    """
    listener = stack.record.listener
    if listener.is_loopback:
        return
    await provision(_admin(stack.layout), timeout_s=timeout_s)
    async with stack_bus(stack.layout) as bus:
        tenants = (await stored_tenants(bus)).values()
    refused = refusal(listener, has_tenants=not all(each.is_revoked for each in tenants))
    if refused is not None:
        raise UsageError(refused)
    risk = warning(listener)
    if risk is not None:
        err.print(f"[yellow]{risk}[/]")


def _write_files(stack: Stack) -> None:
    layout, record = stack.layout, stack.record
    make_folders(layout)
    save(record, layout.record)
    conf = render_prometheus_conf(metrics_port=record.metrics_port, stats_port=record.stats_port)
    layout.prometheus_conf.write_text(conf)
    make_ray_token(layout)
    write_nats_configuration(layout, record)
    started = programs(
        layout,
        record,
        nats_server=str(stack.nats_server),
        environment=os.environ,
        cuda=wants_cuda(stack.specs),
    )
    write_launches(layout, started)
    write_hub_token(layout, os.environ.get(HUB_TOKEN))
    environment = supervisor_environment(layout, record, os.environ)
    write_private(layout.supervisor_launch, json.dumps(environment))
    text = render(
        started,
        socket=layout.supervisor_socket,
        pid_file=layout.run / "supervisor.pid",
        launches=layout.launches,
    )
    write_private(layout.supervisor_conf, text)


def _admin(layout: Layout) -> BusSettings:
    return BusSettings(credentials=read_credentials(layout.credentials("admin")), name="up")


async def _declare(stack: Stack) -> None:
    async with stack_bus(stack.layout) as bus:
        stored = await read_models(bus)
        changes = model_changes(declared=stack.specs, stored=stored.specs)
        await write_changes(bus, changes, stored)
