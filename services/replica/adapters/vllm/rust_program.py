"""vLLM's Rust front end as a running process that never outlives this one.

vLLM's own `RustFrontendProcessManager` starts it, because the program's options change between
releases. What it starts is a short script, which asks the kernel to kill the program when the
thread that started it ends, and then becomes the program: so it dies with the replica, however
that dies. Source: prctl(2), PR_SET_PDEATHSIG.
"""

from __future__ import annotations

import asyncio
import os
import shlex
import signal
import sys
import time
from argparse import Namespace
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Never

import httpx

from libs.contracts.lease import Address, Endpoint, UnixEndpoint
from libs.engine.arguments import STALL_TIMEOUT_S
from libs.errors import TransientError
from services.replica.adapters.vllm.rust_threads import thread_counts
from services.replica.sockets import FrontEndSocket

if TYPE_CHECKING:
    from vllm.v1.utils import RustFrontendProcessManager

HEALTHY_TIMEOUT_S: Final = 60.0

CUT_AFTER_S: Final = 2.0
"""How long streams that must end get to end with an error of their own."""

SILENT_TRIES: Final = 3
"""A program is silent when so many tries in a row had no answer, each within a third of the limit.
A loop that was held up counts one try, however long it was."""

ANSWERS_WITHIN_S: Final = 0.8
"""HAProxy's check of the replica takes this and a little more, and has a second."""

_HEALTH: Final = b"GET /health HTTP/1.1\r\nhost: replica\r\nconnection: close\r\n\r\n"
_POLL_S: Final = 0.05
_KILLED_WITHIN_S: Final = 5.0

_TIED: Final = (
    "import ctypes, os, signal, sys;"
    "ctypes.CDLL(None).prctl(1, signal.SIGKILL);"
    "os.getppid() == int(sys.argv[1]) or sys.exit(1);"
    "os.execv(sys.argv[2], sys.argv[2:])"
)
"""Ends at once where the parent has died before the kernel was asked to watch it."""


class RustProgramError(TransientError):
    """vLLM's Rust front end does not serve this model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RustPlan:
    """What it takes to start the program.

    Attributes:
        program: its file.
        at: where it listens.
        folder: for the script that starts it; private to this replica.
        drain_timeout_s: how long it finishes running requests after it was asked to end.
        silence_max_s: how long it may leave health checks unanswered before it has failed.
    """

    program: Path
    at: FrontEndSocket
    folder: Path
    drain_timeout_s: float
    silence_max_s: float = STALL_TIMEOUT_S


class RustProgram:
    """The running program."""

    def __init__(self, started: RustFrontendProcessManager, plan: RustPlan) -> None:
        """Take what vLLM started."""
        self._started = started
        self._process: Any = started.processes[0]
        self._is_asked_to_end = False
        self._silence_max_s = plan.silence_max_s
        self._unanswered = 0
        self.address: Address = plan.at.address

    @property
    def processes(self) -> Any:  # noqa: ANN401 - vLLM's own wrappers
        """What vLLM watches while the engine starts."""
        return self._started.processes

    @property
    def pid(self) -> int:
        """Its process id."""
        pid: int = self._process.pid
        return pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; None while it runs."""
        code: int | None = self._process.exitcode
        return code

    @property
    def failure(self) -> str | None:
        """Why it ended without being asked to, or is silent; None while it lives."""
        if self._is_asked_to_end:
            return None
        if (code := self.exit_code) is not None:
            return died(code)
        if self._unanswered >= SILENT_TRIES:
            return f"vLLM's Rust front end has not answered for {self._silence_max_s:g} s"
        return None

    async def until_healthy(self) -> None:
        """Wait until it answers health checks.

        Raises:
            RustProgramError: it ended, or does not become healthy.
        """
        until = time.monotonic() + HEALTHY_TIMEOUT_S
        async with client(self.address) as asking:
            while not await self._is_healthy(asking):
                if time.monotonic() > until:
                    raise RustProgramError("vllm-rs does not become healthy; its log says why")
                await asyncio.sleep(_POLL_S)

    async def watch_silence(self) -> Never:
        """Ask for its health until cancelled; any answer will do, since only silence is a fault."""
        pause_s = self._silence_max_s / SILENT_TRIES
        async with client(self.address) as asking:
            while True:
                try:
                    await asking.get("/health", timeout=pause_s)
                    self._unanswered = 0
                except httpx.TimeoutException:
                    self._unanswered += 1
                    continue
                except httpx.TransportError:
                    self._unanswered += 1
                await asyncio.sleep(pause_s)

    async def answers(self) -> bool:
        """Tell whether it answers health checks now, within the time that a check has.

        One that has exited does not, even if another process listens at its address.
        """
        if self.exit_code is not None:
            return False
        try:
            async with asyncio.timeout(ANSWERS_WITHIN_S):
                return await _health_status(self.address) == httpx.codes.OK
        except (OSError, TimeoutError, EOFError, ValueError, asyncio.LimitOverrunError):
            return False

    def ask_to_end(self) -> None:
        """Have it refuse new requests, finish those that run, and end."""
        self._is_asked_to_end = True
        self._signal(signal.SIGTERM)

    async def ended(self, *, timeout_s: float) -> bool:
        """Wait until it has ended; False at the time limit."""
        await asyncio.to_thread(self._process.join, timeout_s)
        return self.exit_code is not None

    async def cut(self) -> None:
        """End it soon, with every stream that it still has; ending it again changes nothing."""
        self.ask_to_end()
        await self.ended(timeout_s=CUT_AFTER_S)
        await asyncio.to_thread(self.stop)

    def stop(self) -> None:
        """End it at once, without a loop."""
        self._signal(signal.SIGKILL)
        self._process.join(_KILLED_WITHIN_S)
        self._started.shutdown()

    async def _is_healthy(self, asking: httpx.AsyncClient) -> bool:
        if self.exit_code is not None:
            raise RustProgramError(died(self.exit_code))
        try:
            return (await asking.get("/health")).is_success
        except httpx.TransportError:
            return False

    def _signal(self, number: signal.Signals) -> None:
        if self.exit_code is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)


