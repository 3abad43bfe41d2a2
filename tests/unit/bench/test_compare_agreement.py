"""Two runs of the comparison beside each other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from libs.errors import UsageError
from tools.bench.compare.agreement import agree, pairs, parse, read_results
from tools.bench.compare.results import Figures, Measurement, Results, details_json
from tools.bench.compare.stacks.port import StackName

SLUICE, VLLM = StackName.SLUICE, StackName.VLLM


def run(*, vllm_tokens_per_s: float, speed: float = 1.0) -> Results:
    """Return a run of two rounds; only the throughput of vllm varies."""
    results = Results()
    for number in (1, 2):
        results.add("main", SLUICE, number, measurement(1_000 * speed))
        results.add("main", VLLM, number, measurement(vllm_tokens_per_s * speed))
    return results


def measurement(tokens_per_s: float) -> Measurement:
    """Return a measurement in which only the throughput matters."""
    return Measurement(
        figures=Figures(
            tokens_per_s=tokens_per_s,
            requests_per_s=None,
            ttft_p50_s=None,
            ttft_p99_s=0.05,
            itl_p50_s=None,
            itl_p99_s=None,
            e2e_p50_s=None,
            e2e_p99_s=0.3,
        ),
        errors=0,
        cpu_ms_per_1k_tokens={"outside_engine": 100.0},
        others_ratio=0.0,
    )


def test_a_machine_of_another_speed_agrees() -> None:
    """Ratios are compared, and nothing else is."""
    found = pairs(run(vllm_tokens_per_s=900), run(vllm_tokens_per_s=900, speed=3.0))

    assert [pair.what for pair in found] == [
        "tokens_per_s", "ttft_p99_s", "e2e_p99_s", "outside_engine",
    ]  # fmt: skip
    assert all(pair.difference < 1e-9 for pair in found)
    assert agree(found)


@pytest.mark.parametrize(("tokens_per_s", "agreed"), [(1_030, True), (1_040, False), (780, False)])
def test_a_ratio_may_differ_by_15_percent_either_way(tokens_per_s: float, agreed: bool) -> None:  # noqa: FBT001 - a table's column
    """The greater over the smaller."""
    found = pairs(run(vllm_tokens_per_s=900), run(vllm_tokens_per_s=tokens_per_s))

    assert agree(found) is agreed
    assert ("!" in found[0].row()[-1]) is not agreed


def test_what_only_one_run_has_is_left_out() -> None:
    """Another set of stacks or loads is no disagreement."""
    only_ours = Results()
    only_ours.add("main", SLUICE, 1, measurement(1_000))

    assert pairs(only_ours, run(vllm_tokens_per_s=900)) == ()


def test_an_earlier_run_is_read_from_its_folder(tmp_path: Path) -> None:
    """What was written is what is read."""
    before = run(vllm_tokens_per_s=900)
    tree = {"failures": [], "measurements": details_json(before)}
    (tmp_path / "details.json").write_text(json.dumps(tree))

    assert read_results(tmp_path).taken == before.taken
    assert parse(json.loads(json.dumps(tree))).taken == before.taken


@pytest.mark.parametrize("text", [None, "no json", "[]", '{"failures": [], "measurements": [{}]}'])
def test_a_folder_without_results_is_bad_input(tmp_path: Path, text: str | None) -> None:
    """One line that names the file."""
    if text is not None:
        (tmp_path / "details.json").write_text(text)

    with pytest.raises(UsageError, match=r"details\.json"):
        read_results(tmp_path)
