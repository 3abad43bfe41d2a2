"""Whether two models claim one name, told without looking at every name each time.

Theory: where no two of the last claims had a name in common, two of the present ones can share
only a name that one of them did not claim then. Among 100,000 names those are nearly always few.
The memory changes how long the answer takes and never the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

LOOKED_UP_MAX: Final = 256
"""With more new names it is quicker to go through all of them."""

Claims = Mapping[str, frozenset[str]]
"""The names that each model calls itself."""


class Contention:
    """Remembers the last claims that had no name in common."""

    def __init__(self, *, looked_up_max: int = LOOKED_UP_MAX) -> None:
        """Start with no claims, which have none."""
        self._looked_up_max = looked_up_max
        self._apart: Claims = {}

    def is_in(self, claims: Claims) -> bool:
        """Return whether some name is claimed twice."""
        had = {model: self._apart.get(model, frozenset()) for model in claims}
        new = [names - had[m] for m, names in claims.items() if names is not had[m]]
        if sum(map(len, new)) > self._looked_up_max:
            contended = sum(map(len, claims.values())) > len(frozenset().union(*claims.values()))
        else:
            contended = any(_claimed_twice(name, claims) for names in new for name in names)
        if not contended:
            self._apart = claims
        return contended


def _claimed_twice(name: str, claims: Claims) -> bool:
    return sum(name in names for names in claims.values()) > 1
