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

    @property
    def is_between_lines(self) -> bool:
        """Whether no part of a line is kept."""
        return not self._rest

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


_TEXT_KEYS: Final = (b'"content":"', b'"text":"')


class Frame:
    """What the events of one stream share around their text, so that most need no JSON parser.

    An event that begins and ends like one with text, and has as many quotation marks, differs from
    it in the text alone: a text cannot end before its closing mark.
    """

    __slots__ = ("_head", "_quotes", "_size", "_tail")

    def __init__(self, head: bytes, tail: bytes) -> None:
        self._head, self._tail = head, tail
        self._size = len(head) + len(tail)
        self._quotes = head.count(b'"') + tail.count(b'"')

    def holds_text(self, data: bytes) -> bool:
        """Whether this is one whole event of the frame, with a text that is not empty."""
        return (
            len(data) > self._size
            and data.startswith(self._head)
            and data.endswith(self._tail)
            and data.count(b'"') == self._quotes
        )


def frame_of(data: bytes) -> Frame | None:
    """Learn the frame from bytes that are one whole event; None for any other event.

    An event of the frame has one choice with a plain text, and no usage and no error.
    """
    is_one_event = data.startswith(_PREFIX) and data.endswith(b"\n\n") and data.count(b"\n") == 2  # noqa: PLR2004 - the blank line's
    key = next((key for key in _TEXT_KEYS if data.count(key) == 1), None)
    if not is_one_event or key is None:
        return None
    start = data.index(key) + len(key)
    end = data.index(b'"', start)
    answer = decode(data[len(_PREFIX) :].strip())
    is_plain = end > start and b"\\" not in data[start:end]
    if not is_plain or len(answer.choices) != 1 or answer.usage is not None:
        return None
    if bytes(answer.error) != NO_ERROR or _text_of(answer.choices[0]) != data[start:end].decode():
        return None
    return Frame(data[:start], data[end:])


def _text_of(choice: Choice) -> str | None:
    return choice.text if choice.delta is None else choice.delta.content


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
