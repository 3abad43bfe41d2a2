"""Commands as lines, and the replies of HAProxy 2.8.25 to them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from libs.haproxy.codec import Ok, Rejected, map_chunks, parse_reply, render
from libs.haproxy.commands import (
    AbortCertificate,
    AddServer,
    AddToMap,
    AdminState,
    CertificateCommand,
    CommitCertificate,
    CommitMap,
    DelServer,
    EnableHealth,
    MapCommand,
    PrepareMap,
    RuntimeCommand,
    ServerCommand,
    ServerRef,
    ServerSpec,
    SetCertificate,
    SetServerMaxconn,
    SetServerState,
    SetServerWeight,
    ShowInfo,
    ShowMap,
    ShowMaps,
    ShowServersState,
    ShowStat,
    ShutdownSessions,
)

REF = ServerRef(pool="lc0", name="r1.0a1b2c3d")
SPEC = ServerSpec(name="r1.0a1b2c3d", number=77, address="127.0.0.1:8000", weight=16, maxconn=64)
ADD = AddServer(pool="lc0", server=SPEC)
SET_CERTIFICATE = SetCertificate(file="certificate.pem", pem="-")
COMMIT_CERTIFICATE = CommitCertificate(file="certificate.pem")
ADD_LINE = (
    "add server lc0/r1.0a1b2c3d 127.0.0.1:8000 id 77 weight 16 maxconn 64"
    " check inter 1s fastinter 200ms downinter 500ms fall 2 rise 1"
    " observe layer4 error-limit 3 on-error mark-down pool-max-conn -1 pool-purge-delay 5s\n"
)


@pytest.mark.parametrize(
    ("command", "line"),
    [
        (
            ADD,
            ADD_LINE,
        ),
        (EnableHealth(ref=REF), "enable health lc0/r1.0a1b2c3d\n"),
        (
            SetServerState(ref=REF, state=AdminState.DRAIN),
            "set server lc0/r1.0a1b2c3d state drain\n",
        ),
        (SetServerWeight(ref=REF, weight=32), "set server lc0/r1.0a1b2c3d weight 32\n"),
        (SetServerMaxconn(ref=REF, maxconn=8), "set maxconn server lc0/r1.0a1b2c3d 8\n"),
        (ShutdownSessions(ref=REF), "shutdown sessions server lc0/r1.0a1b2c3d\n"),
        (DelServer(ref=REF), "del server lc0/r1.0a1b2c3d\n"),
        (PrepareMap(file="models.map"), "prepare map models.map\n"),
        (
            AddToMap(file="models.map", version=3, entries=(("a", "lc0:a"), ("b", "lc1:b"))),
            "add map @3 models.map <<\na lc0:a\nb lc1:b\n\n",
        ),
        (CommitMap(file="models.map", version=3), "commit map @3 models.map\n"),
        (
            SetCertificate(file="certificate.pem", pem="cert\r\n\n  \nkey"),
            "set ssl cert certificate.pem <<\ncert\nkey\n\n",
        ),
        (CommitCertificate(file="certificate.pem"), "commit ssl cert certificate.pem\n"),
        (AbortCertificate(file="certificate.pem"), "abort ssl cert certificate.pem\n"),
        (ShowInfo(), "show info\n"),
        (ShowStat(), "show stat -1 6 -1\n"),
        (ShowServersState(), "show servers state\n"),
        (ShowMaps(), "show map\n"),
        (ShowMap(file="models.map"), "show map models.map\n"),
    ],
)
def test_every_command_is_one_line_or_one_payload(command: RuntimeCommand, line: str) -> None:
    """A command ends with a newline, a payload with an empty line."""
    assert render(command) == line


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (ADD, "New server registered.\n\n"),
        (DelServer(ref=REF), "Server deleted.\n\n"),
        (EnableHealth(ref=REF), "\n"),
        (CommitMap(file="models.map", version=1), "\n"),
    ],
)
def test_the_known_words_mean_success(command: ServerCommand | MapCommand, said: str) -> None:
    """Most commands say nothing when they are done, two say a fixed sentence."""
    assert parse_reply(command, said) == Ok()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (ADD, "Already exists a server with the same name in backend.\n\n"),
        (ADD, ""),
        (DelServer(ref=REF), "Only servers in maintenance mode can be deleted.\n\n"),
        (DelServer(ref=REF), "Server still has connections attached to it, cannot remove it.\n"),
        (EnableHealth(ref=REF), "No such server.\n\n"),
        (PrepareMap(file="x"), "Unknown map identifier. Please use #<id> or <file>.\n\n"),
    ],
)
def test_any_other_word_is_a_refusal(command: ServerCommand | MapCommand, said: str) -> None:
    """A reply that nobody expected never counts as success."""
    assert parse_reply(command, said) == Rejected(text=said.strip())


def test_a_prepared_map_has_a_version() -> None:
    """The version is what entries are added to."""
    reply = parse_reply(PrepareMap(file="models.map"), "New version created: 12\n\n")

    assert reply == Ok(version=12)


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (SET_CERTIFICATE, "Transaction created for certificate certificate.pem!\n\n"),
        (SET_CERTIFICATE, "Transaction updated for certificate certificate.pem!\n\n"),
        (COMMIT_CERTIFICATE, "Committing certificate.pem.\nSuccess!\n\n"),
        (
            AbortCertificate(file="certificate.pem"),
            "Transaction aborted for certificate 'certificate.pem'!\n\n",
        ),
    ],
)
def test_a_certificates_success_stands_among_other_words(
    command: CertificateCommand, said: str
) -> None:
    """HAProxy shows how it gets on before it says that it is done."""
    assert parse_reply(command, said) == Ok()


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (SET_CERTIFICATE, "unable to load certificate from file 'certificate.pem'.\n"),
        (COMMIT_CERTIFICATE, "No ongoing transaction! !\nCan't commit certificate.pem!\n"),
    ],
)
def test_a_certificates_refusal_is_one_line(command: CertificateCommand, said: str) -> None:
    """It goes to a log and a status."""
    assert parse_reply(command, said) == Rejected(text=" ".join(said.split()))


@pytest.mark.parametrize("weight", [0, 257])
def test_a_weight_that_means_no_traffic_or_a_refusal_cannot_be_written(weight: int) -> None:
    """HAProxy takes 0 to 256, and 0 is a server that never gets a request."""
    with pytest.raises(ValueError, match="weight"):
        ServerSpec(name="s", number=1, address="127.0.0.1:1", weight=weight, maxconn=1)


@pytest.mark.parametrize("name", ["a b", "a;b", "a\nb"])
def test_a_name_cannot_carry_a_second_command(name: str) -> None:
    """A semicolon or a line break would begin another command."""
    with pytest.raises(ValueError, match="plain"):
        ServerSpec(name=name, number=1, address="127.0.0.1:1", weight=1, maxconn=1)


keys = st.text("abc", min_size=1, max_size=8)


@given(st.lists(st.tuples(keys, keys), max_size=40).map(tuple), st.integers(20, 200))
def test_chunks_keep_every_entry_in_order_and_below_the_limit(
    entries: tuple[tuple[str, str], ...], limit: int
) -> None:
    """What is cut for HAProxy's buffer adds up to what was to be sent."""
    chunks = map_chunks(entries, payload_bytes_max=limit)

    assert tuple(entry for chunk in chunks for entry in chunk) == entries
    assert all(sum(len(k) + len(v) + 2 for k, v in chunk) <= limit for chunk in chunks)


def test_an_entry_larger_than_the_buffer_is_refused_before_it_is_sent() -> None:
    """HAProxy could only drop it."""
    with pytest.raises(ValueError, match="bytes"):
        map_chunks((("k", "v" * 100),), payload_bytes_max=50)
