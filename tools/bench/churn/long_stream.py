"""One stream that lasts as long as the run: every token in its order, then [DONE], or it broke."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Final

import httpx

TOKENS_MAX: Final = 100_000_000
"""More than any run lets it send; the bench ends it."""
_SILENCE_S: Final = 30.0


@dataclass(slots=True)
class StreamCheck:
    """Reads a fake replica's stream, whose tokens are `t0`, `t1`, and so on. Pure.

    Attributes:
        tokens: how many came in their order.
        fault: what was wrong first; empty while nothing is.
    """

    tokens: int = 0
    fault: str = ""
    _done: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether it ended as it should, with everything in it."""
        return self._done and not self.fault

    def line(self, text: str) -> None:
        """Take one line of the stream."""
        if not text.startswith("data: "):
            return
        payload = text.removeprefix("data: ")
        if payload == "[DONE]":
            self._done = True
        elif (said := _content(payload)) == f"t{self.tokens} ":
            self.tokens += 1
        else:
            self.fault = self.fault or f"token {self.tokens} was {said!r}"

    def end(self, why: str = "") -> None:
        """Take the end of the answer, and why it came if it broke."""
        if why or not self._done:
            self.fault = self.fault or why or f"no [DONE] after {self.tokens} tokens"


@dataclass(slots=True)
class LongStream:
    """The stream and who serves it.

    Attributes:
        status: of HTTP; 0 without an answer.
        replica: who answers; empty until then.
        began: set with the first token, or when there will be none.
        duration_s: from the request to the end of its answer.
    """

    check: StreamCheck = field(default_factory=StreamCheck)
    status: int = 0
    replica: str = ""
    began: asyncio.Event = field(default_factory=asyncio.Event)
    duration_s: float = 0.0

    async def follow(self, api_url: str, model: str) -> None:
        """Ask and read until the answer ends, whatever its end."""
        began_s = time.monotonic()
        try:
            async with httpx.AsyncClient(base_url=api_url, timeout=_SILENCE_S) as http:
                async for line in self._lines(http, model):
                    self.check.line(line)
                    self.began.set()
            self.check.end()
        except httpx.HTTPError as exc:
            self.check.end(f"broke after {self.check.tokens} tokens: {exc!r}")
        finally:
            self.duration_s = time.monotonic() - began_s
            self.began.set()

    async def _lines(self, http: httpx.AsyncClient, model: str) -> AsyncIterator[str]:
        body = {"model": model, "stream": True, "max_tokens": TOKENS_MAX}
        async with http.stream("POST", "/v1/chat/completions", json=body) as answer:
            self.status = answer.status_code
            self.replica = answer.headers.get("x-sluice-replica", "")
            async for line in answer.aiter_lines():
                yield line


def _content(payload: str) -> str:
    try:
        (choice,) = json.loads(payload)["choices"]
        return str(choice["delta"]["content"])
    except (ValueError, KeyError, TypeError):
        return payload
