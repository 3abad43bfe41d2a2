"""A stream reads the same whoever writes its chunks, for a fraction of the work."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import to_json

from services.replica.adapters.vllm.chunk_writer import (
    CHAT,
    COMPLETION,
    ChatStreams,
    Kind,
    form_of,
    install,
    written,
)

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@dataclass
class Piece:
    """As vLLM's `CompletionOutput`."""

    text: str
    token_ids: list[int]
    finish_reason: str | None = None


@dataclass
class Output:
    """As vLLM's `RequestOutput`."""

    outputs: list[Piece]
    finished: bool = False


@dataclass
class Theirs:
    """Writes chunks as vLLM does, and notes what it was asked to write.

    Attributes:
        spacing: what stands before the text; none in what vLLM writes today.
        given: the texts of its results.
        closed: how often it came to its end, or was closed.
    """

    kind: Kind
    spacing: str = ""
    given: list[str] = field(default_factory=list)
    closed: int = 0

    async def write(self, results: AsyncIterator[object]) -> AsyncGenerator[str | bytes, None]:
        """Write a chunk for each result, then the usage; an error is told and ends it."""
        tokens = 0
        try:
            async for result in results:
                (piece,) = self.kind.output(result).outputs
                if self.kind is CHAT and not self.given:
                    yield self._chunk("", None)
                self.given.append(piece.text)
                tokens += len(piece.token_ids)
                yield self._chunk(piece.text, piece.finish_reason)
            yield f'data: {{"usage":{tokens}}}\n\n'
        except ConnectionError as exc:
            yield f'data: {{"error":"{exc}"}}\n\n'
        finally:
            self.closed += 1
        yield "data: [DONE]\n\n"

    def _chunk(self, text: str, reason: str | None) -> str:
        said, end = to_json(text).decode(), to_json(reason).decode()
        return f'data: {{"id":"x",{self.kind.key}{self.spacing}{said},"end":{end}}}\n\n'


def stream(texts: list[str], *, is_whole: bool = True) -> list[Output]:
    """Return one result for each text, with as many tokens as its place in the row."""
    outputs = [Output([Piece(text, [0] * number)]) for number, text in enumerate(texts, start=1)]
    if is_whole and outputs:
        outputs[-1].finished, outputs[-1].outputs[0].finish_reason = True, "stop"
    return outputs


async def results(
    outputs: list[Output], kind: Kind, error: Exception | None = None
) -> AsyncIterator[object]:
    """Yield the results as the engine does."""
    for output in outputs:
        yield output if kind is CHAT else (0, output)
    if error is not None:
        raise error


async def text_of(chunks: AsyncIterator[str | bytes]) -> str:
    """Return everything that a client receives."""
    parts = [part.encode() if isinstance(part, str) else part async for part in chunks]
    return b"".join(parts).decode()


@pytest.mark.parametrize("kind", [CHAT, COMPLETION], ids=["chat", "completion"])
@given(texts=st.lists(TEXTS, max_size=6))
async def test_the_client_receives_the_same_bytes(kind: Kind, texts: list[str]) -> None:
    """Texts with quotes, control characters and anything else, and empty ones; the usage, too."""
    outputs = stream(texts)
    alone, ours = Theirs(kind), Theirs(kind)

    expected = await text_of(alone.write(results(outputs, kind)))
    received = await text_of(written(ours.write, results(outputs, kind), kind))

    assert received == expected
    assert ours.closed == 1


@pytest.mark.parametrize("kind", [CHAT, COMPLETION], ids=["chat", "completion"])
async def test_vllm_writes_the_first_text_and_the_end(kind: Kind) -> None:
    """Of five results it sees the empty one before the first text, that text, and the last."""
    theirs = Theirs(kind)

    await text_of(written(theirs.write, results(stream(["", "a", "b", "c", "d"]), kind), kind))

    assert theirs.given == ["", "a", "d"]


async def test_a_chunk_of_another_form_leaves_all_of_them_to_vllm() -> None:
    """A release that writes them otherwise is slower, and right."""
    alone, ours = (Theirs(CHAT, spacing=" ") for _ in range(2))
    outputs = stream(["a", "b", "c"])

    expected = await text_of(alone.write(results(outputs, CHAT)))

    assert await text_of(written(ours.write, results(outputs, CHAT), CHAT)) == expected
    assert ours.given == ["a", "b", "c"]


@pytest.mark.parametrize("before", [0, 1, 3])
async def test_an_error_of_the_engine_is_told_by_vllm(before: int) -> None:
    """Whether it comes before the first text, or while the chunks are ours."""
    outputs, error = stream(["a"] * before, is_whole=False), ConnectionError("gone")

    received = await text_of(written(Theirs(CHAT).write, results(outputs, CHAT, error), CHAT))

    assert received.endswith('data: {"error":"gone"}\n\ndata: [DONE]\n\n')
    assert received.count('"id"') == before + (before > 0)


async def test_a_client_that_leaves_closes_vllms_generator() -> None:
    """It is closed at once, not when memory is cleaned up."""
    theirs = Theirs(CHAT)
    chunks = written(theirs.write, results(stream(["a", "b", "c", "d"]), CHAT), CHAT)

    for _ in range(3):
        await anext(chunks)
    await chunks.aclose()

    assert theirs.closed == 1


def test_a_form_is_taken_from_the_chunk_of_its_own_text_only() -> None:
    """Neither from an empty text, which is found in the chunk with the role, nor from another."""
    chunk = 'data: {"delta":{"content":"a"},"end":null}\n\n'

    form = form_of(chunk, key='"content":', text="a")

    assert form is not None
    assert form.filled("b") == b'data: {"delta":{"content":"b"},"end":null}\n\n'
    assert form_of(chunk, key='"content":', text="b") is None
    assert form_of(chunk.replace('"a"', '""'), key='"content":', text="") is None


def test_an_application_that_only_embeds_is_left_as_it_is() -> None:
    """It has no handlers for texts, or None in their place."""
    embeds, chats = SimpleNamespace(), SimpleNamespace(chat_completion_stream_generator=print)

    install(embeds)
    install(SimpleNamespace(openai_serving_chat=chats, openai_serving_completion=None))

    assert vars(embeds) == {}
    assert isinstance(chats.chat_completion_stream_generator, ChatStreams)
