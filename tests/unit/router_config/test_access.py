"""Who may ask, from what the bus says and what the edge has.

- Nothing depends on the order of the tenants.
- A closed edge opens only at a person's word, and only when no tenant has a key.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.contracts.ids import TenantName
from libs.contracts.tenant import TENANTS_MAX, KeyHash, Priority, Tenant
from services.router_config.domain.access import (
    Access,
    Grant,
    KeysOnly,
    KnownTenants,
    Open,
    decide_access,
    is_from_before,
    refused_tenants,
)

KEY = KeyHash("a" * 64)
OTHER = KeyHash("b" * 64)
ACME = Tenant(
    name=TenantName("acme"),
    key_hashes=(KEY,),
    requests_per_minute=60,
    concurrent_requests=4,
    priority=Priority.HIGH,
)
GRANT = Grant(
    tenant=TenantName("acme"),
    requests_per_minute=60,
    concurrent_requests=4,
    priority=Priority.HIGH,
)
REVOKED = Tenant(name=TenantName("gone"), key_hashes=())
CLOSED = KeysOnly(grants={KEY: GRANT})
NOTHING = KnownTenants()


def known(*tenants: Tenant, unreadable: tuple[str, ...] = ()) -> KnownTenants:
    """Return a bucket that was read."""
    return KnownTenants(tenants=tenants, unreadable=unreadable)


def test_a_tenant_closes_the_edge_to_everybody_else() -> None:
    """Its keys carry its limits."""
    assert decide_access(known(ACME, REVOKED), Open()) == CLOSED


@pytest.mark.parametrize("observed", [None, Open(), CLOSED])
def test_a_bus_that_was_never_heard_changes_nothing(observed: Access | None) -> None:
    """A first start lets nobody in, a later one whoever was let in before."""
    assert decide_access(None, observed) == observed


@pytest.mark.parametrize("observed", [None, Open()])
def test_no_tenant_at_all_means_that_everybody_may_ask(observed: Access | None) -> None:
    """The local default."""
    assert decide_access(NOTHING, observed) == Open()


def test_an_emptied_bus_does_not_open_the_edge() -> None:
    """It lost its tenants; they did not lose their keys. The status says so."""
    assert decide_access(NOTHING, CLOSED) == CLOSED
    assert is_from_before(NOTHING, CLOSED)
    assert not is_from_before(known(ACME), CLOSED)
    assert not is_from_before(None, CLOSED)
    assert not is_from_before(NOTHING, Open())


def test_revoking_the_last_tenant_leaves_the_edge_closed() -> None:
    """Taking a key away must never let others in."""
    assert decide_access(known(REVOKED), CLOSED) == KeysOnly()


def test_a_persons_word_opens_the_edge_while_no_tenant_has_a_key() -> None:
    """And does nothing beside one that has."""
    word = replace(known(REVOKED), open_to_all=True)

    assert decide_access(word, CLOSED) == Open()
    assert decide_access(replace(word, tenants=(ACME,)), Open()) == CLOSED
    assert decide_access(replace(word, unreadable=("acme",)), CLOSED) == CLOSED


def test_a_tenant_that_cannot_be_read_keeps_what_the_edge_had_of_it() -> None:
    """A newer writer locks nobody out and lets nobody in."""
    only_it = known(unreadable=("acme",))

    assert decide_access(only_it, CLOSED) == CLOSED
    assert decide_access(only_it, Open()) == KeysOnly()
    assert decide_access(only_it, None) == KeysOnly()


def test_a_key_that_two_tenants_claim_belongs_to_the_first_by_name() -> None:
    """Whatever order they come in."""
    twin = Tenant(name=TenantName("zeta"), key_hashes=(KEY, OTHER))
    expected = KeysOnly(grants={KEY: GRANT, OTHER: Grant(tenant=TenantName("zeta"))})

    assert decide_access(known(ACME, twin), None) == expected
    assert decide_access(known(twin, ACME), None) == expected


def test_tenants_beyond_the_limit_are_refused_and_named() -> None:
    """An edge's table has a size; revoked ones take no room in it."""
    many = tuple(
        Tenant(name=TenantName(f"t{n:05}"), key_hashes=(KeyHash(f"{n:064x}"),))
        for n in range(TENANTS_MAX + 1)
    )

    access = decide_access(known(*many, REVOKED), None)

    assert isinstance(access, KeysOnly)
    assert len(access.grants) == TENANTS_MAX
    assert refused_tenants(known(*many, REVOKED)) == (f"t{TENANTS_MAX:05}",)
    assert refused_tenants(known(*many[:-1], REVOKED)) == ()
