"""How a client tells the endings of an answer apart."""

import json
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest

from tools.bench.chaos.clients import SLOW, ask, body
from tools.bench.chaos.outcomes import FAILURES_MAX, Ending, Kind, Ledger, Outcome

TOKEN = b'data: {"choices": [{"text": "a"}]}\n\n'
DONE = b"data: [DONE]\n\n"
ERROR = b'data: {"error": {"message": "engine died"}}\n\n'
SERVER = {"x-sluice-replica": "r1.a"}


class Broken(httpx.SyncByteStream, httpx.AsyncByteStream):
    """An answer whose connection breaks after a token."""

    def __iter__(self) -> Iterator[bytes]:
        """Give one token, then fail."""
        yield TOKEN
        raise httpx.RemoteProtocolError("peer closed connection")

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give one token, then fail."""
        for each in self:
            yield each


def no_answer(request: httpx.Request) -> httpx.Response:
    """Refuse the connection."""
    raise httpx.ConnectError("refused", request=request)


async def outcome(answer: httpx.Response | None) -> Outcome:
    """Ask a server that gives this answer; None refuses the connection."""
    transport = httpx.MockTransport(no_answer if answer is None else lambda _: answer)
    async with httpx.AsyncClient(base_url="http://edge", transport=transport) as http:
        return await ask(http, Kind.SHORT, b"{}")


@pytest.mark.parametrize(
    ("answer", "ending"),
    [
        (httpx.Response(200, content=TOKEN + DONE, headers=SERVER), Ending.WHOLE),
        (httpx.Response(200, content=TOKEN, headers=SERVER), Ending.SILENT),
        (httpx.Response(200, content=TOKEN + ERROR, headers=SERVER), Ending.SAID),
        (httpx.Response(200, content=TOKEN + ERROR + DONE, headers=SERVER), Ending.SAID),
        (httpx.Response(200, stream=Broken(), headers=SERVER), Ending.SAID),
        (httpx.Response(503, json={"error": {}}), Ending.REFUSED),
        (None, Ending.LOST),
    ],
)
async def test_an_answer_has_the_ending_that_its_client_saw(
    answer: httpx.Response | None, ending: Ending
) -> None:
    """An error event counts even before the mark of the end."""
    found = await outcome(answer)

    assert found.ending is ending
    assert found.status == (None if answer is None else answer.status_code)
    assert found.server == (answer.headers.get("x-sluice-replica") if answer else None)
    assert bool(found.said) == (ending not in {Ending.WHOLE, Ending.SILENT})


@pytest.mark.parametrize("kind", Kind)
def test_every_kind_of_client_sends_json(kind: Kind) -> None:
    """The large one is above what HAProxy holds at once; the Python one wants two answers."""
    sent = body(kind, "m", SLOW)
    tree = json.loads(sent)

    assert tree["model"] == "m"
    assert (len(sent) > 46 * 1024) == (kind is Kind.LARGE)
    assert ("n" in tree) == (kind is Kind.PYTHON)


def test_a_ledger_counts_all_and_remembers_failures() -> None:
    """Only so many of them: hours of a broken stack must not fill the memory."""
    ledger = Ledger()
    for number in range(FAILURES_MAX + 5):
        ledger.add(
            Outcome(kind=Kind.SHORT, began_s=number, ended_s=number + 2.0, ending=Ending.LOST)
        )

    assert ledger.requests == FAILURES_MAX + 5
    assert len(ledger.failures) == FAILURES_MAX
    assert ledger.slowest_s == {Kind.SHORT: 2.0}
