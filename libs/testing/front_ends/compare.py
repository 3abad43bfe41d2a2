"""Whether two answers to one request mean the same: pure.

An answer is taken apart into its meaning: status, content type, and the JSON tree without what
differs from call to call (ids, times). A stream is put together to the whole answer that it tells,
plus the order in which it tells it; how the text is cut into events is left out, since that depends
on timing. A field that is null says the same as one that is absent.

Two log probabilities are equal within `LOGPROB_TOLERANCE`: the engine's sums depend on the batch.

An error means its status and that it has OpenAI's shape; its wording, type and code differ
everywhere. An error event in a stream that told nothing else counts like an error with its status.

Three more differences are everywhere, and are no loss to a client (docs/FRONT_ENDS.md lists them):
- Rust's usage says how many tokens were reasoning, which is 0 without a reasoning parser.
- A text that ends inside a character, at `max_tokens`, ends with U+FFFD in Rust's answer, and
  without it in Python's.
- An answer without any text has the content `null` in Rust's answer, and an empty text in Python's.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

LOGPROB_TOLERANCE: Final = 2e-3

Tree = object
"""What a JSON parser gives."""

_VOLATILE: Final = frozenset({"id", "created", "system_fingerprint", "request_id"})
_EMPTY_MEANS_ABSENT: Final = frozenset({"tool_calls", "annotations", "content"})
_TEXT_MIN: Final = 2
"""Characters of a text; a shorter one may be a token, where half a character counts."""

_NO_REASONING: Final = {"reasoning_tokens": 0}
_HALF_CHARACTER: Final = "\ufffd"
_DONE: Final = "[DONE]"
_ERROR_EVENT: Final = re.compile(rb'^data: (\{"error".*)$', re.MULTILINE)
_BRIEF_CHARACTERS: Final = 160
_HTTP_OK: Final = range(200, 300)
_HTTP_SERVER_ERROR: Final = range(500, 600)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What came back over HTTP."""

    status: int
    content_type: str
    body: bytes

    @property
    def error(self) -> Mapping[str, Tree] | None:
        """The error in OpenAI's shape, of an answer or of an event; None where there is none."""
        found = _ERROR_EVENT.search(self.body)
        try:
            tree = json.loads(found[1] if found else self.body)
        except ValueError:
            return None
        error = tree.get("error") if isinstance(tree, dict) else None
        return error if isinstance(error, dict) else None

    @property
    def meant_status(self) -> int:
        """The status, or that of the error event in a stream."""
        error = self.error
        if self.status not in _HTTP_OK or error is None:
            return self.status
        code = error.get("code")
        return code if isinstance(code, int) else 500

    @property
    def is_success(self) -> bool:
        """Whether the request was answered, in the end too: an error event is a failure."""
        return self.meant_status in _HTTP_OK


class Kind(StrEnum):
    """How two answers differ; the first three may never reach a client of the Rust front end."""

    RUST_FAILS = "Python answers and Rust does not"
    MEANING = "both answer, with different meaning"
    RUST_BREAKS = "Python refuses (4xx) and Rust has an internal error (5xx)"
    RUST_ANSWERS = "Rust answers what Python refuses"
    STATUS = "both refuse, with different status"
    SHAPE = "both refuse with the same status, in different shapes"


