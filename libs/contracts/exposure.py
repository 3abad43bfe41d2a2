"""Who can reach the API and what must protect it: one rule, kept by `up` and by router-config.

- Loopback: open while no tenant is declared; nobody but this machine's users can ask.
- Any other address: a request always needs a tenant's key, so it is never open.
  Starting there with neither a tenant nor TLS is refused, because it would serve nobody and
  invites the next step, which is to open it.
  Tenants without TLS are allowed, for whoever ends TLS elsewhere, with a warning.

Decision: ADR-0006.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Final

LOCALHOST: Final = "localhost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listener:
    """Where the API is to listen.

    Attributes:
        host: an address, a name, or what stands for every address (`0.0.0.0`, `::`).
        encrypted: it speaks TLS.
    """

    host: str
    encrypted: bool

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine reaches it; a name other than `localhost` counts as no."""
        if self.host == LOCALHOST:
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False

    @property
    def may_be_open(self) -> bool:
        """Whether requests without a key may be served while no tenant is declared."""
        return self.is_loopback


def refusal(listener: Listener, *, has_tenants: bool | None) -> str | None:
    """Say why the API must not listen there and what to do instead; None if it may.

    `has_tenants` is None while nobody knows: that is no reason to refuse, since the API stays
    closed until a tenant is known.
    """
    if listener.is_loopback or listener.encrypted or has_tenants is not False:
        return None
    return (
        f"refusing to listen on {listener.host} without a tenant or TLS, because others than this"
        " machine's users could reach it: start on 127.0.0.1, declare a tenant with"
        " `./sluice tenant add NAME` and start again, or name a certificate with"
        " --tls-certificate FILE (SLUICE_ROUTER_CONFIG_TLS_CERTIFICATE_FILE)"
    )


def warning(listener: Listener) -> str | None:
    """Say what is risky about listening there; None if nothing is."""
    if listener.is_loopback or listener.encrypted:
        return None
    return (
        f"API keys and prompts travel unencrypted to {listener.host}: name a certificate with"
        " --tls-certificate FILE, unless something in front of it ends TLS"
    )
