"""The certificate file that a person names, and the copy of it from which HAProxy starts.

HAProxy never reads the person's file: a broken one must not keep it from starting.
`certificate.pem` in the state directory is the last content that was good.
"""

from __future__ import annotations

import hashlib
import os
import ssl
from pathlib import Path
from typing import Final

from libs.errors import UsageError
from libs.haproxy.client import HaproxyClient
from libs.haproxy.codec import Rejected
from libs.haproxy.config import CERTIFICATE_FILE
from services.router_config.adapters.haproxy.whole_file import replace_file
from services.router_config.domain.certificate import Offered, Unusable
from services.router_config.ports import Done, Refused

CERTIFICATE_BYTES_MAX: Final = 64 * 1024
"""Chains have a few kilobytes; the whole must fit into one runtime command."""


class CertificateFile:
    """Reads one PEM file with certificate, chain and private key, and serves its content."""

    def __init__(self, source: Path, state_dir: Path, client: HaproxyClient) -> None:
        """Nothing is read yet."""
        self._source = source
        self._copy = state_dir / CERTIFICATE_FILE
        self._client = client
        self._pem = ""
        self._found: Offered | Unusable | None = None
        self._to_keep = ""
        self._copy_trouble = ""

    @property
    def copy_trouble(self) -> str:
        """Why the copy is not what is served; empty when it is."""
        return self._copy_trouble

    def prepare(self) -> None:
        """Make the copy from which HAProxy starts; a broken file leaves the last good one.

        A copy that cannot be written is tried again with each look.

        Raises:
            UsageError: the file cannot be used, and there is no earlier content.
        """
        found = self.look()
        if isinstance(found, Offered):
            self._keep()
        elif not self._copy.exists():
            raise UsageError(found.reason)

    def look(self) -> Offered | Unusable:
        """Read the file, and check it if its content is another one than at the last look."""
        if self._copy_trouble:
            self._write_copy()
        try:
            content = _read(self._source)
        except OSError as error:
            self._found = None
            return Unusable(reason=f"{self._source}: {error.strerror}")
        digest = hashlib.sha256(content).hexdigest()
        if self._found is None or self._found.digest != digest:
            problem = self._problem(content)
            self._found = (
                Offered(digest=digest)
                if problem is None
                else Unusable(digest=digest, reason=f"{self._source} {problem}")
            )
            self._pem = "" if problem else content.decode("ascii")
        return self._found

    async def serve(self) -> Done | Refused:
        """Give HAProxy what was seen at the last look; then it is the copy, too.

        Raises:
            PeerUnreachableError: HAProxy does not answer in time.
        """
        reply = await self._client.replace_certificate(CERTIFICATE_FILE, self._pem)
        if isinstance(reply, Rejected):
            return Refused(reason=f"{self._source}: HAProxy says: {reply.text}")
        self._keep()
        return Done(commands=2)

    def _keep(self) -> None:
        self._to_keep = self._pem
        self._write_copy()

    def _write_copy(self) -> None:
        try:
            self._copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            replace_file(self._copy, self._to_keep.encode())
        except OSError as error:
            self._copy_trouble = f"{self._copy.name} cannot be written ({error.strerror})"
        else:
            self._copy_trouble = ""

    def _problem(self, content: bytes) -> str | None:
        """Return what is wrong with a content, None if it can be served."""
        if len(content) > CERTIFICATE_BYTES_MAX:
            return f"is larger than {CERTIFICATE_BYTES_MAX} bytes"
        if not content.isascii():
            return "is no PEM file"
        return _flaw(content)


def _flaw(content: bytes) -> str | None:
    """Try a content out; the library reads files alone, so this one is in memory."""
    try:
        with os.fdopen(os.memfd_create("certificate", os.MFD_CLOEXEC), "wb") as scratch:
            scratch.write(content)
            scratch.flush()
            path = f"/proc/self/fd/{scratch.fileno()}"
            ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(path, password=_no_password)
    except (ssl.SSLError, ValueError) as error:
        return f"holds no certificate with its private key ({_reason(error)})"
    except OSError as error:
        return f"cannot be tried out ({error.strerror})"
    return None


def forget_certificate(state_dir: Path) -> None:
    """Remove the copy with its private key, where TLS is not wanted."""
    (state_dir / CERTIFICATE_FILE).unlink(missing_ok=True)


def _read(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(CERTIFICATE_BYTES_MAX + 1)


def _reason(error: ssl.SSLError | ValueError) -> str:
    reason = error.reason if isinstance(error, ssl.SSLError) else None
    return reason.lower().replace("_", " ") if reason else "unreadable"


def _no_password() -> bytes:
    """A key that needs a password cannot be served unattended; without this it would be asked."""
    return b""
