"""Invalid records in `./sluice status`."""

from __future__ import annotations

from tools.cli.health import BusStatus
from tools.cli.status import Observed, Status, assemble
from tools.cli.status_table import REJECTED_SHOWN_MAX, tables


def the_status(rejected: list[str]) -> Status:
    """Return the status of a stack that has nothing but invalid records."""
    observed = Observed(
        now=100.0,
        bus=BusStatus(answers=True, takes_writes=True),
        leader=None,
        specs=[],
        leases=[],
        manual={},
        decided={},
        loads={},
        demands=[],
        routing=None,
        processes=(),
        rejected=rejected,
    )
    return assemble(observed, api_url="http://api", nats_url="nats://bus")


def lines(status: Status) -> list[str]:
    """Return the lines for people that are about invalid records."""
    return [
        part for part in tables(status, now=100.0) if isinstance(part, str) and "not used" in part
    ]


def test_an_invalid_record_is_shown_with_the_reason() -> None:
    """Markup in it stays text."""
    status = the_status(["replicas/m.r1: It is about [red]m.r2."])

    assert status.to_json()["rejected"] == ("replicas/m.r1: It is about [red]m.r2.",)
    (line,) = lines(status)
    assert "not used: replicas/m.r1: It is about \\[red]m.r2." in line


def test_many_invalid_records_do_not_fill_the_screen() -> None:
    """A replica can write any number of them."""
    status = the_status([f"replicas/m.r{number}: bad" for number in range(100)])

    assert len(lines(status)) == REJECTED_SHOWN_MAX + 1
    assert f"and {100 - REJECTED_SHOWN_MAX} more" in lines(status)[-1]
