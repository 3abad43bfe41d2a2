"""One connection to nats-server at a time, for ever: lost ones are replaced by new ones.

The client library can reconnect by itself, but gives up for good on some errors of the server
(`-ERR 'Authorization Violation'` among them). So every connection here is used once: whoever
subscribes does so per `Session` and comes back for the next session when one is lost.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final, Never

import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from libs.bus.settings import BusSettings
from libs.errors import (
    ControlPlaneError,
    PeerUnreachableError,
    PermissionDeniedError,
    TerminalError,
)
from libs.telemetry.logging import get_logger

DENIALS_MAX: Final = 64
"""How many refusals of the server are remembered to explain time-outs."""

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """One connection from its start to its loss."""

    client: Client
    jetstream: JetStreamContext
    lost: asyncio.Event = field(default_factory=asyncio.Event)
    denials: deque[str] = field(default_factory=lambda: deque(maxlen=DENIALS_MAX))

    @contextmanager
    def asking(self, subject: str) -> Iterator[None]:
        """Translate the client library's errors; `subject` is what was asked or written.

        Raises:
            PermissionDeniedError: the server refused this user the subject.
            PeerUnreachableError: no answer in time, no connection, or no such stream (yet).
            TerminalError: the server understood and said no.
        """
        try:
            yield
        except (nats.errors.Error, TimeoutError, OSError) as exc:
            raise self._translated(exc, subject) from exc
        _honour_cancellation()

    def _translated(self, exc: Exception, subject: str) -> ControlPlaneError:
        # The client library hands out the server's errors in lower case.
        if any(f'"{subject.lower()}"' in denial.lower() for denial in self.denials):
            return PermissionDeniedError(subject=subject)
        if isinstance(exc, nats.js.errors.BadRequestError | nats.errors.MaxPayloadError):
            return TerminalError("The bus refused a request.", subject=subject, why=str(exc))
        return PeerUnreachableError(peer="bus", subject=subject, why=str(exc) or type(exc).__name__)


class NatsLink:
    """Keeps a session to the server."""

    def __init__(self, settings: BusSettings) -> None:
        """Hold the settings; `run` does the work."""
        self._settings = settings
        self._session: Session | None = None
        self._up = asyncio.Event()

    @property
    def current(self) -> Session | None:
        """The session, or None while there is none."""
        return self._session

    async def next_session(self) -> Session:
        """Wait for a session, however long it takes."""
        while self._session is None:
            await self._up.wait()
        return self._session

    async def session(self, *, timeout_s: float) -> Session:
        """Wait for a session.

        Raises:
            PeerUnreachableError: there is none within `timeout_s`.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self.next_session()
        except TimeoutError as exc:
            raise PeerUnreachableError(peer="bus", url=self._settings.credentials.url) from exc

    async def run(self) -> Never:
        """Dial, hold, dial again; ends only by cancellation."""
        complained = False
        while True:
            try:
                session = await _dial(self._settings)
            except (nats.errors.Error, TimeoutError, OSError) as exc:
                if not complained:
                    _log.warning("bus_unreachable", error=str(exc) or type(exc).__name__)
                complained = True
            else:
                complained = False
                await self._hold(session)
            await asyncio.sleep(self._settings.redial_s)

    async def _hold(self, session: Session) -> None:
        self._session = session
        self._up.set()
        _log.info("bus_connected", url=self._settings.credentials.url)
        try:
            await session.lost.wait()
            _log.warning("bus_lost", url=self._settings.credentials.url)
        finally:
            self._up.clear()
            self._session = None
            session.lost.set()
            await _close(session.client)


def _honour_cancellation() -> None:
    """Raise the cancellation that the client library may just have swallowed.

    It waits with `asyncio.wait_for`, which up to Python 3.11 returns the answer instead when both
    come in the same turn of the loop: a task in an endless loop would then never end.
    Source: https://github.com/python/cpython/issues/86296.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _dial(settings: BusSettings) -> Session:
    client = Client()
    session = Session(
        client=client, jetstream=JetStreamContext(client, timeout=settings.request_timeout_s)
    )

    async def on_error(exc: Exception) -> None:
        if "permissions violation" in str(exc).lower():
            session.denials.append(str(exc))
            _log.warning("bus_permission_denied", error=str(exc))

    async def on_lost() -> None:
        session.lost.set()

    try:
        async with asyncio.timeout(settings.connect_timeout_s):
            await _connect(client, settings, on_error, on_lost)
    except BaseException:
        await _close(client)
        raise
    return session


async def _connect(
    client: Client,
    settings: BusSettings,
    on_error: Callable[[Exception], Awaitable[None]],
    on_lost: Callable[[], Awaitable[None]],
) -> None:
    credentials = settings.credentials
    await client.connect(
        servers=credentials.url,
        name=settings.name,
        user=credentials.user,
        password=credentials.password,
        inbox_prefix=inbox_prefix(credentials.user),
        allow_reconnect=False,
        max_reconnect_attempts=1,
        reconnect_time_wait=0,
        connect_timeout=max(1, round(settings.connect_timeout_s)),
        ping_interval=settings.ping_interval_s,  # type: ignore[arg-type]
        max_outstanding_pings=2,
        error_cb=on_error,
        disconnected_cb=on_lost,
        closed_cb=on_lost,
    )


async def _close(client: Client) -> None:
    with suppress(nats.errors.Error, TimeoutError, OSError):
        async with asyncio.timeout(1.0):
            await client.close()


def inbox_prefix(user: str) -> str:
    """Return the prefix under which this user, and nobody else, receives its answers."""
    return f"_INBOX_{user}"
