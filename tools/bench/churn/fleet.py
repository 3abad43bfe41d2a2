"""The bench's side of the fleet: fake replicas in a process of their own."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from libs.contracts.lease import Endpoint
from libs.errors import PeerUnreachableError
from tools.bench.churn.fleet_codec import Order, Verb, parse_answer, render_order

_ROOT: Final = Path(__file__).resolve().parents[3]
_ANSWER_S: Final = 20.0
_END_S: Final = 5.0


class Fleet:
    """Opens and closes replicas, one order at a time."""

    def __init__(self, orders: asyncio.StreamWriter, answers: asyncio.StreamReader) -> None:
        """Use the two pipes of a running fleet."""
        self._orders = orders
        self._answers = answers
        self._turn = asyncio.Lock()

    async def open(self, name: str) -> Endpoint:
        """Start a replica and return where it listens; so all of these methods.

        Raises:
            PeerUnreachableError: the fleet's process does not answer.
        """
        return Endpoint(host="127.0.0.1", port=await self._tell(Verb.OPEN, name))

    async def asked_at(self, name: str) -> float | None:
        """Return when a replica was asked first, on `time.monotonic`; None for never."""
        return (await self._tell(Verb.ASKED, name)) / 1e6 or None

    async def finish(self, name: str) -> None:
        """Let a replica's streams end whole with their next token."""
        await self._tell(Verb.FINISH, name)

    async def close(self, name: str) -> None:
        """End a replica; what runs on it breaks."""
        await self._tell(Verb.CLOSE, name)

    async def _tell(self, verb: Verb, name: str) -> int:
        try:
            async with self._turn, asyncio.timeout(_ANSWER_S):
                self._orders.write(render_order(Order(verb=verb, name=name)).encode())
                return parse_answer((await self._answers.readline()).decode())
        except (OSError, ValueError, TimeoutError) as exc:
            raise PeerUnreachableError("the fake replicas do not answer", cause=repr(exc)) from exc


@asynccontextmanager
async def fleet(*, token_s: float) -> AsyncIterator[Fleet]:
    """Run a fleet without replicas while the body runs."""
    running = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tools.bench.churn.fleet_worker", str(token_s)),
        cwd=_ROOT,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    orders, answers = running.stdin, running.stdout
    if orders is None or answers is None:
        raise AssertionError("both are pipes")
    try:
        yield Fleet(orders, answers)
    finally:
        orders.close()
        try:
            async with asyncio.timeout(_END_S):
                await running.wait()
        except TimeoutError:
            running.kill()
            await running.wait()
