"""`sluice chat`: stream one answer to the terminal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import httpx

from libs.errors import PeerUnreachableError, UsageError
from tools.cli.stack.trust import Trust

_CONNECT_S: Final = 2.0
_TOKEN_GAP_S: Final = 300.0


class ChatRefusedError(UsageError):
    """The server refused the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Door:
    """Where to ask, whom to trust there, and with whose key; None sends none."""

    api_url: str
    trusted: Trust = True
    api_key: str | None = None

    def headers(self) -> dict[str, str]:
        """Return what every request says of whose it is."""
        return {"authorization": f"Bearer {self.api_key}"} if self.api_key else {}


def stream_answer(
    door: Door, *, model: str, question: str, temperature: float, max_tokens: int
) -> Iterator[str]:
    """Yield the pieces of the answer as they come.

    Raises:
        PeerUnreachableError: nothing answers at the URL, or the stream broke off.
        ChatRefusedError: the server answered with an error.
    """
    body = {
        "model": model,
        "messages": [{"role": "user", "content": question}],
        "temperature": temperature,
        "max_tokens": max_tokens,
        "stream": True,
    }
    limits = httpx.Timeout(_TOKEN_GAP_S, connect=_CONNECT_S)
    try:
        with httpx.stream(
            "POST",
            f"{door.api_url}/v1/chat/completions",
            json=body,
            headers=door.headers(),
            timeout=limits,
            verify=door.trusted,
        ) as reply:
            if reply.status_code != httpx.codes.OK:
                reply.read()
                raise ChatRefusedError(_error_text(reply))
            yield from _pieces(reply.iter_lines())
    except httpx.HTTPError as exc:
        message = f"no whole answer from {door.api_url} ({exc}); see `./sluice status`"
        raise PeerUnreachableError(message) from exc


def _pieces(lines: Iterator[str]) -> Iterator[str]:
    for line in lines:
        data = line.removeprefix("data: ")
        if data in {line, "[DONE]"}:
            continue
        event = json.loads(data)
        if "error" in event:
            raise ChatRefusedError(str(event["error"].get("message", event["error"])))
        for choice in event.get("choices", []):
            if piece := choice.get("delta", {}).get("content"):
                yield piece


def _error_text(reply: httpx.Response) -> str:
    try:
        message = reply.json()["error"]["message"]
    except (ValueError, KeyError, TypeError):
        message = reply.text[:200]
    return f"HTTP {reply.status_code}: {message}"
