"""The load: a few clients of every kind, each with one request after the other."""

from __future__ import annotations

import asyncio
import itertools
import json
import ssl
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import httpx

from tools.bench.chaos.outcomes import Ending, Kind, Ledger, Outcome

_PATIENCE_S: Final = 200.0
"""More than the edge holds a request for a first replica, and than the longest answer."""

_LAST_ANSWERS_S: Final = 30.0

_LARGE_BYTES: Final = 100 * 1024
"""Above what HAProxy holds at once, so the body reader has to read it."""

_PAUSES_S: Final = {Kind.SHORT: 0.1, Kind.LONG: 0.5, Kind.LARGE: 2.0, Kind.PYTHON: 2.0}
_AFTER_FAILURE_S: Final = 0.3
_SAID_MAX: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast the simulated model is, and how long answers are, in tokens of a step each."""

    step_time_s: float
    short_tokens: int
    long_tokens: int


SLOW: Final = Pace(step_time_s=1.2, short_tokens=3, long_tokens=60)
"""Between steps of more than a second vLLM sleeps; otherwise it spins and leaves the machine's
other programs little CPU time. Source: `SpinCondition` of vLLM's shm_broadcast.py."""

FAST: Final = Pace(step_time_s=0.05, short_tokens=10, long_tokens=1500)
"""For latencies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """How clients reach the API.

    Attributes:
        trust: what makes the API's certificate good; True where it has none.
        key: a tenant's; empty where requests need none.
    """

    url: str
    model: str
    pace: Pace = SLOW
    trust: ssl.SSLContext | bool = True
    key: str = ""

    def client(self, *, timeout_s: float) -> httpx.AsyncClient:
        """Make a client with connections of its own."""
        headers = {"authorization": f"Bearer {self.key}"} if self.key else {}
        return httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, verify=self.trust, headers=headers
        )


@asynccontextmanager
async def clients(wanted: Iterable[Kind], access: Access, ledger: Ledger) -> AsyncIterator[None]:
    """Run clients beside the body; afterwards their last answers are finished, but long ones."""
    over = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = {
            tasks.create_task(run_client(kind, access, ledger, over)): kind for kind in wanted
        }
        try:
            yield
        finally:
            over.set()
            short = [task for task, kind in running.items() if kind is not Kind.LONG]
            if short:
                await asyncio.wait(short, timeout=_LAST_ANSWERS_S)
            for task in running:
                task.cancel()


async def run_client(kind: Kind, access: Access, ledger: Ledger, over: asyncio.Event) -> None:
    """Send one request after the other until `over` is set; the last one is finished."""
    content = body(kind, access.model, access.pace)
    async with access.client(timeout_s=_PATIENCE_S) as http:
        while not over.is_set():
            outcome = await ask(http, kind, content)
            ledger.add(outcome)
            failed = outcome.ending is not Ending.WHOLE
            await _pause(over, _AFTER_FAILURE_S if failed else _PAUSES_S[kind])


async def ask(http: httpx.AsyncClient, kind: Kind, content: bytes) -> Outcome:
    """Send one request and read its answer to the end, whatever that is."""
    reading = _Reading(kind=kind, began_s=time.monotonic())
    try:
        async with http.stream("POST", "/v1/completions", content=content, headers=_JSON) as reply:
            reading.status = reply.status_code
            reading.server = reply.headers.get("x-sluice-replica")
            async for line in reply.aiter_lines():
                reading.take(line)
    except httpx.HTTPError as exc:
        return reading.broken(exc)
    return reading.ended()


_JSON: Final = {"content-type": "application/json"}


@dataclass(slots=True, kw_only=True)
class _Reading:
    """An answer as far as it was read."""

    kind: Kind
    began_s: float
    status: int | None = None
    server: str | None = None
    done: bool = False
    error: str = ""
    other: str = ""
    first_s: float | None = None

    def take(self, line: str) -> None:
        if self.first_s is None and line.startswith("data:"):
            self.first_s = time.monotonic()
        if line == "data: [DONE]":
            self.done = True
        elif line.startswith(('data: {"error"', "event: error")):
            self.error = line
        elif not line.startswith(("data:", ":")) and line:
            self.other = f"{self.other} {line}"[:_SAID_MAX]

    def broken(self, exc: httpx.HTTPError) -> Outcome:
        ending = Ending.LOST if self.status is None else Ending.SAID
        return self._outcome(ending, said=repr(exc))

    def ended(self) -> Outcome:
        if self.status != httpx.codes.OK:
            return self._outcome(Ending.REFUSED, said=self.other)
        if self.error:
            return self._outcome(Ending.SAID, said=self.error)
        return self._outcome(Ending.WHOLE if self.done else Ending.SILENT, said=self.other)

    def _outcome(self, ending: Ending, *, said: str) -> Outcome:
        return Outcome(
            kind=self.kind,
            began_s=self.began_s,
            ended_s=time.monotonic(),
            ending=ending,
            server=self.server,
            status=self.status,
            said=said[:_SAID_MAX] if ending is not Ending.WHOLE else "",
            first_s=self.first_s,
        )


def body(kind: Kind, model: str, pace: Pace) -> bytes:
    """Return what a kind of client sends."""
    wanted: dict[str, object] = {
        "model": model,
        "prompt": "Once upon a time",
        "stream": True,
        "max_tokens": pace.long_tokens if kind is Kind.LONG else pace.short_tokens,
    }
    if kind is Kind.PYTHON:
        wanted["n"] = 2
    text = json.dumps(wanted)
    padding = " " * (_LARGE_BYTES - len(text)) if kind is Kind.LARGE else ""
    return (text[:-1] + padding + "}").encode()


def kinds(*, short: int, long: int) -> Iterator[Kind]:
    """Return the kind of every client."""
    yield from itertools.repeat(Kind.SHORT, short)
    yield from itertools.repeat(Kind.LONG, long)
    yield Kind.LARGE
    yield Kind.PYTHON


async def _pause(over: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await over.wait()
    except TimeoutError:
        return
