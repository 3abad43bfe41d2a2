"""What a tenant's record may hold, and that no key is in it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from libs.bus.codec import decode, encode
from libs.contracts.tenant import (
    CONCURRENT_REQUESTS_MAX,
    KEYS_PER_TENANT_MAX,
    REQUESTS_PER_MINUTE_MAX,
    Priority,
    key_hash,
)
from libs.errors import TerminalError
from libs.testing.records import a_tenant


def test_a_key_is_stored_as_its_hash_only() -> None:
    """Whoever reads the bus cannot ask in a tenant's name."""
    body = encode(a_tenant(key="sk-sluice-secret"))

    assert b"secret" not in body
    assert json.loads(body)["key_hashes"] == [hashlib.sha256(b"sk-sluice-secret").hexdigest()]


def test_a_tenant_without_a_key_is_revoked() -> None:
    """Its record says so by staying."""
    assert not a_tenant().is_revoked
    assert replace(a_tenant(), key_hashes=()).is_revoked


def test_who_goes_first_has_the_lower_number() -> None:
    """As HAProxy counts its classes."""
    assert sorted(Priority) == [Priority.HIGH, Priority.NORMAL, Priority.LOW]


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "Acme Inc."},
        {"requests_per_minute": 0},
        {"requests_per_minute": REQUESTS_PER_MINUTE_MAX + 1},
        {"concurrent_requests": 0},
        {"concurrent_requests": CONCURRENT_REQUESTS_MAX + 1},
        {"key_hashes": ("sk-sluice-secret",)},
        {"key_hashes": ("A" * 64,)},
        {"key_hashes": tuple(key_hash(str(n)) for n in range(KEYS_PER_TENANT_MAX + 1))},
    ],
)
def test_what_an_edge_could_not_keep_to_is_refused(changes: Mapping[str, object]) -> None:
    """In the writer's hands and on the wire alike."""
    tree = json.loads(encode(a_tenant())) | changes

    with pytest.raises(ValueError, match=r"tenant|requests"):
        replace(a_tenant(), **changes)  # type: ignore[arg-type]
    with pytest.raises(TerminalError):
        decode(json.dumps(tree).encode())
