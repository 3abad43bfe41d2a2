"""How much there is in a JSON body, without parsing it: pure.

A parser makes an object of each value, and vLLM's validation tries each message as all kinds that
there are: a body of 48 kB holds the event loop, and with it every stream, for two seconds. Counting
bytes takes milliseconds for megabytes.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

_UTF8: Final = "utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What a body holds, at least as much as a parser would find.

    Attributes:
        texts: strings, the names of members included.
        objects: objects and lists.
        values: all that commas separate, and all objects and lists.
    """

    texts: int
    objects: int
    values: int

    def excess(self, most: Shape) -> str | None:
        """Say what is beyond the limits; None when nothing is."""
        for name in ("objects", "values", "texts"):
            found, limit = getattr(self, name), getattr(most, name)
            if found > limit:
                return f"more than {limit} {_WORDS[name]}"
        return None


_WORDS: Final = {"objects": "objects and lists", "values": "values", "texts": "strings"}


def excess_in(body: bytes, most: Shape) -> str | None:
    """Say what a body has too much of; None when it is within the limits, or cannot be read."""
    text = _as_utf8(body)
    if text is None or _counted(text).excess(most) is None:
        return None
    # What stands in strings is only text, and a prompt may well be a program.
    plain = text.replace(b"\\\\", b"").replace(b'\\"', b"")
    texts = _number(b'"', plain) // 2
    if texts > most.texts:
        return Shape(texts=texts, objects=0, values=0).excess(most)
    return _counted(b'""'.join(plain.split(b'"')[::2])).excess(most)


def _counted(text: bytes) -> Shape:
    return Shape(
        texts=_number(b'"', text) // 2,
        objects=_number(b"{[", text),
        values=_number(b"{[,", text),
    )


def _number(signs: bytes, text: bytes) -> int:
    """Count in one pass, however many there are; `count` takes as long again for each."""
    return len(text) - len(text.translate(None, signs))


def _as_utf8(body: bytes) -> bytes | None:
    encoding = json.detect_encoding(body)
    if encoding == _UTF8:
        return body
    try:
        return body.decode(encoding, "surrogatepass").encode(_UTF8, "surrogatepass")
    except ValueError:
        return None
