"""Which requests vLLM's Rust front end serves; all others need its Python application.

One table for each release of vLLM, pure data: `config.py` renders it into HAProxy's rules, and the
conformance suite establishes and checks it against both front ends (docs/FRONT_ENDS.md). A request
goes to the Rust front end only if nothing in it needs Python.

A member of the body counts at any depth, because HAProxy does not follow the nesting. That can only
send more to Python than necessary.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from libs.haproxy.member_pattern import pattern_of

_NAME: Final = re.compile(r"[a-z][a-z_]*")

INTEGER: Final = r"-?\d{1,18}"
NUMBER: Final = r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?"
BOOLEAN: Final = r"true|false"
NULL: Final = "null"
NOTHING: Final = r"(?!)"
"""Matches no value: the member always needs Python."""

MEASURED_FROM_BYTES: Final = 32_768
NEAR_THE_END: Final = rf"(?![\s\S]{{{MEASURED_FROM_BYTES}}})"
"""Matches where the rest of the body is short, and the value with it. The Python front end has
limits for a value's size, and the Rust one has none."""

_END: Final = r"\s*+[,}\]]"


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndTable:
    """What the Rust front end of one release serves.

    Attributes:
        rust_paths: paths of POST requests that it serves; any other path needs Python.
        values: members of a body by name, each with the pattern (PCRE, and Python's `re`) of the
            whole values that Rust serves as well as Python; any other value needs Python.
        beginnings: the same, with the pattern of the value's beginning.
        except_after: what may stand directly before a member of `beginnings` that does not count.
    """

    rust_paths: tuple[str, ...]
    values: Mapping[str, str]
    beginnings: Mapping[str, str]
    except_after: Mapping[str, tuple[str, ...]]

    def __post_init__(self) -> None:
        """Refuse names that the pattern for escaped names would miss.

        Raises:
            ValueError: a name has other characters than small letters and `_`.
        """
        for name in (*self.values, *self.beginnings):
            if not _NAME.fullmatch(name):
                raise ValueError(f"{name!r} cannot be in the table of front ends")

    @property
    def python_pattern(self) -> str:
        r"""Return the regular expression (PCRE) that matches a body that needs Python.

        A name that is spelled with escapes matches wherever it stands.
        """
        members = {name: rf'"\s*+:(?!\s*+(?:{s}){_END})' for name, s in self.values.items()}
        members |= {
            name: rf'{self._not_after(name)}"\s*+:(?!\s*+(?:{shape}))'
            for name, shape in self.beginnings.items()
        }
        return pattern_of(members)

    def _not_after(self, name: str) -> str:
        before = self.except_after.get(name, ())
        return "".join(f'(?<!{re.escape(text)}"{name})' for text in before)


_NUMBERS: Final = (
    *("temperature", "top_p", "min_p"),
    *("presence_penalty", "frequency_penalty", "repetition_penalty"),
)
_INTEGERS: Final = (
    *("top_k", "max_tokens", "max_completion_tokens", "min_tokens", "seed"),
    *("truncate_prompt_tokens", "stream_interval"),
)
_BOOLEANS: Final = (
    *("ignore_eos", "skip_special_tokens", "include_stop_str_in_output"),
    *("include_usage", "continuous_usage_stats", "return_token_ids"),
    *("return_tokens_as_token_ids", "add_special_tokens"),
    *("include_reasoning", "parallel_tool_calls"),
)

TABLES: Final[Mapping[str, FrontEndTable]] = {
    "0.32.0": FrontEndTable(
        rust_paths=("/v1/chat/completions", "/v1/completions"),
        values={
            # Python converts what it can ("4", 4.0, true); Rust refuses other types.
            **dict.fromkeys(_NUMBERS, f"{NUMBER}|{NULL}"),
            **dict.fromkeys(_INTEGERS, f"{INTEGER}|{NULL}"),
            **dict.fromkeys(_BOOLEANS, f"{BOOLEAN}|{NULL}"),
            "stream": BOOLEAN,
            "watermarking": BOOLEAN,
            # Rust knows one choice only.
            "n": "1",
            "use_beam_search": f"false|{NULL}",
            "length_penalty": NOTHING,
            # Tokens inside a character have wrong bytes and offsets.
            "logprobs": "false",
            "prompt_logprobs": NULL,
            "echo": "false",
            # Without a parser an internal error; the calls of earlier turns are rendered otherwise.
            "tools": NULL,
            "tool_calls": rf"{NULL}|\[\s*\]",
            "role": '"(?:system|user|assistant)"',
            "refusal": NULL,
            # Templates: Rust renders one of a request, which Python does not trust.
            "chat_template": NULL,
            "add_generation_prompt": "true",
            "continue_final_message": "false",
            "documents": NULL,
            "return_prompt_text": f"false|{NULL}",
            # Not checked, or refused, or with another result.
            "bad_words": r"\[\s*\]",
            "spaces_between_special_tokens": "true",
            "thinking_token_budget": NULL,
            "repetition_detection": NULL,
            "grammar": NOTHING,
            "cache_salt": NULL,
            "media_io_kwargs": NULL,
            "mm_processor_kwargs": NULL,
            "prompt_embeds": NULL,
            "request_id": NOTHING,
            "priority": r"-?\d{1,9}",
        },
        beginnings={
            # An empty text is refused, and several parts are joined otherwise.
            "content": rf'"[^"]|{NULL}',
            # A list of token ids, but not of texts or of lists.
            "prompt": r'"|\[\s*\d',
            # Without a stream, empty options are refused.
            "stream_options": rf'\{{\s*"|{NULL}',
            # Of a message; a property of a schema may have this name.
            "name": r"[\[{]",
            # Compiled, or looked at for each token.
            **dict.fromkeys(
                ("response_format", "structured_outputs", "logit_bias", "allowed_token_ids"),
                NEAR_THE_END,
            ),
        },
        except_after={"name": ('"json_schema":{', '"json_schema": {')},
    ),
}
"""By release of vLLM."""

TABLE: Final = TABLES["0.32.0"]
"""The table of the release that replicas run."""
