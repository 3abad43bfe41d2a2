"""Commands that end half done, or meet another one: what they leave is never more than was wanted.

Invariant: at no write of `tenant add` and `tenant revoke`, and in no order of the writes of `add`
and `open`, does the bus hold a word that would open the edge once the tenant is revoked.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.ports import Record
from libs.contracts.ids import ModelName
from libs.contracts.subjects import MODELS_BUCKET, TENANTS_BUCKET
from libs.contracts.tenant import OPEN_TO_ALL_KEY, OpenToAll, Tenant
from libs.testing.in_memory_bus import InMemoryBus
from libs.testing.records import a_model, a_tenant
from tools.cli.declare import ModelsChangedError, read_models, write_changes
from tools.cli.model_changes import model_changes
from tools.cli.tenant_changes import Limits
from tools.cli.tenants import add_tenant, open_to_all, revoke_tenant

OPEN = OpenToAll(declared_at=1.0)


class Ended(BaseException):
    """The command was killed."""


class MortalBus(InMemoryBus):
    """A bus whose user dies before a write, and that lets others run between two."""

    def __init__(self, *, writes: int = 1_000, pauses: list[int] | None = None) -> None:
        """Allow some writes; before each, as many turns of others pass as `pauses` says."""
        super().__init__()
        self.writes_left = writes
        self.pauses = pauses or []

    async def put(self, bucket: str, key: str, value: Record, *, ttl_s: float | None = None) -> int:
        """Write, if the writer still lives."""
        await self._live()
        return await super().put(bucket, key, value, ttl_s=ttl_s)

    async def put_if(
        self, bucket: str, key: str, value: Record, *, revision: int, ttl_s: float | None = None
    ) -> int | None:
        """Write, if the writer still lives."""
        await self._live()
        return await super().put_if(bucket, key, value, revision=revision, ttl_s=ttl_s)

    async def delete(self, bucket: str, key: str, *, revision: int | None = None) -> bool:
        """Remove, if the writer still lives."""
        await self._live()
        return await super().delete(bucket, key, revision=revision)

    async def _live(self) -> None:
        if not self.writes_left:
            raise Ended
        self.writes_left -= 1
        for _ in range(self.pauses.pop() if self.pauses else 0):
            await asyncio.sleep(0)


@pytest.mark.parametrize("writes", range(4))
async def test_a_tenant_that_is_half_added_leaves_no_open_access(writes: int) -> None:
    """Killed at any moment, `add` never leaves a tenant beside the word that opens the edge."""
    bus = MortalBus()
    await bus.put(TENANTS_BUCKET, OPEN_TO_ALL_KEY, OPEN)
    bus.writes_left = writes

    with suppress(Ended):
        await add_tenant(bus, "acme", Limits(), key="sk-acme")

    is_there = await bus.get(TENANTS_BUCKET, "acme") is not None
    assert not (is_there and await is_open(bus))


@pytest.mark.parametrize("writes", range(3))
async def test_a_revoked_tenant_never_leaves_the_edge_open(writes: int) -> None:
    """Not even where an older version left the word."""
    bus = MortalBus()
    await bus.put(TENANTS_BUCKET, "acme", a_tenant())
    await bus.put(TENANTS_BUCKET, OPEN_TO_ALL_KEY, OPEN)
    bus.writes_left = writes

    with suppress(Ended):
        await revoke_tenant(bus, "acme")

    entry = await bus.get(TENANTS_BUCKET, "acme")
    assert entry is not None
    assert isinstance(entry.value, Tenant)
    assert not (entry.value.is_revoked and await is_open(bus))


@given(pauses=st.lists(st.integers(min_value=0, max_value=6), max_size=8))
def test_add_and_open_at_once_leave_no_open_access(pauses: list[int]) -> None:
    """Two people who do not know of each other: the tenant wins."""

    async def both() -> bool:
        bus = MortalBus(pauses=pauses)
        await asyncio.gather(
            add_tenant(bus, "acme", Limits(), key="sk-acme"),
            open_to_all(bus),
            return_exceptions=True,
        )
        return await is_open(bus)

    assert not asyncio.run(both())


async def test_apply_writes_over_nobody() -> None:
    """A model that somebody else changed since it was read is named and left; others are done."""
    bus = InMemoryBus()
    for name in ("a", "b", "c"):
        await bus.put(MODELS_BUCKET, name, a_model(name))
    stored = await read_models(bus)
    theirs = a_model("a", replicas_min=3)
    await bus.put(MODELS_BUCKET, "a", theirs)
    await bus.put(MODELS_BUCKET, "c", a_model("c", replicas_min=3))
    await bus.put(MODELS_BUCKET, "d", a_model("d", replicas_min=3))
    wanted = [a_model(name, replicas_min=2) for name in ("a", "b", "d")]

    with pytest.raises(ModelsChangedError, match="changed d, a, c at"):
        await write_changes(bus, model_changes(declared=wanted, stored=stored.specs), stored)

    found = (await read_models(bus)).specs
    assert found[ModelName("a")] == theirs
    assert found[ModelName("b")].scaling.min == 2
    assert found.keys() == {"a", "b", "c", "d"}


async def test_apply_writes_over_a_record_that_nobody_can_read() -> None:
    """That is how a bad record is mended."""
    bus = InMemoryBus()
    bus.put_raw(MODELS_BUCKET, "m", b"not a record")
    stored = await read_models(bus)

    await write_changes(bus, model_changes(declared=[a_model()], stored=stored.specs), stored)

    assert (await read_models(bus)).specs == {"m": a_model()}


async def is_open(bus: InMemoryBus) -> bool:
    """Tell whether requests would need no key once no tenant has one."""
    return await bus.get(TENANTS_BUCKET, OPEN_TO_ALL_KEY) is not None
