"""Where the API may listen, and what must protect it there."""

from __future__ import annotations

import pytest

from libs.contracts.exposure import Listener, refusal, warning

EVERYWHERE = Listener(host="0.0.0.0", encrypted=False)  # noqa: S104 - looked at, not bound


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "::1", "localhost"])
def test_loopback_needs_nothing(host: str) -> None:
    """Whoever reaches it is on this machine already."""
    listener = Listener(host=host, encrypted=False)

    assert listener.may_be_open
    assert refusal(listener, has_tenants=False) is None
    assert warning(listener) is None


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*", "", "10.0.0.1", "sluice.example"])  # noqa: S104
def test_anything_else_needs_a_tenant_or_tls_and_is_never_open(host: str) -> None:
    """A name may lead anywhere, so it counts as reachable."""
    listener = Listener(host=host, encrypted=False)

    assert not listener.may_be_open
    refused = refusal(listener, has_tenants=False)
    assert refused is not None
    assert all(word in refused for word in (host, "127.0.0.1", "tenant add", "--tls-certificate"))


def test_a_tenant_is_enough_but_its_key_travels_in_the_clear() -> None:
    """TLS may end in front of it, so this is a warning."""
    assert refusal(EVERYWHERE, has_tenants=True) is None
    assert "unencrypted" in (warning(EVERYWHERE) or "")


def test_tls_is_enough_and_still_not_open() -> None:
    """Without a tenant it answers nobody."""
    listener = Listener(host=EVERYWHERE.host, encrypted=True)

    assert refusal(listener, has_tenants=False) is None
    assert warning(listener) is None
    assert not listener.may_be_open


def test_not_knowing_the_tenants_refuses_nothing() -> None:
    """A bus that starts late must not keep an edge from starting."""
    assert refusal(EVERYWHERE, has_tenants=None) is None
