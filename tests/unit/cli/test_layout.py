"""Sockets fit into their limit of 107 bytes wherever the checkout lies."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.lease import UNIX_PATH_BYTES_MAX
from tools.cli.stack.layout import layout

PARTS = st.lists(st.text("abcdefgh", min_size=1, max_size=30), min_size=1, max_size=8)


@given(PARTS)
def test_every_socket_fits(parts: list[str]) -> None:
    """Ray's own sockets are the longest."""
    root = Path("/", *parts)

    found = layout(root=root, var=None, models=None, user_id=4_294_967_294)

    longest = found.ray_temp / "session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
    assert len(str(longest).encode()) <= UNIX_PATH_BYTES_MAX


def test_two_checkouts_do_not_share_a_run_folder() -> None:
    """A second stack on the machine must not touch the first."""
    first = layout(root=Path("/" + "a" * 90), var=None, models=None, user_id=1)
    second = layout(root=Path("/" + "b" * 90), var=None, models=None, user_id=1)

    assert first.run != second.run


def test_what_a_running_stack_needs_is_outside_of_what_it_keeps() -> None:
    """A person may remove `var` at any time."""
    found = layout(root=Path("/r"), var=None, models=None, user_id=1)
    needed = (found.run, found.record, found.secrets, found.supervisor_conf, found.launches)

    assert not any(path.is_relative_to(found.var) for path in needed)


def test_models_may_be_kept_elsewhere() -> None:
    """Tests and several checkouts share converted models."""
    found = layout(root=Path("/r"), var=None, models=Path("/m"), user_id=1)

    assert found.models == Path("/m")
