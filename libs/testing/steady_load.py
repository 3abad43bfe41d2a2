"""Clients that stream short answers one after the other and remember every outcome."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx

_TIMEOUT_S: Final = 60.0
_PAUSE_S: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """One request: `replica` is the one that answered, None when no answer came."""

    at: float
    status: int | None
    replica: str | None
    whole: bool
    error: str


@dataclass(slots=True)
class SteadyLoad:
    """What the clients saw so far."""

    outcomes: list[Outcome] = field(default_factory=list)

    def failed(self) -> list[Outcome]:
        """Return the requests without a whole answer."""
        return [each for each in self.outcomes if not each.whole]

    def served_by(self) -> set[str]:
        """Return the replicas that answered."""
        return {each.replica for each in self.outcomes if each.replica}


@contextmanager
def steady_load(
    api_url: str, *, model: str, clients: int = 2, max_tokens: int = 8
) -> Iterator[SteadyLoad]:
    """Run clients beside the body; they end with it, after their last answer."""
    load, over = SteadyLoad(), threading.Event()
    body = _body(model, max_tokens)
    threads = [
        threading.Thread(target=_client, args=(api_url, body, load, over)) for _ in range(clients)
    ]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join(_TIMEOUT_S)


def _client(api_url: str, body: dict[str, object], load: SteadyLoad, over: threading.Event) -> None:
    with httpx.Client(base_url=api_url, timeout=_TIMEOUT_S) as client:
        while not over.is_set():
            load.outcomes.append(_ask(client, body))
            time.sleep(_PAUSE_S)


def stream_once(api_url: str, *, model: str, max_tokens: int) -> Outcome:
    """Stream one answer; how long it may take in all is up to its server."""
    with httpx.Client(base_url=api_url, timeout=_TIMEOUT_S) as client:
        return _ask(client, _body(model, max_tokens))


def _body(model: str, max_tokens: int) -> dict[str, object]:
    return {"model": model, "prompt": "Hello", "max_tokens": max_tokens, "stream": True}


def _ask(client: httpx.Client, body: dict[str, object]) -> Outcome:
    started, status, replica = time.time(), None, None
    try:
        with client.stream("POST", "/v1/completions", json=body) as reply:
            status, replica = reply.status_code, _replica_id(reply.headers.get("x-sluice-replica"))
            lines = list(reply.iter_lines())
    except httpx.HTTPError as exc:
        return Outcome(at=started, status=status, replica=replica, whole=False, error=repr(exc))
    whole = status == httpx.codes.OK and "data: [DONE]" in lines
    error = "" if whole else " ".join(lines)[:300]
    return Outcome(at=started, status=status, replica=replica, whole=whole, error=error)


def _replica_id(server: str | None) -> str | None:
    """Return the replica of a server's name, `<replica_id>.<incarnation>`."""
    return server.partition(".")[0] if server else None
