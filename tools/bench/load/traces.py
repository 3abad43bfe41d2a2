"""Published request traces, from their lines to requests: pure.

Two formats: `azure` (AzurePublicDataset's LLM inference traces, CSV) and `mooncake` (the traces of
the Mooncake paper, JSON lines, with a hash for every block of 512 prompt tokens: requests with the
same leading hashes share that prefix).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import islice
from typing import Final

import msgspec

from libs.errors import UsageError

TRACE_REQUESTS_MAX: Final = 2_000_000
_SHOWN_CHARACTERS: Final = 80
_AZURE_COLUMNS: Final = "TIMESTAMP,ContextTokens,GeneratedTokens"
_AZURE_FIELDS: Final = 3
_MOONCAKE_EXPECTED: Final = (
    '{"timestamp": ms, "input_length": tokens, "output_length": tokens, "hash_ids": [..]}'
)


class TraceError(UsageError):
    """The trace cannot be read."""


class TraceFormat(StrEnum):
    """Who published the trace."""

    AZURE = "azure"
    MOONCAKE = "mooncake"


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceRequest:
    """One request of a trace.

    Attributes:
        at_s: seconds after the trace's first request.
        blocks: hashes of the prompt's blocks, the last one may be partial; None when the trace
            does not say what prompts share.
    """

    at_s: float
    prompt_tokens: int
    output_tokens: int
    blocks: tuple[int, ...] | None = None


class _MooncakeLine(msgspec.Struct, gc=False):
    timestamp: float
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


def parse_trace(
    lines: Iterable[str], *, trace_format: TraceFormat, name: str, block_tokens: int = 512
) -> tuple[TraceRequest, ...]:
    """Read a trace; the requests come in the order of their times, the first one at 0.

    Raises:
        TraceError: a line is not what the format says, or there is no request.
    """
    if trace_format is TraceFormat.AZURE:
        found = _azure(lines, name)
    else:
        found = _mooncake(lines, name, block_tokens)
    requests = sorted(islice(found, TRACE_REQUESTS_MAX), key=lambda request: request.at_s)
    if not requests:
        raise TraceError(f"{name}: no request in it")
    start_s = requests[0].at_s
    return tuple(replace(request, at_s=request.at_s - start_s) for request in requests)


def _azure(lines: Iterable[str], name: str) -> Iterator[TraceRequest]:
    rows = enumerate(lines, start=1)
    _, head = next(rows, (1, ""))
    if head.strip().lstrip("\ufeff") != _AZURE_COLUMNS:
        raise _unreadable(name, 1, f"the header {_AZURE_COLUMNS}", head)
    for number, line in rows:
        if line.strip():
            yield _azure_row(name, number, line)


def _azure_row(name: str, number: int, line: str) -> TraceRequest:
    try:
        moment, prompt, output = line.strip().split(",", _AZURE_FIELDS - 1)
        at = datetime.fromisoformat(moment)
        return TraceRequest(
            at_s=(at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp(),
            prompt_tokens=_count(int(prompt)),
            output_tokens=_count(int(output)),
        )
    except ValueError as exc:
        expected = f"{_AZURE_COLUMNS} as 2023-11-16 18:17:03.97,4808,10"
        raise _unreadable(name, number, expected, line) from exc


def _mooncake(lines: Iterable[str], name: str, block_tokens: int) -> Iterator[TraceRequest]:
    decoder = msgspec.json.Decoder(_MooncakeLine)
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            row = decoder.decode(line)
            _count(row.input_length)
            _count(row.output_length)
        except (msgspec.DecodeError, ValueError) as exc:
            raise _unreadable(name, number, _MOONCAKE_EXPECTED, line) from exc
        blocks = -(-row.input_length // block_tokens)
        if blocks != len(row.hash_ids):
            expected = f"{blocks} hash_ids for {row.input_length} tokens, {block_tokens} a block"
            raise _unreadable(name, number, expected, f"{len(row.hash_ids)} of them")
        yield TraceRequest(
            at_s=row.timestamp / 1000,
            prompt_tokens=row.input_length,
            output_tokens=max(1, row.output_length),
            blocks=row.hash_ids,
        )


def _count(value: int) -> int:
    """Return a number of tokens; a request with none of them is sent with one."""
    if value < 0:
        raise ValueError("a number of tokens is negative")
    return max(1, value)


def _unreadable(name: str, number: int, expected: str, found: str) -> TraceError:
    found = found.strip()
    shown = found if len(found) <= _SHOWN_CHARACTERS else found[:_SHOWN_CHARACTERS] + "..."
    return TraceError(f"{name}:{number}: expected {expected}, found {shown!r}")
