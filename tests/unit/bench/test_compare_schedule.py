"""What is run in which order, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from libs.errors import UsageError
from tools.bench.compare.cases import CASES, MAIN, REPLICA_BYTES, RESERVE_BYTES, points_of
from tools.bench.compare.run import simulated_spec
from tools.bench.compare.schedule import parse_stacks, schedule
from tools.bench.compare.stacks.haproxy_static import render_static
from tools.bench.compare.stacks.port import StackName
from tools.bench.compare.stacks.ray_config import serve_config
from tools.bench.compare.stacks.sluice import models_file
from tools.cli.models_yaml import load_models

PLENTY = 64 * 2**30


def test_rounds_are_interleaved() -> None:
    """A B, A B: what drifts on the machine meets both alike."""
    points = points_of([MAIN], quick=True, memory_bytes=PLENTY)

    visits = schedule([StackName.VLLM, StackName.SLUICE], points, rounds=2)

    assert [(each.round, each.stack.value) for each in visits] == [
        (1, "vllm"),
        (1, "sluice"),
        (2, "vllm"),
        (2, "sluice"),
    ]
    assert all(each.points == points for each in visits)


def test_a_quick_run_has_the_loads_with_64_and_128_clients() -> None:
    """Under the keys that every run gives them."""
    points = points_of([MAIN], quick=True, memory_bytes=PLENTY)

    assert [(point.name, point.clients) for point in points] == [("main", 64), ("main_128", 128)]
    assert all(point.window_s >= 14 for point in points)


def test_loads_for_as_many_replicas_share_a_start() -> None:
    """Another number of replicas takes another start."""
    points = points_of(CASES, quick=False, memory_bytes=PLENTY)

    visits = schedule([StackName.VLLM], points, rounds=1)

    assert [each.replicas for each in visits] == [2, 8]
    assert sum(len(each.points) for each in visits) == len(points)


def test_the_sweep_has_four_to_128_clients_and_main_has_64() -> None:
    """The case `main` of the results is one of them."""
    points = points_of([MAIN], quick=False, memory_bytes=PLENTY)

    assert [point.clients for point in points] == [4, 8, 16, 32, 64, 128]
    assert [point.clients for point in points if point.name == "main"] == [64]


@pytest.mark.parametrize(("fit", "told"), [(8, "8 replicas"), (5, "as many as the memory holds")])
def test_memory_bounds_the_replicas_and_the_title_says_so(fit: int, told: str) -> None:
    """A replica takes about 2 GB."""
    memory = RESERVE_BYTES + fit * REPLICA_BYTES

    (point,) = points_of(["many_replicas"], quick=False, memory_bytes=memory)

    assert point.replicas == fit
    assert told in point.title


def test_names_of_points_are_unique() -> None:
    """They are the keys of the results."""
    points = points_of(CASES, quick=False, memory_bytes=PLENTY)

    assert len({point.name for point in points}) == len(points)


def test_stacks_are_read_in_order_and_once() -> None:
    """The first is what the others are compared to."""
    assert parse_stacks("vllm, sluice,vllm") == (StackName.VLLM, StackName.SLUICE)


@pytest.mark.parametrize("text", ["sluce", "", ",", "sluice,triton"])
def test_an_unknown_stack_is_refused_with_those_that_there_are(text: str) -> None:
    """One line."""
    with pytest.raises(UsageError, match=r"takes sluice, vllm-rust, vllm, ray, ray-legacy"):
        parse_stacks(text)


@pytest.mark.parametrize("cases", [["man"], [], ["main", "x"]])
def test_an_unknown_case_is_refused_with_those_that_there_are(cases: list[str]) -> None:
    """One line."""
    with pytest.raises(UsageError, match="--cases takes main, one_client"):
        points_of(cases, quick=False, memory_bytes=PLENTY)


def test_sluice_serves_the_very_model_that_the_peers_serve(tmp_path: Path) -> None:
    """What is written for `up` reads back as the spec."""
    spec = simulated_spec(3)
    (tmp_path / "models.yaml").write_text(yaml.safe_dump(models_file(spec)))

    (read,) = load_models(tmp_path / "models.yaml")

    assert (read.engine, read.scaling, read.simulation) == (
        spec.engine,
        spec.scaling,
        spec.simulation,
    )


def test_the_static_haproxy_has_every_server() -> None:
    """With least connections and no waiting for further bytes."""
    text = render_static(1000, [1001, 1002])

    assert "bind 127.0.0.1:1000" in text
    assert "127.0.0.1:1001" in text
    assert "127.0.0.1:1002" in text
    assert "balance leastconn" in text
    assert "option http-no-delay" in text


def test_ray_serves_the_same_device_on_loopback() -> None:
    """With access logs off."""
    config = serve_config(simulated_spec(2), model=Path("/m"), port=9)

    text = yaml.safe_dump(config)
    assert "libs.engine.simulated.worker.SimulatedWorker" in text
    assert "enable_access_log: false" in text
    assert "num_replicas: 2" in text
    assert "127.0.0.1" in text
