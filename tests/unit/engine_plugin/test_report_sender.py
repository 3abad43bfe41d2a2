"""Reports reach a reader when there is one; without one nothing blocks, and memory is bounded."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from sluice_vllm_plugin import report_sender
from sluice_vllm_plugin.engine_watch import EngineWatch
from sluice_vllm_plugin.hooks import Failures
from sluice_vllm_plugin.report_sender import RECORDS_PER_DATAGRAM_MAX, ReportSender

from libs.testing.real_haproxy import short_folder

SenderOf = Callable[[EngineWatch], ReportSender]


@pytest.fixture(name="address")
def _address() -> Iterator[Path]:
    with short_folder() as folder:
        yield folder / "r.sock"


@pytest.fixture(name="sender_of")
def _sender_of(address: Path) -> Iterator[SenderOf]:
    with ExitStack() as stack:
        yield lambda watch: stack.enter_context(closing(ReportSender(watch, str(address))))


@contextmanager
def reader(address: Path) -> Iterator[socket.socket]:
    """Bind a socket that reads without waiting."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)) as bound:
        bound.bind(str(address))
        yield bound


def read_all(bound: socket.socket) -> list[dict[str, object]]:
    """Return the datagrams that are there."""
    found: list[dict[str, object]] = []
    while True:
        try:
            found.append(json.loads(bound.recv(65_536)))
        except BlockingIOError:
            return found


def records_in(datagrams: list[dict[str, object]]) -> list[object]:
    """Return the records of all datagrams, in their order."""
    return [record["n"] for each in datagrams for record in each.get("requests", [])]  # type: ignore[attr-defined]


def watch_with(count: int) -> EngineWatch:
    """Return a watch to which many requests ended."""
    watch = EngineWatch(Failures())
    watch.pending.extend({"n": number} for number in range(count))
    return watch


def test_many_requests_travel_in_few_datagrams(address: Path, sender_of: SenderOf) -> None:
    """The kernel queues ten; every one wakes the replica."""
    with reader(address) as bound:
        watch = watch_with(2 * RECORDS_PER_DATAGRAM_MAX + 1)

        sender_of(watch).send_all()

        datagrams = read_all(bound)
    assert [each["schema"] for each in datagrams] == ["engine.load.v1", *["engine.requests.v1"] * 3]
    assert records_in(datagrams) == list(range(2 * RECORDS_PER_DATAGRAM_MAX + 1))
    assert not watch.pending


def test_a_sender_that_never_sends_has_no_socket(sender_of: SenderOf) -> None:
    """Front ends and workers load the plugin as well."""
    before = set(Path("/proc/self/fd").iterdir())

    sender_of(watch_with(1))

    assert set(Path("/proc/self/fd").iterdir()) <= before


def test_without_a_reader_records_wait_and_nothing_blocks(
    address: Path, sender_of: SenderOf
) -> None:
    """The replica may start its reader later, or have lost it."""
    watch = watch_with(5)
    sender = sender_of(watch)

    began_s = time.monotonic()
    sender.send_all()
    took_s = time.monotonic() - began_s

    with reader(address) as bound:
        sender.send_all()
        datagrams = read_all(bound)
    assert took_s < 1.0
    assert records_in(datagrams) == list(range(5))
    assert datagrams[0]["lost_load_count"] == 1


def test_a_reader_that_falls_behind_gets_the_rest_later_and_in_order(
    address: Path, sender_of: SenderOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its queue is the kernel's, which is short."""
    monkeypatch.setattr(report_sender, "RETRY_S", 0.0)
    count = 100 * RECORDS_PER_DATAGRAM_MAX
    with reader(address) as bound:
        watch = watch_with(count)
        sender = sender_of(watch)
        received: list[object] = []
        for _ in range(100):
            sender.send_all()
            received += records_in(read_all(bound))

    assert received == list(range(count))


def test_a_full_queue_delays_a_period_by_a_fifth_of_a_second_at_most(
    address: Path, sender_of: SenderOf
) -> None:
    """The thread must not hold on for ever; the engine's own end sends once more."""
    with reader(address):
        sender = sender_of(watch_with(100 * RECORDS_PER_DATAGRAM_MAX))

        began_s = time.monotonic()
        sender.send_all()

    assert time.monotonic() - began_s < 5.0
