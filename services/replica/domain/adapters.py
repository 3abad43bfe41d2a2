"""Which adapters to load and to drop next: pure.

    wanted  --load-->  serving  --withdraw-->  withdrawn  --drop, after the grace-->  gone
                          ^________________________|  wanted again

- The lease says first that a name is no longer served; routers have the grace time to remove it
  before the first request is refused.
- A changed source is loaded beside what serves; when it cannot be loaded, what serves goes on.
- A load that failed is tried again after a while: a directory may come, a hub may return.

Invariants: once nothing fails and time has passed, what serves is what is wanted; a wanted name
that serves is never dropped; two looks at the same moment give the same steps.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from libs.contracts.lease import AdapterTrouble
from libs.contracts.model_spec import AdapterSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A load that failed: of what, why, and when, in monotonic seconds."""

    adapter: AdapterSpec
    cause: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """What a replica has at one moment, each by name.

    Attributes:
        serving: what requests for the name get.
        withdrawn: names that still serve although they are not wanted, and since when the lease
            does not list them, in monotonic seconds.
        failures: the last failed load of what is wanted.
    """

    serving: Mapping[str, AdapterSpec] = field(default_factory=dict)
    withdrawn: Mapping[str, float] = field(default_factory=dict)
    failures: Mapping[str, Failure] = field(default_factory=dict)

    def listed(self) -> tuple[str, ...]:
        """Return the names that the lease lists, sorted."""
        return tuple(sorted(self.serving.keys() - self.withdrawn.keys()))

    def troubles(self) -> tuple[AdapterTrouble, ...]:
        """Return what the lease says of failed loads, sorted by name."""
        return tuple(
            AdapterTrouble(adapter=name, cause=self.failures[name].cause)
            for name in sorted(self.failures)
        )

    def with_loaded(self, adapter: AdapterSpec) -> Shelf:
        """Return the shelf on which the adapter serves."""
        failures = {n: each for n, each in self.failures.items() if n != adapter.name}
        serving = {**self.serving, adapter.name: adapter}
        return replace(self, serving=serving, failures=failures)

    def with_failure(self, failure: Failure) -> Shelf:
        """Return the shelf after a failed load; what serves goes on."""
        return replace(self, failures={**self.failures, failure.adapter.name: failure})

    def without(self, name: str) -> Shelf:
        """Return the shelf on which the name serves no longer."""
        return replace(
            self,
            serving={n: each for n, each in self.serving.items() if n != name},
            withdrawn={n: at for n, at in self.withdrawn.items() if n != name},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """What to do next.

    Attributes:
        drop: names that serve no longer.
        load: adapters to load, in this order.
        look_again_s: when time alone brings the next step; None when it does not.
    """

    drop: tuple[str, ...] = ()
    load: tuple[AdapterSpec, ...] = ()
    look_again_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long a withdrawn name still serves, and how soon a failed load is tried again."""

    grace_s: float
    retry_s: float


def withdraw(wanted: Iterable[AdapterSpec], shelf: Shelf, *, now: float) -> Shelf:
    """Return the shelf as the lease should tell it: what is not wanted is listed no longer."""
    by_name = {adapter.name: adapter for adapter in wanted}
    return replace(
        shelf,
        withdrawn={
            name: shelf.withdrawn.get(name, now) for name in shelf.serving if name not in by_name
        },
        failures={
            name: failure
            for name, failure in shelf.failures.items()
            if by_name.get(name) == failure.adapter
        },
    )


def next_steps(
    wanted: Iterable[AdapterSpec], shelf: Shelf, *, now: float, patience: Patience
) -> Steps:
    """Return the steps from a shelf that was told by `withdraw`; `now` is in monotonic seconds."""
    ends = {name: at + patience.grace_s for name, at in shelf.withdrawn.items()}
    retries = {name: each.at + patience.retry_s for name, each in shelf.failures.items()}
    missing = [adapter for adapter in wanted if shelf.serving.get(adapter.name) != adapter]
    later = [at for at in (*ends.values(), *retries.values()) if at > now]
    return Steps(
        drop=tuple(sorted(name for name, at in ends.items() if at <= now)),
        load=tuple(adapter for adapter in missing if retries.get(adapter.name, now) <= now),
        look_again_s=min(later) - now if later else None,
    )
