"""Brings the adapters that the engine serves to those that are wanted, while requests run.

No request of the model or of another adapter notices. A name that is not wanted any more is first
left out of the lease, then refused, and its room in the engine is free once the requests that came
in before are answered: an engine that must read an adapter again in the middle of a batch, and
cannot, ends. One adapter is read at a time, since the engine stands still meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Never

from libs.clock import Clock, wait_for_event
from libs.contracts.model_spec import AdapterSpec
from libs.errors import ControlPlaneError
from libs.telemetry.logging import get_logger
from services.replica.domain.adapters import Failure, Patience, Shelf, next_steps, withdraw
from services.replica.ports import AdapterSlots, Door

RETRY_S: Final = 30.0
"""How soon a load that failed is tried again."""

LEAVING_POLL_S: Final = 0.2
"""How often requests that still run with a replaced or dropped adapter are looked for."""

IDLE_S: Final = 3600.0

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaving:
    """An adapter that takes no new requests, and those that came in while it did."""

    handle: int
    requests: frozenset[int]


class AdapterKeeper:
    """Loads, replaces and drops adapters; `want` may be called at any time."""

    def __init__(self, clock: Clock, *, grace_s: float, tell: Callable[[Shelf], None]) -> None:
        """Start with nothing wanted; `tell` hears of every shelf that differs from the last."""
        self._clock = clock
        self._patience = Patience(grace_s=grace_s, retry_s=RETRY_S)
        self._tell = tell
        self._wanted: tuple[AdapterSpec, ...] = ()
        self._shelf = Shelf()
        self._handles: dict[str, int] = {}
        self._leaving: list[_Leaving] = []
        self._due = asyncio.Event()

    def want(self, adapters: tuple[AdapterSpec, ...]) -> None:
        """Have these adapters, and no others, from here on."""
        self._wanted = adapters
        self._due.set()

    async def keep(self, slots: AdapterSlots, door: Door) -> Never:
        """Follow what is wanted, until cancelled."""
        while True:
            pause_s = await self.go_round(slots, door)
            await wait_for_event(self._clock, self._due, timeout_s=pause_s)

    async def go_round(self, slots: AdapterSlots, door: Door) -> float:
        """Do what can be done at once; return how many seconds nothing more can be."""
        self._due.clear()
        now = self._clock.monotonic()
        self._become(withdraw(self._wanted, self._shelf, now=now))
        steps = next_steps(self._wanted, self._shelf, now=now, patience=self._patience)
        for name in steps.drop:
            slots.serve(name, None)
            self._leave(name, door)
            self._become(self._shelf.without(name))
        await self._free(slots, door)
        for adapter in steps.load:
            if len(self._handles) + len(self._leaving) >= slots.room:
                # What is not wanted any more makes room: its grace ends, or its requests do.
                break
            await self._load(adapter, slots, door)
        pause_s = IDLE_S if steps.look_again_s is None else steps.look_again_s
        return min(pause_s, LEAVING_POLL_S) if self._leaving else pause_s

    async def _load(self, adapter: AdapterSpec, slots: AdapterSlots, door: Door) -> None:
        began = self._clock.monotonic()
        try:
            handle = await slots.load(adapter)
        except ControlPlaneError as exc:
            self._fail(Failure(adapter=adapter, cause=str(exc), at=self._clock.monotonic()))
            return
        slots.serve(adapter.name, handle)
        self._leave(adapter.name, door)
        self._handles[adapter.name] = handle
        self._become(self._shelf.with_loaded(adapter))
        _log.info(
            "adapter_loaded",
            adapter=adapter.name,
            source=adapter.source,
            duration_s=round(self._clock.monotonic() - began, 3),
        )

    def _fail(self, failure: Failure) -> None:
        last = self._shelf.failures.get(failure.adapter.name)
        if last is None or last.cause != failure.cause:
            _log.warning("adapter_not_loaded", adapter=failure.adapter.name, why=failure.cause)
        self._become(self._shelf.with_failure(failure))
        # The look at the shelf was before this failure: the next one knows when to try again.
        self._due.set()

    def _leave(self, name: str, door: Door) -> None:
        """Note what a name served until here; its room is free when its requests are answered."""
        handle = self._handles.pop(name, None)
        if handle is not None:
            self._leaving.append(_Leaving(handle=handle, requests=door.inside(name)))

    async def _free(self, slots: AdapterSlots, door: Door) -> None:
        for each in tuple(self._leaving):
            if not door.have_left(each.requests):
                continue
            self._leaving.remove(each)
            try:
                await slots.free(each.handle)
            except ControlPlaneError as exc:
                _log.warning("adapter_not_freed", why=str(exc))

    def _become(self, shelf: Shelf) -> None:
        before, self._shelf = self._shelf, shelf
        if (before.listed(), before.troubles()) != (shelf.listed(), shelf.troubles()):
            self._tell(shelf)
