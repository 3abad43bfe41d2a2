"""Where a replica's front ends listen: TCP ports, or unix sockets beside the edge.

A unix socket appears under its name only once it listens, so a name that refuses connections
belongs to a replica that is dead.
"""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import Final

from libs.contracts.lease import Address, Endpoint, UnixEndpoint

BACKLOG: Final = 2048
SUFFIX: Final = ".sock"


class FrontEndSocket(ABC):
    """A bound socket that does not listen yet."""

    address: Address

    def __init__(self, bound: socket.socket, address: Address) -> None:
        """Take a socket that is bound to the address."""
        self._socket = bound
        self.address = address

    @abstractmethod
    def open(self) -> socket.socket:
        """Listen, and return the socket for a server to accept on."""

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

    def open(self) -> socket.socket:
        """Listen, and return the socket for a server to accept on."""
        self._socket.listen(BACKLOG)
        return self._socket


class UnixSocket(FrontEndSocket):
    """A unix socket of mode 0600: only processes of the same user can connect."""

    def __init__(self, path: Path) -> None:
        """Bind beside the path.

        Raises:
            ValueError: the path is too long for a socket, or holds white space or quotes.
        """
        address = UnixEndpoint(path=str(path))
        self._path = path
        self._beside = path.with_suffix(".new")
        bound = socket.socket(socket.AF_UNIX)
        with suppress(FileNotFoundError):
            self._beside.unlink()
        bound.bind(str(self._beside))
        self._beside.chmod(0o600)
        super().__init__(bound, address)

    def open(self) -> socket.socket:
        """Listen, show the socket under its name, and return it."""
        self._socket.listen(BACKLOG)
        if self._beside.exists():
            self._beside.rename(self._path)
        return self._socket

    def close(self) -> None:
        """Remove the socket; closing twice changes nothing."""
        super().close()
        for path in (self._beside, self._path):
            with suppress(FileNotFoundError):
                path.unlink()


def socket_folder(folder: Path) -> Path:
    """Make the folder of sockets, readable for this user alone, and remove what dead ones left."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for path in folder.glob(f"*{SUFFIX}"):
        if not _answers(path):
            with suppress(FileNotFoundError):
                path.unlink()
    return folder


def _answers(path: Path) -> bool:
    """Tell whether anything listens at a socket's path."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)  # noqa: FBT003 - the library has it by position
        try:
            probe.connect(os.fspath(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
        except BlockingIOError:  # its queue is full: it is alive
            return True
    return True
