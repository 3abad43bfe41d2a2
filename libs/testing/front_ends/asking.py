"""Sends a case's bytes to a front end, with nothing that a client library would add or refuse."""

from __future__ import annotations

import http.client
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

from libs.testing.front_ends.cases import Case
from libs.testing.front_ends.compare import Answer, Difference, compare

TIMEOUT_S: Final = 30.0

_AT_ONCE: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A case with both answers and how they differ."""

    case: Case
    rust: Answer
    python: Answer
    difference: Difference | None


def ask_both(cases: Iterable[Case], *, rust_url: str, python_url: str) -> dict[str, Asked]:
    """Ask every case of both front ends, a few at once; gives them by name."""

    def both(case: Case) -> Asked:
        rust, python = ask(rust_url, case), ask(python_url, case)
        return Asked(
            case=case, rust=rust, python=python, difference=compare(rust=rust, python=python)
        )

    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return {each.case.name: each for each in pool.map(both, cases)}


def ask(url: str, case: Case) -> Answer:
    """Return what one front end answers; a connection that breaks off is an answer of status 0."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=TIMEOUT_S)
    try:
        connection.request(
            case.method,
            case.path,
            case.body or None,
            {"connection": "close", **case.headers},
            encode_chunked="transfer-encoding" in case.headers,
        )
        got = connection.getresponse()
        return Answer(
            status=got.status, content_type=got.getheader("content-type", ""), body=got.read()
        )
    except (OSError, http.client.HTTPException) as exc:
        return Answer(status=0, content_type="", body=repr(exc).encode())
    finally:
        connection.close()
