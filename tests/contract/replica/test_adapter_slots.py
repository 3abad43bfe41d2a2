"""What an engine's room for adapters promises, of the fake and of vLLM alike.

vLLM runs in a process of its own, on the device that only takes time.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Protocol

import pytest
import pytest_asyncio

from libs.contracts.model_spec import AdapterSpec
from libs.errors import ControlPlaneError, TerminalError
from libs.testing.fake_slots import FakeSlots
from libs.testing.json_program import JsonProgram
from libs.testing.lora_adapter import write_adapter_config
from services.replica.ports import AdapterSlots

pytestmark = pytest.mark.asyncio(loop_scope="session")


class Subject(Protocol):
    """An engine's room, and what a request for a name gets; None when it is refused."""

    slots: AdapterSlots

    async def answer(self, name: str) -> str | None:
        """Ask."""
        ...


class FakeSubject:
    """The fake."""

    def __init__(self) -> None:
        """Begin without an adapter."""
        self._fake = FakeSlots()
        self.slots: AdapterSlots = self._fake

    async def answer(self, name: str) -> str | None:
        """Ask."""
        return self._fake.source_of(name)


class VllmSubject:
    """vLLM behind a pipe; it is its own slots. `serve` is sent with the next order."""

    def __init__(self, program: JsonProgram) -> None:
        """Take a program that runs."""
        self._program = program
        self._unsent: list[dict[str, object]] = []
        self.room = int(str(program.hello["room"]))
        self.slots: AdapterSlots = self

    async def load(self, adapter: AdapterSpec) -> int:
        """Load."""
        found = await self._order(do="load", name=adapter.name, source=adapter.source)
        if "error" in found:
            raise TerminalError(str(found["error"]))
        handle = found["handle"]
        assert isinstance(handle, int)
        return handle

    def serve(self, name: str, handle: int | None) -> None:
        """Serve."""
        self._unsent.append({"do": "serve", "name": name, "handle": handle})

    async def free(self, handle: int) -> None:
        """Free."""
        await self._order(do="free", handle=handle)

    async def answer(self, name: str) -> str | None:
        """Ask."""
        text = (await self._order(do="answer", name=name))["text"]
        return None if text is None else str(text)

    async def _order(self, **order: object) -> dict[str, object]:
        for each in self._unsent:
            await self._program.order(**each)
        self._unsent.clear()
        return await self._program.order(**order)


@pytest_asyncio.fixture(scope="session", loop_scope="session", params=["fake", "vllm"])
async def subject(request: pytest.FixtureRequest, vllm: JsonProgram) -> AsyncIterator[Subject]:
    """Offer the fake first, then the real one; each lives for the whole suite."""
    if request.param == "fake":
        yield FakeSubject()
    else:
        yield VllmSubject(vllm)


def adapter(folder: Path, name: str) -> AdapterSpec:
    """Write an adapter that may have a name."""
    return AdapterSpec(name=name, source=str(write_adapter_config(folder / name)))


async def test_an_adapter_answers_from_the_moment_it_is_served(
    subject: Subject, tmp_path: Path
) -> None:
    """Reading it into the engine is not enough; and the end of serving is a refusal."""
    handle = await subject.slots.load(adapter(tmp_path, "sql"))
    before = await subject.answer("sql")
    subject.slots.serve("sql", handle)
    during = await subject.answer("sql")
    subject.slots.serve("sql", None)
    await subject.slots.free(handle)

    assert before is None
    assert during is not None
    assert await subject.answer("sql") is None


async def test_a_name_moves_from_one_adapter_to_another(subject: Subject, tmp_path: Path) -> None:
    """Both are in the engine at once, and the first may go while the second serves."""
    first = await subject.slots.load(adapter(tmp_path / "1", "law"))
    subject.slots.serve("law", first)
    old = await subject.answer("law")
    second = await subject.slots.load(adapter(tmp_path / "2", "law"))
    between = await subject.answer("law")
    subject.slots.serve("law", second)
    new = await subject.answer("law")
    await subject.slots.free(first)
    after = await subject.answer("law")
    subject.slots.serve("law", None)
    await subject.slots.free(second)

    assert old == between
    assert new == after
    assert new != old


async def test_an_adapter_that_is_not_there_is_refused_and_the_others_answer(
    subject: Subject, tmp_path: Path
) -> None:
    """The engine lives on."""
    handle = await subject.slots.load(adapter(tmp_path, "sql"))
    subject.slots.serve("sql", handle)

    with pytest.raises(ControlPlaneError, match="lost"):
        await subject.slots.load(AdapterSpec(name="lost", source=str(tmp_path / "lost")))

    assert await subject.answer("sql") is not None
    subject.slots.serve("sql", None)
    await subject.slots.free(handle)


async def test_there_is_room_for_one_more_than_may_be_declared(
    subject: Subject, tmp_path: Path
) -> None:
    """Filled to the last place, every one answers, and each in its own words."""
    handles = [
        await subject.slots.load(adapter(tmp_path, f"a{number}"))
        for number in range(subject.slots.room)
    ]
    for number, handle in enumerate(handles):
        subject.slots.serve(f"a{number}", handle)

    texts = {await subject.answer(f"a{number}") for number in range(subject.slots.room)}

    assert subject.slots.room == 3
    assert len(texts) == 3
    assert None not in texts
    for number, handle in enumerate(handles):
        subject.slots.serve(f"a{number}", None)
        await subject.slots.free(handle)
