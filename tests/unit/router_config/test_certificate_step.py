"""What to do about the certificate file."""

from __future__ import annotations

from services.router_config.domain.certificate import (
    Keep,
    Offered,
    Replace,
    Served,
    Unusable,
    next_step,
)

OLD, NEW = Offered(digest="old"), Offered(digest="new")
SERVES_OLD = Served(pid=7, digest="old")


def test_what_is_served_is_left_alone() -> None:
    """Planning on the applied state gives nothing."""
    assert next_step(OLD, pid=7, served=SERVES_OLD, refused=None) == Keep()


def test_another_content_replaces_it() -> None:
    """The digest decides, whatever the file's time says."""
    assert next_step(NEW, pid=7, served=SERVES_OLD, refused=None) == Replace(digest="new")


def test_another_haproxy_is_given_the_content_again() -> None:
    """Nobody knows from what it started."""
    assert next_step(OLD, pid=8, served=SERVES_OLD, refused=None) == Replace(digest="old")
    assert next_step(OLD, pid=7, served=None, refused=None) == Replace(digest="old")


def test_an_unusable_file_keeps_the_old_content_and_says_why() -> None:
    """However often it is looked at."""
    found = Unusable(digest="new", reason="no key")

    assert next_step(found, pid=7, served=SERVES_OLD, refused=None) == Keep(trouble="no key")


def test_what_haproxy_refused_is_not_offered_again_before_it_changes() -> None:
    """A mended file is."""
    refused = Unusable(digest="new", reason="weak")

    assert next_step(NEW, pid=7, served=SERVES_OLD, refused=refused) == Keep(trouble="weak")
    assert next_step(OLD, pid=7, served=SERVES_OLD, refused=refused) == Keep()
    mended = Offered(digest="newer")
    assert next_step(mended, pid=7, served=SERVES_OLD, refused=refused) == Replace(digest="newer")
