"""What must not grow, and which process is what."""

from pathlib import Path

import pytest

from tools.bench.chaos.faults import Target
from tools.bench.chaos.footprint import (
    Footprint,
    Use,
    grown,
    left_segments,
    parse_resident,
)
from tools.bench.chaos.processes import target_of
from tools.bench.idle.parts import Part

MIB = 2**20


def footprint(
    use: Use, *, part: Part = Part.NATS, sockets: frozenset[str] = frozenset({"a.sock"})
) -> Footprint:
    """Return a stack of one part."""
    return Footprint(parts={part: use}, sockets=sockets, segments=frozenset())


def use(*, processes: int = 1, files: int = 20, memory_mib: int = 100) -> Use:
    """Return what a part holds."""
    return Use(processes=processes, threads=4, files=files, memory_bytes=memory_mib * MIB)


def test_what_stays_the_same_has_not_grown() -> None:
    """Nor what became less."""
    assert grown(footprint(use()), footprint(use(memory_mib=90))) == ()


@pytest.mark.parametrize(
    ("after", "words"),
    [
        (use(processes=2), "NATS: 2 processes, 1 before"),
        (use(files=200), "NATS: 200 open files, 20 before"),
        (use(memory_mib=400), "NATS: 400 MiB, 100 before"),
    ],
)
def test_what_grew_is_named(after: Use, words: str) -> None:
    """With both numbers."""
    assert grown(footprint(use()), footprint(after)) == (words,)


def test_sockets_that_stay_are_named() -> None:
    """A dead replica's would be."""
    left = frozenset({"b.sock", "c.sock"})

    assert grown(footprint(use()), footprint(use(), sockets=left)) == (
        "2 sockets, 1 before; new: b.sock, c.sock",
    )


def test_shared_memory_that_nobody_has_open_is_named(tmp_path: Path) -> None:
    """What is in use, or gone, is no leak."""
    left, used, gone = (tmp_path / name for name in ("left", "used", "gone"))
    left.touch()
    used.touch()
    after = Footprint(parts={}, sockets=frozenset(), segments=frozenset({used}))

    assert left_segments([left, used, gone], after) == (f"shared memory: {left}",)


def test_idle_workers_of_ray_may_come_and_go() -> None:
    """They belong to no part that is named."""
    before, after = (footprint(use(processes=number), part=Part.OTHER) for number in (1, 5))

    assert grown(before, after) == ()


def test_resident_memory_is_read_in_bytes() -> None:
    """The kernel counts it in KiB; a kernel thread has none."""
    assert parse_resident("Name:\tx\nVmRSS:\t  2048 kB\n") == 2 * MIB
    assert parse_resident("Name:\tkthreadd\n") == 0


@pytest.mark.parametrize(
    ("command", "target"),
    [
        ("/usr/sbin/haproxy -db -C /v/haproxy -f base.cfg -f pools.cfg", Target.HAPROXY),
        ("/usr/sbin/haproxy -db -C /v/haproxy -f reader.cfg", Target.BODY_READER),
        ("VLLM::EngineCore ", Target.ENGINE_CORE),
        ("/v/bin/python -m services.router_config", Target.ROUTER_CONFIG),
        ("ray::IDLE ", None),
    ],
)
def test_a_process_is_known_by_its_command(command: str, target: Target | None) -> None:
    """The two HAProxys differ by their file."""
    assert target_of(command) is target
