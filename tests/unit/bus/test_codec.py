"""The wire format: everything round-trips, and nothing bad gets past `decode`."""

from __future__ import annotations

import json
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.bus.codec import Message, decode, decode_fact, decode_record, decode_report, encode
from libs.bus.ports import Record, Report
from libs.contracts.events import Fact
from libs.contracts.failing import FailingModel
from libs.contracts.ids import EdgeId, EventId, Incarnation, ModelName, ReplicaId, TenantName
from libs.contracts.leader import LeaderClaim
from libs.contracts.lease import AdapterTrouble, Endpoint, ReplicaLease, UnixEndpoint
from libs.contracts.model_spec import EngineSpec, ModelSpec, ScalingSpec
from libs.contracts.tenant import KeyHash, Priority, Tenant
from libs.errors import TerminalError, UnknownSchemaError
from libs.testing.records import a_fact, a_lease, a_load_report, a_model

NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)

HEX = st.integers(min_value=0, max_value=16**32 - 1).map(lambda number: f"{number:032x}")

st.register_type_strategy(float, NUMBERS)
st.register_type_strategy(int, st.integers(min_value=1, max_value=9_999))
for name in (ModelName, ReplicaId, EdgeId, TenantName):
    st.register_type_strategy(name, NAMES.map(name))
st.register_type_strategy(Incarnation, HEX.map(Incarnation))
st.register_type_strategy(EventId, HEX.map(EventId))
st.register_type_strategy(
    Endpoint,
    st.builds(Endpoint, host=st.ip_addresses().map(str), port=st.integers(1, 65_535)),
)
st.register_type_strategy(UnixEndpoint, st.builds(UnixEndpoint, path=NAMES.map(lambda n: f"/{n}")))
st.register_type_strategy(AdapterTrouble, st.builds(AdapterTrouble, adapter=NAMES, cause=st.text()))
st.register_type_strategy(
    ReplicaLease,
    st.builds(
        ReplicaLease, adapters=st.lists(NAMES).map(tuple), rust_names=st.lists(NAMES).map(tuple)
    ),
)
st.register_type_strategy(LeaderClaim, st.builds(LeaderClaim, service=NAMES))
st.register_type_strategy(
    UnixEndpoint, st.builds(UnixEndpoint, path=NAMES.map(lambda name: f"/run/{name}.sock"))
)
st.register_type_strategy(
    FailingModel,
    st.builds(
        FailingModel,
        model=NAMES,
        error=NAMES,
        failed_starts=st.integers(0, 1000),
        failed_at=NUMBERS,
        next_try_at=st.none() | NUMBERS,
        blocked=st.booleans(),
        retries=st.integers(0, 1000),
    ),
)
st.register_type_strategy(
    ModelSpec,
    st.builds(
        ModelSpec,
        source=NAMES,
        aliases=st.lists(NAMES).map(tuple),
        engine=st.builds(EngineSpec, max_num_seqs=st.integers(min_value=1, max_value=4096)),
        scaling=st.builds(ScalingSpec, min=st.integers(0, 3), max=st.integers(3, 9)),
    ),
)
st.register_type_strategy(
    Tenant,
    st.builds(
        Tenant,
        key_hashes=st.lists(HEX.map(lambda digits: KeyHash(2 * digits)), max_size=2).map(tuple),
        priority=st.sampled_from(Priority),
    ),
)
KINDS = (*get_args(Record), *get_args(Report), *get_args(Fact))
MESSAGES = st.one_of(*(st.from_type(kind) for kind in KINDS))


@given(message=MESSAGES)
def test_every_message_survives_the_wire(message: Message) -> None:
    """`decode(encode(m)) == m`, for every type of message."""
    assert decode(encode(message)) == message


@given(message=MESSAGES)
def test_every_message_names_its_schema_on_the_wire(message: Message) -> None:
    """Any reader can tell what it has before it knows the type."""
    assert json.loads(encode(message))["schema"] == message.schema


@given(body=st.binary())
def test_arbitrary_bytes_are_refused_as_terminal(body: bytes) -> None:
    """Nobody retries what can never be decoded."""
    with pytest.raises(TerminalError):
        decode(body)


def test_an_unknown_schema_is_told_apart() -> None:
    """A newer writer is not a broken writer."""
    with pytest.raises(UnknownSchemaError) as caught:
        decode(b'{"schema": "replica.lease.v2"}')

    assert caught.value.details == {"schema": "replica.lease.v2"}


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b'{"schema": 1}', b'{"name": "m"}'])
def test_what_has_no_schema_is_refused(body: bytes) -> None:
    """A message without a schema is nobody's."""
    with pytest.raises(TerminalError):
        decode(body)


def test_a_message_that_breaks_its_schema_is_refused_by_name() -> None:
    """The error says which field is wrong."""
    tree = json.loads(encode(a_model())) | {"source": 7}

    with pytest.raises(TerminalError, match="source"):
        decode(json.dumps(tree).encode())


def test_the_contracts_own_checks_hold_on_the_wire() -> None:
    """An invariant of a contract is an invariant of its message."""
    tree = json.loads(encode(a_model())) | {"name": "Not A Name"}

    with pytest.raises(TerminalError, match="model name"):
        decode(json.dumps(tree).encode())


def test_fields_of_a_newer_writer_are_ignored() -> None:
    """Writers may be newer than readers within one version of a schema."""
    tree = json.loads(encode(a_lease())) | {"colour": "green"}

    assert decode(json.dumps(tree).encode()) == a_lease()


def test_each_place_takes_its_own_kind_only() -> None:
    """A fact in a bucket is refused, however well formed it is."""
    for decode_here, stranger in (
        (decode_record, a_fact()),
        (decode_report, a_lease()),
        (decode_fact, a_load_report()),
    ):
        with pytest.raises(TerminalError, match="wrong place"):
            decode_here(encode(stranger))
