"""One request and its answer: fed with bytes and times, it knows how it ended. No I/O.

It is sent, takes the head, then pieces of the body, and ends once: with `complete` (whole, or the
stream lacked [DONE]), with `lost` (the connection broke) or with `fail` (whatever else).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import msgspec

from tools.bench.load.samples import Ledger, Outcome, Row
from tools.bench.load.sse import (
    DONE,
    NO_ERROR,
    Answer,
    Frame,
    LineTooLongError,
    SseReader,
    decode,
    frame_of,
    has_text,
)

BODY_BYTES_MAX: Final = 16 * 2**20
"""Of an answer that is not streamed; what is beyond is dropped and makes it malformed."""
_TEACHING_EVENTS: Final = 4
"""The first chunk of a chat may have a shape of its own."""
_BROKEN_JSON: Final = (msgspec.DecodeError, LineTooLongError)


@dataclass(slots=True, kw_only=True)
class Exchange:
    """The state of one request; every method that ends it does so once.

    Attributes:
        keeps_gaps: whether its gaps between tokens are part of the measurement.
        outcome: None while it goes on.
    """

    ledger: Ledger
    intended_s: float
    started_s: float
    asked_tokens: int
    stream: bool
    keeps_gaps: bool
    outcome: Outcome | None = None
    sent_s: float = math.nan
    first_s: float = math.nan
    last_s: float = math.nan
    end_s: float = math.nan
    status: int = 0
    text_events: int = 0
    window_events: int = 0
    prompt_tokens: float = math.nan
    output_tokens: float = math.nan
    _done: bool = False
    _fault: Outcome | None = None
    _detail: str = ""
    _body: bytearray = field(default_factory=bytearray)
    _sse: SseReader = field(default_factory=SseReader)
    _frame: Frame | None = None

    def head(self, status: int) -> None:
        """Take the answer's status."""
        self.status = status

    def body(self, data: bytes, now_s: float) -> None:
        """Take a piece of the answer's body."""
        if not self.stream or self.status != HTTPStatus.OK:
            self._body += data[: BODY_BYTES_MAX - len(self._body)]
            return
        if self._frame is not None and self._sse.is_between_lines and self._frame.holds_text(data):
            self._text(now_s)
            return
        try:
            self._events(data, now_s)
        except _BROKEN_JSON as exc:
            self._note(Outcome.MALFORMED, str(exc))

    def _events(self, data: bytes, now_s: float) -> None:
        """Read events one by one; the first ones teach what the following look like."""
        was_between_lines = self._sse.is_between_lines
        for payload in self._sse.feed(data):
            if payload == DONE:
                self._done = True
            else:
                self._chunk(decode(payload), now_s)
        if was_between_lines and self.text_events <= _TEACHING_EVENTS:
            self._frame = frame_of(data)

    def complete(self, now_s: float) -> None:
        """Take the end of the answer, as HTTP tells it."""
        if self.status != HTTPStatus.OK:
            self.fail(Outcome.HTTP_ERROR, now_s, self._body.decode(errors="replace"))
            return
        if not self.stream:
            self._whole(now_s)
        elif not self._done:
            self._note(Outcome.TRUNCATED, f"no [DONE] after {self.text_events} chunks with text")
        self.fail(self._fault or Outcome.OK, now_s, self._detail)

    def lost(self, now_s: float, why: str) -> None:
        """Take the end of the connection before HTTP's end of the answer."""
        if self.status == HTTPStatus.OK and self._done:
            self.complete(now_s)
        elif self.status == HTTPStatus.OK:
            detail = f"connection lost after {self.text_events} chunks with text: {why}"
            self.fail(Outcome.TRUNCATED, now_s, detail)
        else:
            self.fail(Outcome.RESET, now_s, why)

    def fail(self, outcome: Outcome, now_s: float, detail: str = "") -> None:
        """End with this outcome and write the row; a second end is ignored."""
        if self.outcome is not None:
            return
        self.outcome, self.end_s = outcome, now_s
        if outcome is not Outcome.OK:
            self.ledger.explain(kind_of(outcome, self.status), detail)
        self.ledger.write(self._row(outcome))

    def _chunk(self, answer: Answer, now_s: float) -> None:
        if has_text(answer):
            self._text(now_s)
        if answer.usage is not None:
            self._count(answer)
        if (error := bytes(answer.error)) != NO_ERROR:
            self._note(Outcome.STREAM_ERROR, error.decode(errors="replace"))

    def _text(self, now_s: float) -> None:
        if self.text_events == 0:
            self.first_s = now_s
        elif self.keeps_gaps:
            self.ledger.gaps.append(now_s - self.last_s)
        self.last_s = now_s
        self.text_events += 1
        self.window_events += self.ledger.window.holds(now_s)
        self.ledger.text_came(now_s)

    def _whole(self, now_s: float) -> None:
        """Read an answer that was not streamed; all of its text came at once."""
        try:
            answer = decode(bytes(self._body))
        except msgspec.DecodeError as exc:
            self._note(Outcome.MALFORMED, str(exc))
            return
        if answer.usage is not None:
            self._count(answer)
        self.text_events = 1
        self.window_events = int(self.ledger.window.holds(now_s))
        self.ledger.text_came(now_s)

    def _count(self, answer: Answer) -> None:
        usage = answer.usage
        if usage is None or usage.completion_tokens is None:
            return
        self.prompt_tokens, self.output_tokens = usage.prompt_tokens, usage.completion_tokens

    def _note(self, fault: Outcome, detail: str) -> None:
        if self._fault is None:
            self._fault, self._detail = fault, detail

    def _row(self, outcome: Outcome) -> Row:
        return Row(
            intended_s=self.intended_s,
            started_s=self.started_s,
            sent_s=self.sent_s,
            first_s=self.first_s,
            last_s=self.last_s,
            end_s=self.end_s,
            asked_tokens=self.asked_tokens,
            prompt_tokens=self.prompt_tokens,
            output_tokens=self.output_tokens,
            text_events=self.text_events,
            window_events=self.window_events,
            outcome=outcome,
            status=self.status,
        )


def kind_of(outcome: Outcome, status: int) -> str:
    """Return the name under which an error is counted: `http_503`, `connect`, `truncated`, ..."""
    return f"http_{status}" if outcome is Outcome.HTTP_ERROR else outcome.name.lower()
