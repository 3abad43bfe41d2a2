"""What `./sluice tenant` makes of a tenant, and what it refuses with one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from libs.contracts.ids import TenantName
from libs.contracts.tenant import TENANTS_MAX, Priority, Tenant, key_hash
from tools.cli.tenant_changes import Limits, TenantError, added, limited, revoked
from tools.cli.tenant_commands import to_json

ACME = Tenant(name=TenantName("acme"), key_hashes=(key_hash("sk-old"),), requests_per_minute=60)
NONE = Limits()


def test_a_new_tenant_has_its_keys_hash_and_its_limits() -> None:
    """What was not given is unlimited and normal."""
    limits = Limits(requests_per_minute="60", priority="high")

    tenant = added("acme", limits, key="sk-new", stored=None, others=[])

    assert tenant == Tenant(
        name=TenantName("acme"),
        key_hashes=(key_hash("sk-new"),),
        requests_per_minute=60,
        priority=Priority.HIGH,
    )


def test_a_revoked_tenant_can_come_back_with_another_key() -> None:
    """And without the limits that it had."""
    gone = revoked("acme", stored=ACME, known=["acme"])

    back = added("acme", NONE, key="sk-new", stored=gone, others=[gone])

    assert gone.is_revoked
    assert (back.key_hashes, back.requests_per_minute) == ((key_hash("sk-new"),), None)


def test_limits_change_one_by_one_and_can_be_lifted() -> None:
    """What is not named stays."""
    both = limited("acme", Limits(concurrent="4"), stored=ACME, known=["acme"])
    lifted = limited("acme", Limits(requests_per_minute="none"), stored=both, known=["acme"])

    assert (both.requests_per_minute, both.concurrent_requests) == (60, 4)
    assert (lifted.requests_per_minute, lifted.concurrent_requests) == (None, 4)
    assert lifted.key_hashes == ACME.key_hashes


@pytest.mark.parametrize(
    ("limits", "told"),
    [
        (Limits(requests_per_minute="0"), "between 1 and"),
        (Limits(requests_per_minute="-1"), "--requests-per-minute must be a number"),
        (Limits(requests_per_minute="1.5"), "--requests-per-minute must be a number"),
        (Limits(concurrent="many"), "--concurrent must be a number or `none`"),
        (Limits(concurrent="99999999999999999999"), "between 1 and"),
        (Limits(priority="urgent"), "--priority must be one of high, normal, low"),
    ],
)
def test_bad_limits_are_refused(limits: Limits, told: str) -> None:
    """The line names the option and what it takes."""
    with pytest.raises(TenantError, match=told):
        added("acme", limits, key="sk-new", stored=None, others=[])


@pytest.mark.parametrize("name", ["Acme Inc", "", "a.b", "access.open", "-x", "a" * 64])
def test_a_name_that_routing_could_not_carry_is_refused(name: str) -> None:
    """It reaches HAProxy's maps and a replica's headers."""
    with pytest.raises(TenantError, match="tenant name"):
        added(name, NONE, key="sk-new", stored=None, others=[])


def test_an_existing_tenant_is_not_added_again() -> None:
    """Its key would be lost without a word."""
    with pytest.raises(TenantError, match="tenant acme is there already"):
        added("acme", NONE, key="sk-new", stored=ACME, others=[ACME])


@pytest.mark.parametrize("stored", [None, replace(ACME, key_hashes=())])
def test_an_unknown_or_revoked_tenant_cannot_be_changed(stored: Tenant | None) -> None:
    """The line says who there is."""
    with pytest.raises(TenantError, match="no tenant 'acme' is declared; there is: beta"):
        limited("acme", Limits(concurrent="1"), stored=stored, known=["beta"])
    with pytest.raises(TenantError, match="no tenant 'acme' is declared; there is: none"):
        revoked("acme", stored=stored, known=[])


def test_nothing_to_change_is_told() -> None:
    """A command without an effect is a mistake."""
    with pytest.raises(TenantError, match="say what to change"):
        limited("acme", NONE, stored=ACME, known=["acme"])


def test_there_is_a_most_of_tenants() -> None:
    """Revoked ones take no room."""
    many = [replace(ACME, name=TenantName(f"t{n}")) for n in range(TENANTS_MAX)]

    with pytest.raises(TenantError, match=f"{TENANTS_MAX} tenants"):
        added("acme", NONE, key="sk-new", stored=None, others=many)
    others = [*many[1:], replace(many[0], key_hashes=())]
    assert not added("acme", NONE, key="sk-new", stored=None, others=others).is_revoked


def test_json_shows_limits_and_nothing_of_a_key() -> None:
    """Not even its hash."""
    assert to_json(ACME) == {
        "name": "acme",
        "requests_per_minute": 60,
        "concurrent_requests": None,
        "priority": "normal",
        "revoked": False,
    }
