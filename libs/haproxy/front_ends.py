"""Which requests vLLM's Rust front end serves; all others need its Python application.

One table for each release of vLLM, pure data: `config.py` renders it into HAProxy's rules, and the
conformance suite checks it against both front ends. It is conservative: a request goes to the Rust
front end only if nothing in it needs Python. To move a field to Python, add it to `python_fields`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[a-z][a-z_]*")
_VALUE: Final = re.compile(r"[a-z0-9.\[\]{}-]+")


@dataclass(frozen=True, slots=True, kw_only=True)
class FrontEndTable:
    """What the Rust front end of one release serves.

    Attributes:
        rust_paths: paths of POST requests that it serves; any other path needs Python.
        python_fields: members of a body that need Python, each with the values, as JSON writes
            them without spaces, that the Rust front end serves nevertheless. A member counts at any
            depth of the body, because HAProxy does not follow the nesting.
        python_lists: members that need Python if their value is a list.
    """

    rust_paths: tuple[str, ...]
    python_fields: Mapping[str, tuple[str, ...]]
    python_lists: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that the pattern for escaped names would miss.

        Raises:
            ValueError: a name has other characters than small letters and `_`, or a value has
                characters that would mean something in a pattern's place.
        """
        names = (*self.python_fields, *self.python_lists)
        values = [value for allowed in self.python_fields.values() for value in allowed]
        for text, shape in (*((n, _NAME) for n in names), *((v, _VALUE) for v in values)):
            if not shape.fullmatch(text):
                raise ValueError(f"{text!r} cannot be in the table of front ends")

    @property
    def python_pattern(self) -> str:
        r"""Return the regular expression (PCRE) that matches a body that needs Python.

        It looks at each quotation mark. A name in a text has a backslash before its closing
        quotation mark, so it does not match. `\u0061` may spell a letter of a name, so an escape of
        a small letter or `_` matches wherever a name could have begun.
        """
        members = (
            *(_member(name, allowed) for name, allowed in sorted(self.python_fields.items())),
            *(rf'{name}"\s*:\s*\[' for name in sorted(self.python_lists)),
        )
        return f'"(?:{"|".join(members)}|{_ESCAPED})'


_ESCAPED: Final = r"[a-z_]*\\u00(?:5[fF]|6|7)"


def _member(name: str, allowed: tuple[str, ...]) -> str:
    if not allowed:
        return rf'{name}"\s*:'
    values = "|".join(re.escape(value) for value in allowed)
    return rf'{name}"\s*:(?!\s*(?:{values})\s*[,}}])'


TABLES: Final[Mapping[str, FrontEndTable]] = {
    "0.32.0": FrontEndTable(
        rust_paths=("/v1/chat/completions", "/v1/completions"),
        python_fields={
            "n": ("1", "null"),
            "best_of": ("1", "null"),
            "tools": ("null",),
            "tool_choice": ("null",),
            "functions": ("null",),
            "function_call": ("null",),
            "use_beam_search": ("false", "null"),
            "priority": (),
            "request_id": (),
            "echo": ("false", "null"),
            "prompt_logprobs": ("null",),
            "prompt_embeds": ("null",),
        },
        python_lists=("prompt",),
    ),
}
"""By release of vLLM."""

TABLE: Final = TABLES["0.32.0"]
"""The table of the release that replicas run."""
