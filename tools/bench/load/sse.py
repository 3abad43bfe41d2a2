"""Server-sent events and OpenAI's chunks, from bytes to what a measurement needs: pure.

Only `data:` lines matter here, and OpenAI's servers put one event on one line, so an event that is
spread over several `data:` lines is not put together.
Source: HTML living standard, 9.2.6 "Interpreting an event stream".
"""

from __future__ import annotations

from typing import Final

import msgspec

LINE_BYTES_MAX: Final = 4 * 2**20
DONE: Final = b"[DONE]"
_PREFIX: Final = b"data:"


class LineTooLongError(ValueError):
    """An event stream has a line longer than LINE_BYTES_MAX."""


NO_ERROR: Final = b"null"


class SseReader:
    """Cuts a byte stream into the payloads of its `data:` lines."""

    __slots__ = ("_rest",)

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        """Return the payloads that are complete with these bytes.

        Raises:
            LineTooLongError: the line does not end.
        """
        lines = (self._rest + data if self._rest else data).split(b"\n")
        self._rest = lines.pop()
        if len(self._rest) > LINE_BYTES_MAX:
            raise LineTooLongError
        return [line[5:].strip() for line in lines if line.startswith(_PREFIX)]


class Delta(msgspec.Struct, gc=False):
    """What a chat chunk adds; `reasoning` has had two names."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[msgspec.Raw] | None = None


class Choice(msgspec.Struct, gc=False):
    """One choice of a chunk or of a whole answer; completions have `text`."""

    text: str | None = None
    delta: Delta | None = None


class Usage(msgspec.Struct, gc=False):
    """What the server counted."""

    prompt_tokens: int = 0
    completion_tokens: int | None = None


class Answer(msgspec.Struct, gc=False):
    """A chunk of a stream, or a whole answer; unknown fields are skipped."""

    choices: list[Choice] = []
    usage: Usage | None = None
    error: msgspec.Raw = msgspec.Raw(NO_ERROR)


_ANSWER: Final = msgspec.json.Decoder(Answer)


def decode(payload: bytes) -> Answer:
    """Read one chunk or answer.

    Raises:
        msgspec.DecodeError: it is not JSON, or not of OpenAI's shape.
    """
    return _ANSWER.decode(payload)


def has_text(answer: Answer) -> bool:
    """Whether a user would see something of this chunk."""
    for choice in answer.choices:
        if choice.text:
            return True
        delta = choice.delta
        if delta is not None and (
            delta.content or delta.reasoning or delta.reasoning_content or delta.tool_calls
        ):
            return True
    return False
