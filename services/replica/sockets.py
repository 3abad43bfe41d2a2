"""Where a replica's front ends listen: TCP ports, or unix sockets beside the edge."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Final

from libs.contracts.lease import Address, Endpoint, UnixEndpoint

BACKLOG: Final = 2048


class FrontEndSocket:
    """A bound socket that does not listen yet."""

    address: Address

    def __init__(self, bound: socket.socket, address: Address) -> None:
        """Take a socket that is bound to the address."""
        self._socket = bound
        self.address = address

    def open(self) -> socket.socket:
        """Listen, and return the socket for a server to accept on."""
        self._socket.listen(BACKLOG)
        return self._socket

    def hand_over(self) -> None:
        """Close this process's copy: another one listens now, and its end is seen at once."""
        self._socket.close()

    def close(self) -> None:
        """Give the address back; closing twice changes nothing."""
        self._socket.close()


class TcpSocket(FrontEndSocket):
    """A TCP port that the kernel chooses."""

    def __init__(self, *, listen_host: str, advertise_host: str) -> None:
        """Bind."""
        bound = socket.socket(socket.AF_INET6 if ":" in listen_host else socket.AF_INET)
        bound.bind((listen_host, 0))
        super().__init__(bound, Endpoint(host=advertise_host, port=bound.getsockname()[1]))


class UnixSocket(FrontEndSocket):
    """A unix socket of mode 0600: only processes of the same user can connect."""

    def __init__(self, path: Path) -> None:
        """Bind.

        Raises:
            ValueError: the path is too long for a socket, or holds white space or quotes.
        """
        address = UnixEndpoint(path=str(path))
        self._path = path
        bound = socket.socket(socket.AF_UNIX)
        bound.bind(str(path))
        path.chmod(0o600)
        super().__init__(bound, address)

    def close(self) -> None:
        """Remove the socket; closing twice changes nothing."""
        super().close()
        self._path.unlink(missing_ok=True)
