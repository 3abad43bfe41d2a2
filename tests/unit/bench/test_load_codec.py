"""Requests are valid HTTP and JSON; event streams are read the same however they are cut."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.bench.load.arrivals import RequestSpec
from tools.bench.load.plan import Endpoint, OutputLength, Target
from tools.bench.load.request_codec import RequestCodec
from tools.bench.load.sse import (
    LINE_BYTES_MAX,
    LineTooLongError,
    SseReader,
    decode,
    frame_of,
    has_text,
)

SPEC = RequestSpec(at_s=None, prompt=b"able about above", prompt_tokens=3, output_tokens=7)
PAYLOADS = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Z", "C"]), min_size=1), max_size=10
)


def body_of(target: Target, body_bytes_min: int = 0) -> dict[str, object]:
    """Return the JSON of a request after checking its length."""
    request = RequestCodec(target=target, body_bytes_min=body_bytes_min).encode(SPEC)
    head, _, body = request.partition(b"\r\n\r\n")
    assert b"content-length: %d" % len(body) in head
    found: dict[str, object] = json.loads(body)
    return found


def test_a_chat_request_asks_for_exact_lengths_and_usage() -> None:
    """The default against vLLM."""
    body = body_of(Target(url="http://h:1", model="a"))

    assert body == {
        "model": "a",
        "messages": [{"role": "user", "content": "able about above"}],
        "temperature": 0,
        "max_tokens": 7,
        "min_tokens": 7,
        "ignore_eos": True,
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_a_plain_completion_asks_only_for_what_every_server_knows() -> None:
    """Other servers refuse fields of vLLM."""
    target = Target(
        url="http://h:1",
        model="a",
        endpoint=Endpoint.COMPLETIONS,
        stream=False,
        output_length=OutputLength.AT_MOST,
    )

    body = body_of(target)

    assert body == {"model": "a", "prompt": "able about above", "temperature": 0, "max_tokens": 7}


def test_the_head_names_the_host_the_path_and_own_headers() -> None:
    """HTTP/1.1 needs the host with its port."""
    target = Target(url="http://h:81", model="a", headers=(("authorization", "Bearer k"),))

    request = RequestCodec(target=target).encode(SPEC)

    lines = request.split(b"\r\n\r\n")[0].split(b"\r\n")
    assert lines[0] == b"POST /v1/chat/completions HTTP/1.1"
    assert b"host: h:81" in lines
    assert b"authorization: Bearer k" in lines


@given(st.integers(0, 5000))
def test_a_body_is_filled_up_to_its_least_size(least: int) -> None:
    """It stays valid JSON, and is at most one field's name too long."""
    target = Target(url="http://h:1", model="a")

    request = RequestCodec(target=target, body_bytes_min=least).encode(SPEC)

    body = request.partition(b"\r\n\r\n")[2]
    json.loads(body)
    assert least <= len(body) <= max(least, len(RequestCodec(target=target).encode(SPEC))) + 12


@given(PAYLOADS, st.sampled_from(["\n", "\r\n"]), st.lists(st.integers(1, 30), max_size=200))
def test_a_stream_is_read_the_same_however_it_is_cut(
    payloads: list[str], end: str, cuts: list[int]
) -> None:
    """TCP keeps no boundaries, not even between the bytes of a letter."""
    stream = f": comment{end}".encode()
    stream += "".join(f"event: x{end}data: {each}{end}{end}" for each in payloads).encode()
    reader, found = SseReader(), []

    for size in [*cuts, len(stream)]:
        found += reader.feed(stream[:size])
        stream = stream[size:]

    assert found == [payload.encode() for payload in payloads]


def test_a_line_without_end_is_refused() -> None:
    """A broken server must not fill the generator's memory."""
    with pytest.raises(LineTooLongError):
        SseReader().feed(b"data: " + b"x" * LINE_BYTES_MAX)


@pytest.mark.parametrize(
    ("payload", "seen"),
    [
        ('{"choices":[{"delta":{"content":"a"}}]}', True),
        ('{"choices":[{"delta":{"reasoning_content":"a"}}]}', True),
        ('{"choices":[{"delta":{"tool_calls":[{"index":0}]}}]}', True),
        ('{"choices":[{"text":"a"}]}', True),
        ('{"choices":[{"delta":{"role":"assistant","content":""}}]}', False),
        ('{"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}', False),
        ('{"choices":[{"delta":{},"finish_reason":"length"}]}', False),
        ('{"error":{"message":"no"}}', False),
    ],
)
def test_only_what_a_user_sees_counts_as_text(payload: str, seen: bool) -> None:  # noqa: FBT001 - a table
    """The first chunk of a chat says who speaks, and nothing else."""
    assert has_text(decode(payload.encode())) is seen


EVENTS = st.builds(
    lambda shape, text, ascii_only: shape(text, ascii_only),
    st.sampled_from(
        [
            lambda text, plain: event({"choices": [{"delta": {"content": text}}]}, plain=plain),
            lambda text, plain: event(
                {"choices": [{"delta": {"content": text}, "finish_reason": "stop"}]}, plain=plain
            ),
            lambda text, plain: event({"choices": [{"text": text}], "usage": None}, plain=plain),
            lambda text, plain: event(
                {"choices": [{"text": text}], "usage": {"completion_tokens": 1}}, plain=plain
            ),
            lambda text, plain: event({"choices": [{"delta": {"role": text}}]}, plain=plain),
            lambda text, plain: event({"error": {"message": text}}, plain=plain),
            lambda text, plain: event({"choices": []}, plain=plain) * 2,
        ]
    ),
    st.sampled_from(
        ["", "a", " word", '"', "\\", 'a","usage":{"b":"c', "\n", "é", "😀", "}\n\ndata: {"]
    ),
    st.booleans(),
)


def event(tree: dict[str, object], *, plain: bool) -> bytes:
    """Return one event as servers write it."""
    text = json.dumps(tree, ensure_ascii=plain, separators=(",", ":"))
    return b"data: " + text.encode() + b"\n\n"


@given(EVENTS, EVENTS)
def test_a_frame_holds_nothing_but_one_text(first: bytes, second: bytes) -> None:
    """What it takes without a parser is what the parser takes for text without usage or error."""
    frame = frame_of(first)

    if frame is not None and frame.holds_text(second):
        (payload,) = SseReader().feed(second)
        answer = decode(payload)
        assert has_text(answer)
        assert answer.usage is None
        assert bytes(answer.error) == b"null"


def test_chunks_that_differ_in_their_text_share_a_frame() -> None:
    """So that a stream is parsed at its beginning and its end only."""
    first, second, third = (
        event({"id": "c", "choices": [{"delta": {"content": text}}]}, plain=False)
        for text in (" word", "é😀", 'a "quoted" one')
    )

    frame = frame_of(first)

    assert frame is not None
    assert frame.holds_text(first)
    assert frame.holds_text(second)
    assert not frame.holds_text(third)
    assert not frame.holds_text(first + second)
    assert not frame.holds_text(first[:-1])
