"""Decide which leases of a bucket still count, by the reader's own time.

Theory: a lease has a TTL and is refreshed long before that passes. A reader can therefore tell by
itself that a lease is dead: it was not refreshed for longer than the TTL. The reader cannot rely on
the server for this, because nats-server can bring back expired values from its store after an
unclean end, and then never expires them.

- *Heard*: a write that arrives while the reader follows the bucket. Its lease counts for the TTL
  plus `SLACK_S` of listening time. A stopped process and an absent bus don't use up that time.
- *Read*: a value that comes with the whole bucket and may have any age. It counts if its age, by
  the clocks of both machines, is at most the TTL. Otherwise it is *unproven* until its next write.
  Clocks that differ therefore hide a living lease for at most one refresh.
- A revision whose time has passed never counts again.

Values without a TTL always count.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

SLACK_S: Final = 2.0
"""How much longer than its TTL a lease counts, in seconds.

The server checks for expired values once a second and tells every reader, so its expiry normally
comes first.
"""


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
    """The leases of one bucket; keys that are not among them count."""

    def __init__(self) -> None:
        """Know no lease."""
        self._leases: dict[str, _Lease] = {}
        self._doubted = False

    def __bool__(self) -> bool:
        """Tell whether any lease has time left."""
        return any(lease.left_s > 0 for lease in self._leases.values())

    @property
    def unproven(self) -> tuple[str, ...]:
        """Keys of leases that a write may still prove alive, sorted."""
        leases = self._leases.items()
        return tuple(sorted(key for key, each in leases if not each.proven and each.left_s > 0))

    def counts(self, key: str) -> bool:
        """Tell whether the value of this key counts."""
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
        """Note that writes cannot be heard for now; leases that count keep counting."""
        self._doubted = True

    def trust(self) -> None:
        """Note that the whole bucket was read again."""
        self._doubted = False

    def pass_time(self, seconds: float) -> tuple[str, ...]:
        """Let listening time pass; returns the keys that stopped counting."""
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
