"""JSON to types and back: the only place where the bus's wire format is known.

A message is a JSON object whose `schema` names its type and version, such as `replica.lease.v1`.
Fields that this version does not know are ignored, so that writers may be newer than readers.
"""

from __future__ import annotations

from typing import Final, TypeVar, get_args

from pydantic import TypeAdapter, ValidationError
from pydantic_core import from_json

from libs.bus.ports import Record, Report
from libs.contracts.events import Fact
from libs.errors import TerminalError, UnknownSchemaError

Message = Record | Report | Fact
"""Everything that travels on the bus."""

_T = TypeVar("_T")


def encode(message: Message) -> bytes:
    """Render a message as JSON."""
    return _ADAPTERS[message.schema].dump_json(message)


def decode(body: bytes) -> Message:
    """Parse a message.

    Raises:
        UnknownSchemaError: its schema is not one of this version's.
        TerminalError: it is no JSON object, has no schema, or breaks its schema.
    """
    schema = _schema_of(body)
    adapter = _ADAPTERS.get(schema)
    if adapter is None:
        raise UnknownSchemaError(schema=schema)
    try:
        return adapter.validate_json(body)
    except ValidationError as exc:
        problems = "; ".join(_problem(error["loc"], error["msg"]) for error in exc.errors())
        raise TerminalError("The message breaks its schema.", schema=schema, why=problems) from exc


def decode_record(body: bytes) -> Record:
    """Parse a value of a key-value bucket; raises as `decode`."""
    return _expect(decode(body), _RECORDS)


def decode_report(body: bytes) -> Report:
    """Parse a report; raises as `decode`."""
    return _expect(decode(body), _REPORTS)


def decode_fact(body: bytes) -> Fact:
    """Parse a fact; raises as `decode`."""
    return _expect(decode(body), _FACTS)


def _schema_of(body: bytes) -> str:
    try:
        tree = from_json(body)
    except ValueError as exc:
        raise TerminalError("The message is not JSON.", why=str(exc)) from exc
    schema = tree.get("schema") if isinstance(tree, dict) else None
    if not isinstance(schema, str):
        raise TerminalError("The message has no schema.")
    return schema


def _expect(message: Message, kinds: tuple[type[_T], ...]) -> _T:
    if isinstance(message, kinds):
        return message
    raise TerminalError("The message is in the wrong place.", schema=message.schema)


def _problem(place: tuple[int | str, ...], text: str) -> str:
    return f"{'.'.join(str(part) for part in place) or 'value'}: {text}"


_RECORDS: Final[tuple[type[Record], ...]] = get_args(Record)
_REPORTS: Final[tuple[type[Report], ...]] = get_args(Report)
_FACTS: Final[tuple[type[Fact], ...]] = get_args(Fact)
_ADAPTERS: Final[dict[str, TypeAdapter[Message]]] = {
    str(kind.__dataclass_fields__["schema"].default): TypeAdapter(kind)
    for kind in (*_RECORDS, *_REPORTS, *_FACTS)
}
