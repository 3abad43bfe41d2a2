"""The streaming clients: the load generator in its own process, followed from a thread."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from libs.errors import PeerUnreachableError
from tools.bench.churn.plan import ChurnPlan
from tools.bench.load.lengths import Fixed
from tools.bench.load.plan import (
    ClosedLoop,
    Extent,
    LoadPlan,
    OutputLength,
    Patience,
    Slo,
    Target,
    Workload,
)
from tools.bench.load.result import LoadResult
from tools.bench.load.run import run_load
from tools.bench.load.shard import Progress

_DURATION_MAX_S: Final = 7 * 86_400.0
_START_S: Final = 60.0
_PROMPT_TOKENS: Final = 32


@dataclass(slots=True)
class Clients:
    """Clients that stream until they are stopped.

    Attributes:
        progress: how they get on.
    """

    plan: LoadPlan
    progress: Progress = field(default_factory=lambda: Progress(elapsed_s=0.0))
    _stop: threading.Event = field(default_factory=threading.Event)
    _started: asyncio.Event = field(default_factory=asyncio.Event)
    _running: asyncio.Future[LoadResult] | None = None

    async def start(self) -> None:
        """Return when all of them stream.

        Raises:
            PeerUnreachableError: they got no token.
            GeneratorDiedError: their process died.
        """
        loop = asyncio.get_running_loop()
        self._running = loop.run_in_executor(None, self._run, self._teller(loop))
        self._running.add_done_callback(lambda _: self._started.set())
        try:
            async with asyncio.timeout(_START_S):
                await self._started.wait()
        except TimeoutError as exc:
            raise PeerUnreachableError("the clients got no token", timeout_s=_START_S) from exc

    async def stop(self) -> LoadResult | None:
        """Stop them and return what they saw; None when they never started.

        Raises:
            GeneratorDiedError: their process died.
        """
        self._stop.set()
        return None if self._running is None else await self._running

    def _run(self, tell: Callable[[Progress], None]) -> LoadResult:
        return run_load(self.plan, on_progress=tell, stop=self._stop)

    def _teller(self, loop: asyncio.AbstractEventLoop) -> Callable[[Progress], None]:
        return lambda progress: _ignore(loop.call_soon_threadsafe(self._hear, progress))

    def _hear(self, progress: Progress) -> None:
        self.progress = progress
        if progress.text_events:
            self._started.set()


@asynccontextmanager
async def clients(plan: ChurnPlan, *, api_url: str, model: str) -> AsyncIterator[Clients]:
    """Make clients that have ended when the body has."""
    made = Clients(load_plan(plan, api_url=api_url, model=model))
    try:
        yield made
    finally:
        await made.stop()


def load_plan(plan: ChurnPlan, *, api_url: str, model: str) -> LoadPlan:
    """Return what the load generator does in a churn run; it ends when it is told to."""
    return LoadPlan(
        target=Target(url=api_url, model=model, output_length=OutputLength.AT_MOST),
        arrivals=ClosedLoop(clients=plan.clients),
        workload=Workload(
            prompt_tokens=Fixed(tokens=_PROMPT_TOKENS),
            output_tokens=Fixed(tokens=plan.output_tokens),
        ),
        extent=Extent(duration_s=_DURATION_MAX_S),
        slo=Slo(ttft_s=plan.slow_s),
        patience=Patience(request_s=60.0 + 10 * plan.answer_s),
    )


def _ignore(_: object) -> None:
    """A handle that nobody needs."""
