"""Sends a case's bytes to a front end, with nothing that a client library would add or refuse."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

from libs.testing.front_ends.cases import Case
from libs.testing.front_ends.compare import Answer

TIMEOUT_S: Final = 30.0


def ask(url: str, case: Case) -> Answer:
    """Return what one front end answers; a connection that breaks off is an answer of status 0."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            case.method, case.path, case.body or None, {"connection": "close", **case.headers}
        )
        got = connection.getresponse()
        return Answer(
            status=got.status, content_type=got.getheader("content-type", ""), body=got.read()
        )
    except (OSError, http.client.HTTPException) as exc:
        return Answer(status=0, content_type="", body=repr(exc).encode())
    finally:
        connection.close()
