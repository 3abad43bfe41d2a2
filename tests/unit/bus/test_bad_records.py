"""Records with any text and any number in them.

Invariants: a record is either refused, or everything of it that HAProxy gets is one plain word of
its files and commands; what people read is one printable line; what HAProxy counts is a number that
it can count; a record counts under its own key alone.
"""

from __future__ import annotations

import json
import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.codec import Message, decode, encode
from libs.bus.live_bucket import LiveBucket, RawEntry
from libs.bus.report_queue import ReportQueue
from libs.contracts.ids import EdgeId, ModelName, ReplicaId
from libs.contracts.lease import Endpoint, ReplicaLease, UnixEndpoint
from libs.contracts.reports import DemandReport, LoadReport, RoutingStatus
from libs.contracts.subjects import lease_key
from libs.errors import TerminalError
from libs.haproxy.commands import ServerSpec
from libs.testing.clock import FakeClock
from libs.testing.records import (
    a_demand_report,
    a_fact,
    a_lease,
    a_load_report,
    a_model,
    a_tenant,
)

MEANS_SOMETHING = re.compile(r"""[\s;"'\\#$<>|\x00-\x1f\x7f]""")
"""What is not just itself in a line of HAProxy's configuration, maps or commands."""

ODD = (
    st.sampled_from(
        [
            "r 1",
            "r1#x",
            "m\nbackend x",
            "r1;shutdown",
            "$HOME",
            "${HOME}",
            "<<",
            'r"1',
            "r'1",
            "r\\1",
            "",
        ]
    )
    | st.text()
)
"""Texts from the issue's experiments, from HAProxy's manual, and any at all."""

TEXTS = ODD | st.from_regex(r"[a-z0-9_.:/-]{1,20}", fullmatch=True)
PATHS = st.builds(lambda text: f"/run/{text}", TEXTS) | TEXTS
NUMBERS = st.integers() | st.floats()


def parsed(message: Message, *place: str, value: object) -> Message | None:
    """Return a message as it is read with one value of it changed; None where it is refused."""
    tree = json.loads(encode(message))
    node = tree
    for name in place[:-1]:
        node = node[name]
    node[place[-1]] = value
    try:
        return decode(json.dumps(tree).encode("utf-8", "surrogatepass"))
    except TerminalError:
        return None


@given(text=TEXTS, field=st.sampled_from(["model", "replica_id", "incarnation"]))
def test_a_server_of_haproxy_is_called_by_plain_words_or_not_at_all(text: str, field: str) -> None:
    """The ids of a lease become a server's name and a route's value."""
    lease = parsed(a_lease(), field, value=text)

    if isinstance(lease, ReplicaLease):
        for word in (lease.model, lease.replica_id, lease.incarnation):
            assert word
            assert not MEANS_SOMETHING.search(word)


@given(host=TEXTS, port=st.integers())
def test_an_address_is_one_plain_word_or_refused(host: str, port: int) -> None:
    """It goes into `server` lines and into `add server`."""
    lease = parsed(a_lease(), "address", value={"host": host, "port": port})

    if isinstance(lease, ReplicaLease):
        assert isinstance(lease.address, Endpoint)
        assert not MEANS_SOMETHING.search(str(lease.address))
        ServerSpec(name="s", number=1, address=str(lease.address), weight=1, maxconn=1)


@given(path=PATHS)
def test_a_sockets_path_is_one_plain_word_or_refused(path: str) -> None:
    """HAProxy expands `$NAME` in it, wherever it stands."""
    lease = parsed(a_lease(), "address", value={"path": path})

    if isinstance(lease, ReplicaLease):
        assert isinstance(lease.address, UnixEndpoint)
        assert lease.address.path.isprintable()
        assert not MEANS_SOMETHING.search(
            lease.address.path.replace("<", "").replace(">", "").replace("|", "")
        )
        assert "/../" not in f"{lease.address.path}/"


@given(text=TEXTS, field=st.sampled_from(["adapters", "rust_names"]))
def test_names_in_a_lease_are_names_that_clients_can_send(text: str, field: str) -> None:
    """They are compared with aliases, which stand in maps."""
    lease = parsed(a_lease(), field, value=[text])

    if isinstance(lease, ReplicaLease):
        assert text
        assert not re.search(r"""[\s"'\\#]""", text)


@given(number=NUMBERS)
def test_haproxy_gets_a_maxconn_that_bounds(number: float) -> None:
    """0 would mean no limit, and what is too large or below 0 is refused by HAProxy itself."""
    lease = parsed(a_lease(), "max_num_seqs", value=number)

    if isinstance(lease, ReplicaLease):
        assert 1 <= lease.max_num_seqs <= 1_000_000


