"""What a client reads of a stream, from vLLM alone and from the replica alike.

Answers are compared without their ids and times. Two tokens may come in one chunk where the machine
is busy, so of a plain stream its whole text is compared, and its chunks without their texts.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import groupby

import pytest

from libs.testing.json_program import JsonProgram
from libs.testing.tiny_model import WORDS, words

pytestmark = pytest.mark.asyncio(loop_scope="session")

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
MESSAGES = [{"role": "user", "content": words(9)}]
LONG, SHORT = {"max_tokens": 12}, {"max_tokens": 1}
USAGE = {"stream_options": {"include_usage": True}}
CONTINUOUS_USAGE = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}

PLAIN = [
    LONG,
    SHORT,
    LONG | USAGE,
    LONG | {"ignore_eos": True, "n": 1, "temperature": 0.5, "seed": 3} | USAGE,
    {"max_tokens": 40, "stop": ["q", "h", "e", "a"]} | USAGE,
    LONG | {"stop": ["never said"], "include_stop_str_in_output": True},
    LONG | {"priority": 0, "user": '"content":"' + WORDS[0] + '"'},
]
OTHERS = [
    SHORT | {"n": 2} | USAGE,
    SHORT | {"echo": True},
    SHORT | {"return_token_ids": True},
    SHORT | CONTINUOUS_USAGE,
    {"max_tokens": 1_000},
    LONG | {"temperature": -1},
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Read:
    """What a client read.

    Attributes:
        forms: the lines that are not empty, with a mark for every text, equal ones in a row once.
        text: all texts together.
        sluices: how many chunks vLLM did not write.
    """

    status: object
    forms: list[str]
    text: str
    sluices: object = field(compare=False)


async def read(vllm: JsonProgram, by: str, path: str, options: dict[str, object]) -> Read:
    """Ask for a stream that `vllm` or `sluice` writes."""
    prompt: dict[str, object] = {"messages": MESSAGES} if path == CHAT else {"prompt": words(9)}
    body = {"model": "sim", "stream": True, **prompt, **options}
    found = await vllm.order(do="post", by=by, path=path, body=body)
    whole = re.sub(r'"(id|created)":("[^"]*"|\d+)', r'"\1":0', str(found["text"]))
    lines = re.sub(r'"(content|text)":"[^"]+"', r'"\1":"…"', whole).split("\n")
    return Read(
        status=found["status"],
        forms=[line for line, _ in groupby(line for line in lines if line)],
        text="".join(re.findall(r'"(?:content|text)":"([^"]*)"', whole)),
        sluices=found["sluices"],
    )


@pytest.mark.parametrize("options", PLAIN)
@pytest.mark.parametrize("path", [CHAT, COMPLETION])
async def test_a_plain_stream_reads_the_same(
    vllm: JsonProgram, path: str, options: dict[str, object]
) -> None:
    """Role, texts, finish reason, usage and the end; every key in its place."""
    expected = await read(vllm, "vllm", path, options)

    assert expected.forms[-1] == "data: [DONE]"
    assert expected.text
    assert await read(vllm, "sluice", path, options) == expected


@pytest.mark.parametrize("options", OTHERS)
@pytest.mark.parametrize("path", [CHAT, COMPLETION])
async def test_so_does_what_asks_for_more_than_text(
    vllm: JsonProgram, path: str, options: dict[str, object]
) -> None:
    """One token an answer, for what is said of each token must come in equal chunks."""
    expected = await read(vllm, "vllm", path, options)

    assert await read(vllm, "sluice", path, options) == expected


@pytest.mark.parametrize(("options", "are_some"), [(LONG, True), (LONG | CONTINUOUS_USAGE, False)])
@pytest.mark.parametrize("path", [CHAT, COMPLETION])
async def test_only_a_plain_stream_is_taken_off_vllm(
    vllm: JsonProgram, path: str, options: dict[str, object], *, are_some: bool
) -> None:
    """And it is, with this release of vLLM: its chunks have the form that is looked for."""
    written = [(await read(vllm, by, path, options)).sluices for by in ("vllm", "sluice")]

    assert written[0] == 0
    assert (written[1] != 0) is are_some
