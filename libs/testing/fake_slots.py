"""An engine's room for adapters, without an engine: a test decides what it refuses.

Its behaviour and the real one's are held against each other in `tests/contract/replica`.
"""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from pathlib import Path

from libs.contracts.model_spec import AdapterSpec
from libs.errors import TerminalError


@dataclass
class FakeSlots:
    """Takes an adapter whose source is a directory; with `gate` only when that is open.

    Attributes:
        held: sources by handle.
        served: handles by name.
    """

    room: int = 3
    gate: asyncio.Event | None = None
    held: dict[int, str] = field(default_factory=dict)
    served: dict[str, int] = field(default_factory=dict)
    _handles: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def load(self, adapter: AdapterSpec) -> int:
        """Take an adapter in, for nobody yet, and return its handle."""
        if self.gate is not None:
            await self.gate.wait()
        if not _is_there(adapter):
            raise TerminalError(f"adapter {adapter.name}: {adapter.source} does not exist")
        assert len(self.held) < self.room, "an engine would put another adapter out"
        handle = next(self._handles)
        self.held[handle] = adapter.source
        return handle

    def serve(self, name: str, handle: int | None) -> None:
        """Give requests for a name this adapter from here on, or refuse them with None."""
        if handle is None:
            self.served.pop(name, None)
        else:
            assert handle in self.held
            self.served[name] = handle

    async def free(self, handle: int) -> None:
        """Give an adapter's room back."""
        del self.held[handle]

    def source_of(self, name: str) -> str | None:
        """Return what a request for a name gets; None when it is refused."""
        handle = self.served.get(name)
        return None if handle is None else self.held[handle]


def _is_there(adapter: AdapterSpec) -> bool:
    return Path(adapter.source).is_dir()
