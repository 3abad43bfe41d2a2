r"""A regular expression that finds members of a JSON text by name, made to be fast in PCRE 8.

HAProxy's PCRE has no just-in-time compiler: it looks for the pattern's first character byte by
byte, and there it tries alternatives one after the other, about 15 ns each. So the pattern begins
with a quotation mark, goes on only where a member can begin, behind `{`, `,` or white space, and
names share their first letters.

Every repetition is possessive: nothing is tried twice, so no body reaches PCRE's limits, beyond
which HAProxy would take it for one that does not match.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

ESCAPED_LETTER: Final = r"[a-z_]*+\\u00(?:5[fF]|6|7)"
r"""A name that may be spelled with an escape of a small letter or `_`, such as `\u0061`."""

_ALTERNATIVES_MAX: Final = 4
"""More of them are divided by their first letter before they are tried."""

_Tree = dict[str, "_Tree | str"]


def pattern_of(members: Mapping[str, str]) -> str:
    """Return a pattern for any of the members, each with what has to follow its name's end.

    A name may also be written with escapes. What looks like a member within a text does not match,
    because its quotation marks have backslashes before them.
    """
    tree: _Tree = {}
    for name, rest in members.items():
        _add(tree, name, rest)
    return rf'"(?<=[{{,\s]")(?:{_branches(tree)}|{ESCAPED_LETTER})'


def _add(tree: _Tree, name: str, rest: str) -> None:
    for letter in name:
        found = tree.setdefault(letter, {})
        assert not isinstance(found, str)
        tree = found
    tree[""] = rest


def _branches(tree: _Tree) -> str:
    """Return alternatives without brackets around them."""
    letters = sorted(letter for letter in tree if letter)
    ends = [end] if isinstance(end := tree.get(""), str) else []
    return "|".join((*ends, *_divided(tree, letters)))


def _divided(tree: _Tree, letters: list[str]) -> list[str]:
    if len(letters) <= _ALTERNATIVES_MAX:
        return [letter + _rest(tree[letter]) for letter in letters]
    middle = len(letters) // 2
    low, high = letters[:middle], letters[middle:]
    first = "|".join(_divided(tree, low))
    return [f"(?=[{low[0]}-{low[-1]}])(?:{first})", *_divided(tree, high)]


def _rest(tree: _Tree | str) -> str:
    assert not isinstance(tree, str)
    text = _branches(tree)
    return text if len(tree) == 1 else f"(?:{text})"
