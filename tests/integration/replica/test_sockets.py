"""Where front ends listen: real sockets in a real folder."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from libs.contracts.lease import UNIX_PATH_BYTES_MAX, Endpoint, UnixEndpoint
from libs.testing.real_haproxy import short_folder
from services.replica.sockets import TcpSocket, UnixSocket


def connects(path: Path) -> bool:
    """Tell whether anything listens at a path."""
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


def test_a_unix_socket_takes_connections_once_it_listens_and_goes_when_it_is_closed() -> None:
    """Only its owner can connect."""
    with short_folder() as folder:
        path = folder / "a.sock"
        at = UnixSocket(path)
        before = connects(path)
        at.open()
        seen = (connects(path), oct(path.stat().st_mode & 0o777))
        at.close()
        at.close()

        assert at.address == UnixEndpoint(path=str(path))
        assert (before, seen) == (False, (True, "0o600"))
        assert list(folder.iterdir()) == []


def test_a_socket_that_was_handed_over_and_has_no_listener_refuses_at_once() -> None:
    """The kernel queues nothing for a front end that has ended."""
    with short_folder() as folder:
        at = UnixSocket(folder / "a.sock")
        other = at.open().dup()
        at.hand_over()
        served = connects(folder / "a.sock")
        other.close()

        assert served
        assert not connects(folder / "a.sock")


def test_a_path_that_no_socket_can_have_is_refused_with_its_length() -> None:
    """Before anything is bound."""
    with pytest.raises(ValueError, match="longer than 107 bytes"):
        UnixSocket(Path("/tmp") / ("x" * UNIX_PATH_BYTES_MAX))


def test_a_port_is_known_before_it_listens() -> None:
    """A starting replica has an address that still refuses connections."""
    at = TcpSocket(listen_host="127.0.0.1", advertise_host="10.0.0.1")
    try:
        assert isinstance(at.address, Endpoint)
        assert at.address.host == "10.0.0.1"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", at.address.port), 1)
        at.open()
        socket.create_connection(("127.0.0.1", at.address.port), 1).close()
    finally:
        at.close()
