"""What `bench control-plane` applies, and what it makes of its figures."""

from __future__ import annotations

import pytest

from libs.contracts.lease import Endpoint
from libs.errors import UsageError
from tools.bench.control_plane.result import Cost, Result, Step
from tools.bench.control_plane.size import Size


def cost(wall_s: float) -> Cost:
    """Return a step's cost; only its time on the clock matters."""
    return Cost(wall_s=wall_s, python_s=0.001, haproxy_s=0.0)


def test_the_models_share_exactly_as_many_names_as_asked_for() -> None:
    """A map entry for each: a model's own name or an alias, none of them twice."""
    specs = Size(replicas=10, models=3, names=100).specs()

    names = [name for spec in specs for name in (spec.name, *spec.aliases)]
    assert len(specs) == 3
    assert len(names) == len(set(names)) == 100


def test_every_front_end_has_an_address_of_its_own_on_loopback() -> None:
    """Two at one address would be one; the guest that joins later has two of its own too."""
    size = Size(replicas=1000)
    leases = [size.lease(index, port=8000) for index in range(1001)]

    addresses = {at for lease in leases for at in (lease.address, lease.python_address)}
    assert len(addresses) == 2002
    assert {each.host for each in addresses if isinstance(each, Endpoint)} == set(size.hosts())
    assert all(host.startswith("127.") for host in size.hosts())


@pytest.mark.parametrize(
    ("replicas", "models", "names"), [(0, 1, 1), (5000, 1, 1), (1, 65, 100), (1, 2, 1)]
)
def test_what_does_not_fit_is_refused(replicas: int, models: int, names: int) -> None:
    """64 pools of a kind, and no fewer names than models."""
    with pytest.raises(UsageError):
        Size(replicas=replicas, models=models, names=names)


def test_a_median_beyond_its_goal_is_missed_and_a_slow_run_alone_is_not() -> None:
    """Single slow runs belong to the machine."""
    steady = [cost(0.03), cost(0.04), cost(0.9)]

    result = Result(size=Size(), costs={Step.JOIN: steady, Step.FROM_NOTHING: [cost(2.5)]})

    assert result.missed == (Step.FROM_NOTHING,)
    assert result.medians()[Step.JOIN].wall_s == 0.04
    assert result.medians()[Step.JOIN].wall_max_s == 0.9


def test_the_figures_are_milliseconds_with_their_goal() -> None:
    """What was not measured is left out; what has no goal says so."""
    costs = {Step.NOTHING_TO_DO: [cost(0.01)], Step.LEAVE: [cost(0.02)], Step.JOIN: []}

    told = Result(size=Size(), costs=costs).to_json()

    steps = told["steps"]
    assert isinstance(steps, dict)
    assert steps.keys() == {"nothing_to_do", "one_leave"}
    assert steps["nothing_to_do"]["goal_ms"] is None
    assert steps["one_leave"]["goal_ms"] == 50
    assert steps["one_leave"]["wall_ms"] == pytest.approx(20)
