"""How this machine's own commands trust the API: by the very certificate that it serves.

What it names and who issued it say nothing here: commands ask by address, on the same machine.
"""

from __future__ import annotations

import re
import ssl
from typing import Final

from tools.cli.stack.layout import Layout
from tools.cli.stack.record import StackRecord

Trust = ssl.SSLContext | bool
"""What httpx takes as `verify`; True where nothing is encrypted."""

_CERTIFICATES: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)
_NO_CHECK_TIME: Final = 0x20_0000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME, for which Python has no name."""


def trust(layout: Layout, record: StackRecord) -> Trust:
    """Return what makes a client trust a stack's API.

    Raises:
        OSError: router-config has not taken the certificate over yet.
    """
    if record.tls_certificate is None:
        return True
    return trusting(layout.served_certificate.read_text())


def trusting(pem: str) -> ssl.SSLContext:
    """Trust exactly these certificates, expired ones too."""
    context = ssl.create_default_context(cadata="\n".join(_CERTIFICATES.findall(pem)))
    context.check_hostname = False
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN | _NO_CHECK_TIME
    return context
