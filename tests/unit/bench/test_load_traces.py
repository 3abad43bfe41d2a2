"""Published traces are read as they are published; what is not one is refused by its line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.traces import TraceError, TraceFormat, TraceRequest, parse_trace

AZURE = [
    "TIMESTAMP,ContextTokens,GeneratedTokens\n",
    "2023-11-16 18:17:03.9799600,4808,10\n",
    "2023-11-16 18:17:04.4799600,3180,8\n",
]
MOONCAKE = [
    '{"timestamp": 27000, "input_length": 600, "output_length": 3, "hash_ids": [4, 5]}\n',
    '{"timestamp": 27500, "input_length": 512, "output_length": 9, "hash_ids": [4]}\n',
]


def azure(lines: list[str]) -> tuple[TraceRequest, ...]:
    """Read an Azure trace."""
    return parse_trace(lines, trace_format=TraceFormat.AZURE, name="trace.csv")


def mooncake(lines: list[str]) -> tuple[TraceRequest, ...]:
    """Read a Mooncake trace."""
    return parse_trace(lines, trace_format=TraceFormat.MOONCAKE, name="trace.jsonl")


def test_an_azure_trace_has_times_and_lengths() -> None:
    """The fraction of a second has seven digits there."""
    assert azure(AZURE) == (
        TraceRequest(at_s=0.0, prompt_tokens=4808, output_tokens=10),
        TraceRequest(at_s=0.5, prompt_tokens=3180, output_tokens=8),
    )


def test_a_mooncake_trace_has_blocks() -> None:
    """Its times are milliseconds, and count from its first request."""
    assert mooncake(MOONCAKE) == (
        TraceRequest(at_s=0.0, prompt_tokens=600, output_tokens=3, blocks=(4, 5)),
        TraceRequest(at_s=0.5, prompt_tokens=512, output_tokens=9, blocks=(4,)),
    )


def test_requests_are_put_in_the_order_of_their_times() -> None:
    """A replay goes forward only."""
    found = azure([AZURE[0], AZURE[2], AZURE[1]])

    assert found == azure(AZURE)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["time,in,out\n"], r"trace\.csv:1: expected the header TIMESTAMP,ContextTokens"),
        ([*AZURE, "2023-11-16 18:17:05,12\n"], r"trace\.csv:4: expected TIMESTAMP.*'2023"),
        ([*AZURE, "\n", "yesterday,1,2\n"], r"trace\.csv:5: .*found 'yesterday,1,2'"),
        ([*AZURE, "2023-11-16 18:17:05,-1,2\n"], r"trace\.csv:4: "),
        ([AZURE[0]], r"trace\.csv: no request in it"),
        ([], r"trace\.csv:1: expected the header"),
    ],
)
def test_a_broken_azure_trace_is_refused_by_its_line(lines: list[str], told: str) -> None:
    """The line's number, what was expected and what stands there."""
    with pytest.raises(TraceError, match=told):
        azure(lines)


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("not json", r'trace\.jsonl:3: expected \{"timestamp".*found \'not json\''),
        ('{"timestamp": 1}', r"trace\.jsonl:3: expected"),
        (
            '{"timestamp": 1, "input_length": 600, "output_length": 1, "hash_ids": [1]}',
            r"trace\.jsonl:3: expected 2 hash_ids for 600 tokens, 512 a block",
        ),
    ],
)
def test_a_broken_mooncake_trace_is_refused_by_its_line(line: str, told: str) -> None:
    """A trace with another block size is told apart from one that is damaged."""
    with pytest.raises(TraceError, match=told):
        mooncake([*MOONCAKE, line])


@given(st.text(max_size=200))
def test_any_line_is_read_or_refused(line: str) -> None:
    """Nothing else happens, whatever the file holds."""
    for parse, before in ((azure, AZURE), (mooncake, MOONCAKE)):
        try:
            parse([*before, line])
        except TraceError:
            continue


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=50))
def test_times_start_at_zero_and_keep_their_distances(stamps: list[int]) -> None:
    """Whatever clock the trace was taken with."""
    row = {"input_length": 1, "output_length": 1, "hash_ids": [0]}

    found = mooncake([json.dumps({"timestamp": stamp, **row}) for stamp in stamps])

    expected = [(stamp - min(stamps)) / 1000 for stamp in sorted(stamps)]
    assert [request.at_s for request in found] == pytest.approx(expected, abs=1e-6)