LOST_BY_A_CLIENT: Final = frozenset({Kind.RUST_FAILS, Kind.MEANING, Kind.RUST_BREAKS})
"""What has to be routed to Python, but for requests that OpenAI's API or JSON's RFC forbids."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """That two answers differ; `detail` names the places, for people."""

    kind: Kind
    detail: str


def compare(*, rust: Answer, python: Answer) -> Difference | None:
    """Return how two answers to one request differ; None where they mean the same."""
    kind = _kind_by_status(rust, python)
    if kind is not None:
        return Difference(kind=kind, detail=f"{_brief(rust)} | {_brief(python)}")
    if python.is_success:
        places = list(_places(_meaning(rust), _meaning(python), ""))
        return Difference(kind=Kind.MEANING, detail="; ".join(places[:6])) if places else None
    places = list(_places(_error_shape(rust), _error_shape(python), ""))
    return Difference(kind=Kind.SHAPE, detail="; ".join(places)) if places else None


def _kind_by_status(rust: Answer, python: Answer) -> Kind | None:
    if python.is_success:
        return None if rust.is_success else Kind.RUST_FAILS
    if rust.is_success:
        return Kind.RUST_ANSWERS
    if rust.meant_status == python.meant_status:
        return None
    return Kind.RUST_BREAKS if rust.meant_status in _HTTP_SERVER_ERROR else Kind.STATUS


def _brief(answer: Answer) -> str:
    return f"{answer.status} {answer.body[:_BRIEF_CHARACTERS].decode(errors='replace')}"


def _meaning(answer: Answer) -> Tree:
    kind = answer.content_type.partition(";")[0].strip()
    if kind == "text/event-stream":
        return {"content-type": kind, "status": answer.status, **_stream(answer.body)}
    tree: Tree = answer.body.decode(errors="replace")
    if kind == "application/json":
        tree = _settled(json.loads(answer.body))
    return {"content-type": kind, "status": answer.status, "body": tree}


def _error_shape(answer: Answer) -> Tree:
    """Return which fields an error has, without its wording."""
    if answer.error is not None:
        return sorted(answer.error)
    return answer.body.decode(errors="replace")[:_BRIEF_CHARACTERS]


def _settled(tree: Tree) -> Tree:
    """Return a tree without nulls and what differs from call to call."""
    if isinstance(tree, Mapping):
        return {
            key: _settled(value)
            for key, value in tree.items()
            if key not in _VOLATILE
            and value is not None
            and not (key in _EMPTY_MEANS_ABSENT and not value)
            and not (key == "completion_tokens_details" and value == _NO_REASONING)
        }
    return [_settled(each) for each in tree] if isinstance(tree, list) else tree


@dataclass(slots=True)
class _Choice:
    """What a stream has told about one choice so far."""

    texts: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[Tree]] = field(default_factory=dict)
    values: dict[str, Tree] = field(default_factory=dict)

    def add(self, tree: Tree, prefix: str = "") -> None:
        assert isinstance(tree, Mapping)
        for key, value in tree.items():
            name = f"{prefix}{key}"
            if isinstance(value, Mapping) and key in {"delta", "logprobs"}:
                self.add(value, f"{name}.")
            elif isinstance(value, str) and key in {"content", "text", "reasoning"}:
                self.texts[name] = self.texts.get(name, "") + value
            elif isinstance(value, list):
                self.lists.setdefault(name, []).extend(value)
            elif value is not None:
                self.values[name] = value


def _stream(body: bytes) -> dict[str, Tree]:
    events = re.findall(r"^data: ?(.*)$", body.decode(errors="replace"), re.MULTILINE)
    choices: dict[int, _Choice] = {}
    others: dict[str, Tree] = {}
    order: list[str] = []
    ids: set[str] = set()
    for event in events:
        if event == _DONE:
            order.append("done")
            continue
        tree = json.loads(event)
        ids.add(str(tree.get("id")))
        others |= {key: value for key, value in _settled_items(tree) if key != "choices"}
        order += _told(tree)
        for choice in tree.get("choices", ()):
            choices.setdefault(choice["index"], _Choice()).add(choice)
    told = {
        str(index): {
            **{name: text for name, text in each.texts.items() if text},
            **each.values,
            **{name: _settled(values) for name, values in each.lists.items() if values},
        }
        for index, each in sorted(choices.items())
    }
    coalesced = [each for n, each in enumerate(order) if n == 0 or order[n - 1] != each]
    return {"choices": told, "order": coalesced, "ids": len(ids), **others}


def _settled_items(tree: Mapping[str, Tree]) -> Iterator[tuple[str, Tree]]:
    settled = _settled(tree)
    assert isinstance(settled, Mapping)
    yield from settled.items()


def _told(event: Mapping[str, Tree]) -> list[str]:
    """Return what an event says beside a piece of text, in the words of `order`."""
    choices = event.get("choices")
    if not isinstance(choices, list) or not choices:
        return [f"without choices: {sorted(set(event) - _VOLATILE - {'object', 'model'})}"]
    usage = " and usage" if event.get("usage") else ""
    roles = ["role" + usage for choice in choices if (choice.get("delta") or {}).get("role")]
    return roles + ["finish" + usage for choice in choices if choice.get("finish_reason")]


def _places(rust: Tree, python: Tree, path: str) -> Iterator[str]:
    """Name every place where two trees differ, Rust's value first."""
    if isinstance(rust, Mapping) and isinstance(python, Mapping):
        for key in sorted({*rust, *python}):
            yield from _places(rust.get(key), python.get(key), f"{path}.{key}")
    elif isinstance(rust, list) and isinstance(python, list) and len(rust) == len(python):
        for number, (one, other) in enumerate(zip(rust, python, strict=True)):
            yield from _places(one, other, f"{path}[{number}]")
    elif not _equal(rust, python):
        yield f"{path}: {str(rust)[:_BRIEF_CHARACTERS]!r} | {str(python)[:_BRIEF_CHARACTERS]!r}"


def _equal(rust: Tree, python: Tree) -> bool:
    if isinstance(rust, float) and isinstance(python, float):
        return math.isclose(rust, python, abs_tol=LOGPROB_TOLERANCE)
    return rust == python or _is_cut(rust, python)


def _is_cut(rust: Tree, python: Tree) -> bool:
    """Tell whether Rust's text has the half of a character that Python's leaves out."""
    if not isinstance(rust, str) or not isinstance(python, str) or len(python) < _TEXT_MIN:
        return False
    return rust.endswith(_HALF_CHARACTER) and rust.rstrip(_HALF_CHARACTER) == python.rstrip(
        _HALF_CHARACTER
    )