@given(number=st.floats())
def test_leases_can_be_sorted_by_their_age(number: float) -> None:
    """What is not a number is neither before nor after anything."""
    lease = parsed(a_lease(), "started_at", value=number)

    if isinstance(lease, ReplicaLease):
        assert math.isfinite(lease.started_at)


@given(text=st.text(), field=st.sampled_from(["reason", "executor", "device", "front_end_reason"]))
def test_what_people_read_is_one_printable_line(text: str, field: str) -> None:
    """A replica that failed with a long error says so in a table, and writes to no terminal."""
    lease = parsed(a_lease(), field, value=text)

    assert isinstance(lease, ReplicaLease) or not _is_unicode(text)
    if isinstance(lease, ReplicaLease):
        said = getattr(lease, field)
        assert said.isprintable()
        assert len(said) <= 1_000


@given(
    number=NUMBERS,
    field=st.sampled_from(
        ["running", "waiting", "kv_cache_usage_ratio", "ttft_p50_s", "tokens_per_s"]
    ),
)
def test_a_load_that_cannot_be_is_unknown(number: float, field: str) -> None:
    """-1 running request would make the formula of weights divide by 0."""
    report = parsed(a_load_report(), field, value=number)

    if isinstance(report, LoadReport):
        said = getattr(report, field)
        assert said is None or (math.isfinite(said) and said >= 0)
        assert report.kv_cache_usage_ratio is None or report.kv_cache_usage_ratio <= 1


@given(number=NUMBERS, field=st.sampled_from(["queued", "held", "refused_count"]))
def test_a_demand_that_cannot_be_is_unknown(number: float, field: str) -> None:
    """Requests that wait are counted from 0."""
    report = parsed(a_demand_report(), field, value=number)

    if isinstance(report, DemandReport):
        assert (getattr(report, field) or 0) >= 0


@pytest.mark.parametrize(
    ("message", "field", "value"),
    [
        (a_load_report(), "replica_id", "r 1"),
        (a_load_report(), "model", "m\n"),
        (a_demand_report(), "edge_id", "e;e"),
        (a_model(), "source", "x\ny"),
        (a_model(), "name", "m\nn"),
        (a_model(), "aliases", ["a b"]),
        (a_tenant(), "name", "a:b"),
        (a_tenant(), "requests_per_minute", 0),
        (a_fact(), "model", "m m"),
        (a_fact(), "target", -1),
        (
            RoutingStatus(
                edge_id=EdgeId("e"),
                revision=1,
                applied_at=None,
                haproxy_version="",
                haproxy_pid=None,
                reloads=0,
                servers_ready=0,
            ),
            "edge_id",
            "e e",
        ),
    ],
)
def test_every_kind_of_record_has_names_and_numbers_that_can_be(
    message: Message, field: str, value: object
) -> None:
    """No reader has to look for itself."""
    assert parsed(message, field, value=value) is None


@given(key=st.sampled_from(["m.r1", "m.r2", "other.r1", "m", "m.r1.x"]))
def test_a_lease_counts_under_its_own_key_alone(key: str) -> None:
    """One replica cannot speak for another: the key is named, and the others stay."""
    view = LiveBucket("replicas", FakeClock())
    own = lease_key(ModelName("m"), ReplicaId("r9"))
    view.apply(RawEntry(key=own, body=encode(a_lease("r9")), revision=1, headers={}))

    view.apply(RawEntry(key=key, body=encode(a_lease("r1")), revision=2, headers={}))
    snapshot = view.snapshot()

    assert own in snapshot.entries
    assert (key in snapshot.entries) == (key == "m.r1")
    assert set(snapshot.rejected) == {key} - {"m.r1"}
    assert all(why == "It is about m.r1." for why in snapshot.rejected.values())


async def test_a_report_counts_on_its_own_subject_alone() -> None:
    """The subject is what a replica may write to; the body could name any other."""
    queue = ReportQueue()

    queue.offer("load.m.r2", encode(a_load_report("r1")), {})
    queue.offer("load.m.r1", encode(a_load_report("r1")), {})
    first = await anext(queue.read())

    assert first.subject == "load.m.r1"


@given(text=st.text(min_size=200), field=st.sampled_from(["replica_id", "schema"]))
def test_what_is_said_of_a_bad_record_is_one_short_line(text: str, field: str) -> None:
    """`status` and logs show it, and whoever wrote it chose the text."""
    tree = json.loads(encode(a_lease())) | {field: text}
    view = LiveBucket("replicas", FakeClock())
    body = json.dumps(tree).encode()

    view.apply(RawEntry(key="m.r1", body=body, revision=1, headers={}))
    (why,) = view.snapshot().rejected.values()

    assert why.isprintable()
    assert len(why) <= 1_000


def _is_unicode(text: str) -> bool:
    """A surrogate alone is none, and no JSON."""
    return not any("\ud800" <= each <= "\udfff" for each in text)
