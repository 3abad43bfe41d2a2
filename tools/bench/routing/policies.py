"""The policies that are compared, by the names that a user gives them: pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from libs.errors import UsageError
from libs.haproxy.config import BOUND_PERCENT, Balance

PREFIX_BYTES: Final = 1024
"""As in router-config's settings."""

PREFIX_BYTES_MIN: Final = 16
PREFIX_BYTES_MAX: Final = 200_000
BOUND_MIN: Final = 101
BOUND_MAX: Final = 10_000
DEFAULT_POLICIES: Final = "prefix,least_loaded,round_robin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """One way to choose a replica.

    Attributes:
        prefix_bytes: how much of a body is hashed, unscaled.
        bound_percent: as in `PoolConfig`; both matter only where `balance` is PREFIX.
    """

    name: str
    balance: Balance
    prefix_bytes: int = PREFIX_BYTES
    bound_percent: int = BOUND_PERCENT


def parse_policies(text: str) -> tuple[Policy, ...]:
    """Read names separated by commas; `prefix:4096:300` hashes 4,096 bytes, bound at 300 %.

    Raises:
        UsageError: a name is not known, given twice, or its number of bytes is out of bounds.
    """
    found = [_policy(name.strip()) for name in text.split(",")]
    twice = {policy.name for policy in found if found.count(policy) > 1}
    if twice:
        raise UsageError(f"--policies names {min(twice)} twice")
    return tuple(found)


def shrunk(policy: Policy, *, factor: float, head_bytes: int) -> Policy:
    """Return the policy for scaled bodies, whose bytes stand for more: the JSON head, less text.

    The head is as long in a small body as in a large one; at least eight bytes of text are seen.
    """
    text_bytes = max(0, policy.prefix_bytes - head_bytes)
    return replace(policy, prefix_bytes=head_bytes + max(8, round(text_bytes / factor)))


def _policy(text: str) -> Policy:
    name, *numbers = text.split(":")
    known = [balance.value for balance in Balance]
    if name not in known or (numbers and name != Balance.PREFIX):
        offered = f"{', '.join(known)}, prefix:BYTES, prefix:BYTES:PERCENT"
        raise UsageError(f"{text!r} is no policy; --policies takes {offered}")
    match numbers:
        case []:
            return Policy(name=text, balance=Balance(name))
        case [size]:
            return Policy(name=text, balance=Balance.PREFIX, prefix_bytes=_bytes(text, size))
        case [size, percent]:
            return Policy(
                name=text,
                balance=Balance.PREFIX,
                prefix_bytes=_bytes(text, size),
                bound_percent=_number(text, percent, BOUND_MIN, BOUND_MAX),
            )
    raise UsageError(f"{text!r} has too many numbers; write prefix:BYTES:PERCENT")


def _bytes(text: str, size: str) -> int:
    return _number(text, size, PREFIX_BYTES_MIN, PREFIX_BYTES_MAX)


def _number(text: str, number: str, low: int, high: int) -> int:
    if not number.isdecimal() or not low <= int(number) <= high:
        raise UsageError(f"{text!r}: {number!r} must be a number from {low} to {high:,}")
    return int(number)
