"""Ports outside the kernel's own range: a part that restarts finds its port free.

Invariant: no choice lies in the kernel's range.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.cli.stack import ports
from tools.cli.stack.ports import choices, free_ports

PORTS = st.integers(1024, 65_535)


@given(PORTS, PORTS)
def test_the_kernels_range_is_left_alone(one: int, other: int) -> None:
    """However wide it is."""
    kernels = range(min(one, other), max(one, other) + 1)

    assert not any(port in kernels for port in choices(kernels))


def test_a_kernel_that_gives_all_ports_leaves_none() -> None:
    """Then it has to choose itself."""
    assert choices(range(1024, 65_536)) == []


def test_free_ports_lie_outside_of_this_machines_range() -> None:
    """All different, and none that an outgoing connection could get."""
    first, last = map(int, Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split())

    found = free_ports(6)

    assert len(set(found)) == 6
    assert choices(range(first, last + 1)) == [] or not any(first <= p <= last for p in found)


def test_ports_are_different_however_few_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two sockets that do not listen yet can have one port, so binding alone tells nothing."""
    few = free_ports(8)
    monkeypatch.setattr(ports, "choices", lambda _: few)

    assert sorted(free_ports(8)) == sorted(few)
