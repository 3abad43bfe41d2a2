"""Pure codec of the runtime API: commands to lines, and replies to what they mean.

Replies are text only. Most commands say nothing when they succeed; the others say a fixed sentence.
Source: HAProxy 2.8.25, replies as recorded in `tests/unit/haproxy/golden`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, assert_never

from libs.errors import PeerUnreachableError
from libs.haproxy.commands import (
    AbortCertificate,
    AddMapEntry,
    AddServer,
    AddToMap,
    CertificateCommand,
    CommitCertificate,
    CommitMap,
    DelMapEntry,
    DelServer,
    EnableHealth,
    MapCommand,
    MapEdit,
    PrepareMap,
    Query,
    RuntimeCommand,
    ServerCommand,
    SetCertificate,
    SetMapEntry,
    SetServerMaxconn,
    SetServerState,
    SetServerWeight,
    ShowHolds,
    ShowInfo,
    ShowMap,
    ShowMaps,
    ShowServersState,
    ShowStat,
    ShutdownSessions,
)
from libs.haproxy.tables import UnreadableReplyError

_SAID: Final[Mapping[type, str]] = {
    AddServer: "New server registered.",
    DelServer: "Server deleted.",
}
"""What HAProxy says on success; about every other command it says nothing."""

_WORD: Final = re.compile(r"[A-Za-z0-9._:/@+-]+")
"""What means nothing but itself in a command line. A line that ends with `<<` makes HAProxy wait
for more, a semicolon begins another command.

Source: HAProxy 2.8 management guide, section 9.3.
"""

_PREPARED: Final = re.compile(r"New version created: (\d+)")

_CERTIFICATE_SAID: Final[Mapping[type, re.Pattern[str]]] = {
    SetCertificate: re.compile(r"^Transaction (?:created|updated) for certificate ", re.MULTILINE),
    CommitCertificate: re.compile(r"^Success!$", re.MULTILINE),
    AbortCertificate: re.compile(r"^Transaction aborted for certificate ", re.MULTILINE),
}
"""What HAProxy says on success, among warnings and dots that show how it gets on."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ok:
    """HAProxy did it; `version` is the one that `prepare map` opened."""

    version: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """HAProxy did not do it, and says why."""

    text: str


Reply = Ok | Rejected


def render(command: RuntimeCommand) -> str:
    """Render a command as what goes over the socket, with its final newline."""
    match command:
        case PrepareMap() | AddToMap() | CommitMap():
            return _render_map(command)
        case AddMapEntry() | SetMapEntry() | DelMapEntry():
            return _render_edit(command)
        case SetCertificate() | CommitCertificate() | AbortCertificate():
            return _render_certificate(command)
        case ShowInfo() | ShowStat() | ShowServersState() | ShowMaps() | ShowMap() | ShowHolds():
            return _render_query(command)
        case _:
            return _render_server(command)


def render_all(commands: Sequence[ServerCommand | CommitMap | MapEdit | Query]) -> str:
    """Render commands as one line: HAProxy runs them one after the other, whatever each says."""
    return ";".join(render(command).rstrip("\n") for command in commands) + "\n"


def parse_replies(commands: Sequence[ServerCommand | MapEdit], text: str) -> Reply:
    """Tell whether every command of one line was done; else return all that HAProxy said."""
    said = [line for line in text.splitlines() if line.strip()]
    expected = [_SAID[type(command)] for command in commands if type(command) in _SAID]
    return Ok() if said == expected else Rejected(text=" ".join(said))


def is_whole(text: str) -> bool:
    """Whether an answer has come to its end: HAProxy ends each with an empty line.

    It breaks off where HAProxy ends meanwhile, and what is left of it may look like less to show.
    """
    return text == "\n" or text.endswith("\n\n")


def split_answers(text: str, *, count: int) -> list[str]:
    """Split what HAProxy shows for several queries of one line; an empty line ends each.

    Raises:
        PeerUnreachableError: it broke off, or there are fewer answers: HAProxy ended meanwhile.
        UnreadableReplyError: there are more.
    """
    answers = [answer for answer in text.split("\n\n") if answer.strip()]
    if not is_whole(text) or len(answers) < count:
        raise broken_off(text)
    if len(answers) > count:
        raise UnreadableReplyError(answers=len(answers), queries=count, text=text[:200])
    return answers


def broken_off(text: str) -> PeerUnreachableError:
    """Return the error for an answer that has not come to its end."""
    return PeerUnreachableError("HAProxy's answer broke off", text=text[-200:])


