"""Which leases of a bucket still count, by their reader's own time.

Theory: a lease is written with a TTL and written again long before that passes, so its reader
needs no word of the bus to know that one is dead: nothing was written for longer than the TTL.
That matters, because nats-server can bring expired values back from its store after an unclean
end, and then no scan ends them.

- A write that is *heard* (it arrives while the bucket is followed) makes its lease count for its
  TTL and a little more. That time is the reader's own: seconds in which it was listening. A
  process that was stopped, and a bus that was away, cost no lease anything.
- A lease that is *read* with the whole bucket may be of any age. It counts if it is not older than
  its TTL by the two machines' clocks; otherwise it is *unproven* and counts from its next write on.
  So a dead lease never counts, and clocks that differ hide a living one for one refresh at most.
- The same revision never counts again once its time is over.

A value without a TTL always counts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLACK_S: Final = 2.0
"""How much longer than its TTL a lease counts, so that the server's own expiry comes first where it
works: it looks once a second, and every reader hears of it."""


@dataclass(slots=True, kw_only=True)
class _Lease:
    """One lease as last heard or read.

    Attributes:
        left_s: for how long it counts, or has still to prove that it lives.
        proven: it counts while any time is left.
    """

    revision: int
    left_s: float
    proven: bool


class Lifetimes:
    """The leases of one bucket; whatever is not among them counts."""

    def __init__(self) -> None:
        """Know no lease."""
        self._leases: dict[str, _Lease] = {}
        self._doubted = False

    def __bool__(self) -> bool:
        """Tell whether time matters to anything."""
        return any(lease.left_s > 0 for lease in self._leases.values())

    @property
    def unproven(self) -> tuple[str, ...]:
        """Keys of leases that a write may still prove alive, sorted."""
        leases = self._leases.items()
        return tuple(sorted(key for key, each in leases if not each.proven and each.left_s > 0))

    def counts(self, key: str) -> bool:
        """Tell whether a value under this key is to be taken for alive."""
        lease = self._leases.get(key)
        return lease is None or (lease.proven and lease.left_s > 0)

    def hear(self, key: str, *, revision: int, ttl_s: float | None) -> None:
        """Take in a write that was just made."""
        self._set(key, revision, ttl_s, proven=True)

    def read(self, key: str, *, revision: int, ttl_s: float | None, age_s: float) -> None:
        """Take in a value that was read with the whole bucket; `age_s` is by both clocks."""
        before = self._leases.get(key)
        if before is not None and before.revision == revision and before.left_s <= 0:
            return
        if before is not None and before.proven and before.left_s > 0 and not self._doubted:
            if before.revision != revision:
                self._set(key, revision, ttl_s, proven=True)
            return
        self._set(key, revision, ttl_s, proven=ttl_s is None or age_s <= ttl_s)

    def forget(self, key: str) -> None:
        """Take in that a key is gone."""
        self._leases.pop(key, None)

    def doubt(self) -> None:
        """Begin a time in which nothing can be heard; what counts goes on counting."""
        self._doubted = True

    def trust(self) -> None:
        """Everything has been read since."""
        self._doubted = False

    def pass_time(self, seconds: float) -> tuple[str, ...]:
        """Let time pass in which writes would have been heard; returns what no longer counts."""
        over: list[str] = []
        for key, lease in self._leases.items():
            if lease.left_s > 0:
                lease.left_s -= seconds
                if lease.left_s <= 0 and lease.proven:
                    over.append(key)
        return tuple(over)

    def _set(self, key: str, revision: int, ttl_s: float | None, *, proven: bool) -> None:
        if ttl_s is None:
            self.forget(key)
        else:
            self._leases[key] = _Lease(revision=revision, left_s=ttl_s + SLACK_S, proven=proven)