def died(code: int | None) -> str:
    """Say that the program ended by itself."""
    return f"vLLM's Rust front end ended with code {code}; the replica's log says why"


def launch_program(plan: RustPlan, arguments: Namespace, listeners: Any) -> RustProgram:  # noqa: ANN401 - vLLM's EngineZmqListeners
    """Start the program as the engine core's client number 0; it waits for the engine itself.

    The calling thread must live as long as the program should.
    """
    from vllm.v1.utils import RustFrontendProcessManager

    own = copy(arguments)
    own.shutdown_timeout = max(1, round(plan.drain_timeout_s))
    # It does not know this one, and the table of front ends gives it no request with media.
    own.allowed_media_domains = None
    started = RustFrontendProcessManager(
        binary_path=str(write_starter(plan)),
        sock=plan.at.open(),
        args=own,
        input_listener=listeners.inputs[0],
        output_listener=listeners.outputs[0],
        engine_start_index=0,
        engine_count=1,
        data_parallel_size=1,
    )
    # While a copy is open here, the kernel queues connections that the program no longer accepts.
    plan.at.hand_over()
    return RustProgram(started, plan)


async def _health_status(address: Address) -> int:
    """Ask for /health once; without a client, which costs ten times as much, once a second."""
    if isinstance(address, UnixEndpoint):
        reader, writer = await asyncio.open_unix_connection(address.path)
    else:
        reader, writer = await asyncio.open_connection(address.host, address.port)
    try:
        writer.write(_HEALTH)
        return int((await reader.readline())[len(b"HTTP/1.1 ") :][:3])
    finally:
        writer.close()


def client(address: Address) -> httpx.AsyncClient:
    """Return a client for what listens at an address of this machine."""
    match address:
        case UnixEndpoint(path=path):
            transport = httpx.AsyncHTTPTransport(uds=path)
            return httpx.AsyncClient(transport=transport, base_url="http://replica", timeout=5)
        case Endpoint():
            return httpx.AsyncClient(base_url=f"http://{address}", trust_env=False, timeout=5)


def write_starter(plan: RustPlan) -> Path:
    """Write the script; the replica's own Python is the one that is surely there.

    The numbers of threads are for who has not set any in the replica's environment.
    """
    script = plan.folder / "vllm-rs-tied"
    words = [sys.executable, "-I", "-S", "-c", _TIED, str(os.getpid()), str(plan.program)]
    counts = thread_counts(len(os.sched_getaffinity(0)))
    threads = "".join(f'export {name}="${{{name}:-{count}}}"\n' for name, count in counts.items())
    script.write_text(f'#!/bin/sh\n{threads}exec {shlex.join(words)} "$@"\n')
    script.chmod(0o700)
    return script