def parse_reply(command: ServerCommand | MapCommand | CertificateCommand, text: str) -> Reply:
    """Tell success from refusal; an unexpected sentence counts as a refusal."""
    said = text.strip()
    if isinstance(command, PrepareMap):
        return _parse_prepared(said)
    if isinstance(command, SetCertificate | CommitCertificate | AbortCertificate):
        succeeded = _CERTIFICATE_SAID[type(command)].search(said)
        return Ok() if succeeded else Rejected(text=" ".join(said.split()))
    done = said == _SAID.get(type(command), "")
    return Ok() if done else Rejected(text=said)


def map_chunks(
    entries: tuple[tuple[str, str], ...], *, payload_bytes_max: int
) -> tuple[tuple[tuple[str, str], ...], ...]:
    """Cut entries into payloads that stay below HAProxy's command buffer.

    Raises:
        ValueError: a single entry is larger than a payload may be.
    """
    chunks: list[tuple[tuple[str, str], ...]] = []
    chunk: list[tuple[str, str]] = []
    size = 0
    for key, value in entries:
        entry_bytes = _bytes(key) + _bytes(value) + 2
        if entry_bytes > payload_bytes_max:
            raise ValueError(f"map entry {key[:40]!r} has {entry_bytes} bytes")
        if size + entry_bytes > payload_bytes_max:
            chunks.append(tuple(chunk))
            chunk, size = [], 0
        chunk.append((key, value))
        size += entry_bytes
    return (*chunks, tuple(chunk)) if chunk else tuple(chunks)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _parse_prepared(said: str) -> Reply:
    found = _PREPARED.fullmatch(said)
    return Ok(version=int(found[1])) if found else Rejected(text=said)


def _render_server(command: ServerCommand) -> str:
    match command:
        case AddServer(pool=pool, server=server):
            line = f"add server {pool}/{server.name} {server.keywords()}"
        case EnableHealth(ref=ref):
            line = f"enable health {ref}"
        case SetServerState(ref=ref, state=state):
            line = f"set server {ref} state {state}"
        case SetServerWeight(ref=ref, weight=weight):
            line = f"set server {ref} weight {weight}"
        case SetServerMaxconn(ref=ref, maxconn=maxconn):
            line = f"set maxconn server {ref} {maxconn}"
        case ShutdownSessions(ref=ref):
            line = f"shutdown sessions server {ref}"
        case DelServer(ref=ref):
            line = f"del server {ref}"
        case _:
            assert_never(command)
    return f"{line}\n"


def _render_map(command: MapCommand) -> str:
    match command:
        case PrepareMap(file=file):
            return f"prepare map {file}\n"
        case AddToMap(file=file, version=version, entries=entries):
            lines = "".join(f"{key} {value}\n" for key, value in entries)
            return f"add map @{version} {file} <<\n{lines}\n"
        case CommitMap(file=file, version=version):
            return f"commit map @{version} {file}\n"
        case _:
            assert_never(command)


def _render_edit(command: MapEdit) -> str:
    match command:
        case AddMapEntry(file=file, key=key, value=value):
            return f"add map {file} {_word(key)} {_word(value)}\n"
        case SetMapEntry(file=file, key=key, value=value):
            return f"set map {file} {_word(key)} {_word(value)}\n"
        case DelMapEntry(file=file, key=key):
            return f"del map {file} {_word(key)}\n"
        case _:
            assert_never(command)


def is_word(text: str) -> bool:
    """Whether a text can stand in a command line as it is; others need a payload."""
    return _WORD.fullmatch(text) is not None


def _word(text: str) -> str:
    if not is_word(text):
        raise ValueError(f"{text[:40]!r} cannot stand in a command line")
    return text


def _render_certificate(command: CertificateCommand) -> str:
    match command:
        case SetCertificate(file=file, pem=pem):
            lines = "".join(f"{line}\n" for line in pem.splitlines() if line.strip())
            return f"set ssl cert {file} <<\n{lines}\n"
        case CommitCertificate(file=file):
            return f"commit ssl cert {file}\n"
        case AbortCertificate(file=file):
            return f"abort ssl cert {file}\n"
        case _:
            assert_never(command)


def _render_query(command: Query) -> str:
    match command:
        case ShowInfo():
            return "show info\n"
        case ShowStat():
            return "show stat -1 6 -1\n"
        case ShowServersState():
            return "show servers state\n"
        case ShowMaps():
            return "show map\n"
        case ShowMap(file=file):
            return f"show map {file}\n"
        case ShowHolds():
            return "show holds\n"
        case _:
            assert_never(command)
