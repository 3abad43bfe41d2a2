"""How much work a request asks for, and how much one request may: pure.

HAProxy's queues, a tenant's limits and `max_num_seqs` count requests, so one request must not be
thousands of them.

Source: OpenAI's API reference: `n` is at most 128, an embedding's `input` has at most 2,048 texts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

GRAMMAR_MEMBERS: Final = ("response_format", "structured_outputs", "text")
"""The last one holds the format of `/v1/responses`; elsewhere it is one text of an input."""

INPUT_MEMBERS: Final = (
    *("input", "documents", "text_1", "text_2", "data_1", "data_2"),
    *("queries", "items"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLimits:
    """The most that one request may ask for.

    Attributes:
        sequences_max: answers, `n` times the number of prompts; the width of a beam is `n`.
        inputs_max: texts to embed, score, rank or classify, or items of a response's input.
        messages_max: messages of a chat; vLLM takes the event loop for 0.15 ms for a bad one.
        biases_max: entries of `logit_bias`, each of which costs something in each step.
        grammar_bytes_max: size of a schema, a pattern or a grammar, which is compiled.
    """

    sequences_max: int = 128
    inputs_max: int = 2048
    messages_max: int = 1024
    biases_max: int = 1024
    grammar_bytes_max: int = 65_536


def excess_of(members: Mapping[str, object], limits: WorkLimits) -> str | None:
    """Say what a body's members ask too much of, and name the limit; None when nothing is.

    Lists of the body are lists, its objects tuples of pairs. What has a wrong type is left to
    vLLM, which refuses it in its own words.
    """
    found = {
        "sequences (n times prompts)": (_sequences(members), limits.sequences_max),
        "inputs": (sum(_texts(members.get(name)) for name in INPUT_MEMBERS), limits.inputs_max),
        "messages": (_length(members.get("messages")), limits.messages_max),
        "entries of logit_bias": (_length(members.get("logit_bias")), limits.biases_max),
        "bytes of a schema or grammar": (_grammar_bytes(members), limits.grammar_bytes_max),
    }
    for what, (asked, limit) in found.items():
        if asked > limit:
            return f"{asked} {what}, and the limit is {limit}"
    return None


def _sequences(members: Mapping[str, object]) -> int:
    prompts = _texts(members.get("prompt")) + _texts(members.get("prompt_embeds"))
    return _whole(members.get("n")) * max(1, prompts)


def _whole(value: object) -> int:
    """Read a number as vLLM converts it: 4, 4.0, "4", and true for 1."""
    if isinstance(value, int | float | str):
        with suppress(ValueError, OverflowError):
            return int(float(value))
    return 1


def _texts(value: object) -> int:
    """Count the texts of an input: a list of token ids is one."""
    if not isinstance(value, list) or not value:
        return 0 if value is None else 1
    return 1 if isinstance(value[0], int) else len(value)


def _length(value: object) -> int:
    return len(value) if isinstance(value, list | tuple) else 0


def _grammar_bytes(members: Mapping[str, object]) -> int:
    return max(
        (len(json.dumps(members[name])) for name in GRAMMAR_MEMBERS if members.get(name)), default=0
    )
