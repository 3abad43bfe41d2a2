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


def pattern_of(members: Mapping[str, str]) -> str:
    """Return a pattern for any of the members, each with what has to follow its name.

    A name may also be written with escapes. What looks like a member within a text does not match,
    because its quotation marks have backslashes before them.
    """
    return rf'"(?<=[{{,\s]")(?:{_any_of(members)}|{ESCAPED_LETTER})'


def _any_of(members: Mapping[str, str]) -> str:
    """Return alternatives without brackets around them; an empty name is one that ends here."""
    by_letter: dict[str, dict[str, str]] = {}
    for name, rest in sorted(members.items()):
        by_letter.setdefault(name[:1], {})[name[1:]] = rest
    ends = by_letter.pop("", {})
    return "|".join((*ends.values(), *_divided(by_letter)))


def _divided(by_letter: Mapping[str, Mapping[str, str]]) -> list[str]:
    """Return an alternative for each first letter, behind a look at a range of letters first."""
    letters = sorted(by_letter)
    if len(letters) <= _ALTERNATIVES_MAX:
        return [letter + _rest(by_letter[letter]) for letter in letters]
    middle = len(letters) // 2
    low = {letter: by_letter[letter] for letter in letters[:middle]}
    high = {letter: by_letter[letter] for letter in letters[middle:]}
    first = "|".join(_divided(low))
    return [f"(?=[{letters[0]}-{letters[middle - 1]}])(?:{first})", *_divided(high)]


def _rest(members: Mapping[str, str]) -> str:
    text = _any_of(members)
    return text if len({name[:1] for name in members}) == 1 else f"(?:{text})"
