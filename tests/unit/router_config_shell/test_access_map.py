"""Between who may ask and the map in which HAProxy looks it up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import TenantName
from libs.contracts.tenant import KeyHash, Priority
from services.router_config.adapters.haproxy.access_codec import access_entries, read_access
from services.router_config.domain.access import Access, Grant, KeysOnly, Open

KEY = KeyHash("a" * 64)
GRANT = Grant(
    tenant=TenantName("acme"),
    requests_per_minute=60,
    concurrent_requests=None,
    priority=Priority.HIGH,
)

limits = st.none() | st.integers(1, 1_000_000)
grants = st.builds(
    Grant,
    tenant=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,9}", fullmatch=True).map(TenantName),
    requests_per_minute=limits,
    concurrent_requests=limits,
    priority=st.sampled_from(Priority),
)
keys = st.from_regex(r"[0-9a-f]{64}", fullmatch=True).map(KeyHash)
accesses = (
    st.none()
    | st.just(Open())
    | st.builds(KeysOnly, grants=st.dictionaries(keys, grants, max_size=4))
)


@given(access=accesses)
def test_who_may_ask_survives_its_way_through_a_map(access: Access | None) -> None:
    """What is written is what is read."""
    found = read_access(access_entries(access))

    assert (found.access, found.foreign) == (access, False)


def test_a_grant_is_what_haproxys_rules_take_apart() -> None:
    """Tenant, requests a minute, requests at once, class; 0 is no limit."""
    assert access_entries(KeysOnly(grants={KEY: GRANT})) == (
        ("access", "keys"),
        (KEY, "acme:60:0:-1"),
    )


@pytest.mark.parametrize(
    "entries",
    [
        (("access", "open"), (KEY, "acme:60:0:-1")),
        ((KEY, "acme:60:0:-1"),),
        (("access", "keys"), (KEY, "acme:60:0:-1"), (KEY, "acme:0:0:0")),
    ],
)
def test_any_key_in_a_map_closes_the_edge(entries: tuple[tuple[str, str], ...]) -> None:
    """Whatever else somebody wrote by hand; it is put right with the next look."""
    found = read_access(entries)

    assert (found.access, found.foreign) == (KeysOnly(grants={KEY: GRANT}), True)


@pytest.mark.parametrize(
    "value", ["acme", "acme:60:0", "acme:60:0:7", "Acme Inc:60:0:0", "acme:-1:0:0", ""]
)
def test_what_we_never_write_is_foreign(value: str) -> None:
    """And gives nobody anything."""
    found = read_access((("access", "keys"), (KEY, value)))

    assert (found.access, found.foreign) == (KeysOnly(), True)


def test_a_word_that_we_never_write_is_unknown() -> None:
    """Which lets nobody in."""
    found = read_access((("access", "yes"),))

    assert (found.access, found.foreign) == (None, True)
