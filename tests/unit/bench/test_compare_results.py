"""From measurements to figures: medians over rounds, ratios within rounds, rows, JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from tools.bench.compare.cases import points_of
from tools.bench.compare.markdown import markdown
from tools.bench.compare.measure import cpu_ms_per_1k_tokens
from tools.bench.compare.plots import marker, plot
from tools.bench.compare.results import (
    TAIL_REQUESTS_MIN,
    Figures,
    Measurement,
    Results,
    Spread,
    details_json,
    to_json,
)
from tools.bench.compare.roles import Role
from tools.bench.compare.stacks.port import StackName
from tools.bench.compare.table import (
    CPU_COLUMNS,
    FIGURE_COLUMNS,
    RATIO_COLUMNS,
    cpu_rows,
    doubts,
    figure_rows,
    ratio_rows,
    ratio_text,
)

SLUICE, VLLM = StackName.SLUICE, StackName.VLLM


def measurement(tokens_per_s: float, *, errors: int = 0) -> Measurement:
    """Return a measurement in which only the throughput matters."""
    return Measurement(
        figures=Figures(
            tokens_per_s=tokens_per_s,
            requests_per_s=tokens_per_s / 32,
            ttft_p50_s=0.01,
            ttft_p99_s=0.05,
            itl_p50_s=0.006,
            itl_p99_s=0.009,
            e2e_p50_s=0.2,
            e2e_p99_s=0.3,
        ),
        errors=errors,
        cpu_ms_per_1k_tokens=cpu_ms_per_1k_tokens(dict.fromkeys(Role, 0.01), tokens=1_000),
        others_ratio=0.01,
        generator_cpu_ratio=0.08,
        requests=2_000,
    )


def two_rounds() -> Results:
    """Return a machine that is twice as fast in its second round."""
    results = Results()
    for number, speed in ((1, 1.0), (2, 2.0)):
        results.add("main", SLUICE, number, measurement(1_000 * speed, errors=1))
        results.add("main", VLLM, number, measurement(800 * speed))
    return results


def test_a_ratio_is_taken_inside_a_round() -> None:
    """So a machine that changes its speed between rounds does not change it."""
    spread = two_rounds().ratio("main", VLLM, SLUICE, "tokens_per_s")

    assert spread == Spread(median=0.8, least=0.8, greatest=0.8)


def test_a_round_that_one_stack_missed_gives_no_ratio() -> None:
    """Only rounds with both count."""
    results = two_rounds()
    del results.taken["main", VLLM][1]
    alone = Results(taken={("main", SLUICE): results.taken["main", SLUICE]})

    assert results.ratio("main", VLLM, SLUICE, "tokens_per_s") == Spread(
        median=0.8, least=0.8, greatest=0.8
    )
    assert alone.ratio("main", VLLM, SLUICE, "tokens_per_s") is None


def test_cpu_is_milliseconds_per_1000_tokens() -> None:
    """Two seconds for 4,000 tokens are 500 ms for 1,000."""
    by_role = {**dict.fromkeys(Role, 0.0), Role.FRONT_END: 2.0, Role.WORKER: 4.0}

    found = cpu_ms_per_1k_tokens(by_role, tokens=4_000)

    assert found is not None
    assert found["front_end"] == 500.0
    assert found["outside_engine"] == 500.0
    assert found["worker"] == 1_000.0


def test_without_tokens_there_is_no_cost_per_token() -> None:
    """Missing is not zero."""
    assert cpu_ms_per_1k_tokens(dict.fromkeys(Role, 1.0), tokens=0) is None


def test_the_json_has_medians_and_all_errors() -> None:
    """In the form that other programs read."""
    tree = json.loads(json.dumps(to_json(two_rounds())))

    assert tree["rounds"] == 2
    found = tree["cases"]["main"]["sluice"]
    assert found["tokens_per_s"] == 1_500
    assert found["ttft_p99_s"] == 0.05
    assert found["e2e_p99_s"] == 0.3
    assert found["errors"] == 2
    assert found["generator_cpu_ratio"] == 0.08
    assert found["cpu_ms_per_1k_tokens"] == pytest.approx(
        {**{role.value: 10.0 for role in Role}, "outside_engine": 50.0}
    )
    assert list(tree["cases"]["main"]) == ["sluice", "vllm"]


def test_nothing_measured_is_json_too() -> None:
    """An interrupted run keeps what it has, if that is nothing."""
    assert to_json(Results()) == {"rounds": 0, "cases": {}}


def test_details_have_every_round() -> None:
    """For who wants to see the spread."""
    rows = details_json(two_rounds())

    assert [(row["stack"], row["round"]) for row in rows] == [
        (SLUICE, 1),
        (SLUICE, 2),
        (VLLM, 1),
        (VLLM, 2),
    ]


def test_what_was_not_seen_is_null_and_a_dash() -> None:
    """A load without streams has no time between tokens."""
    one = measurement(10.0)
    results = Results()
    bare = replace(one, figures=replace(one.figures, itl_p50_s=None), cpu_ms_per_1k_tokens=None)
    results.add("main", SLUICE, 1, bare)

    tree = json.loads(json.dumps(to_json(results)))

    assert tree["cases"]["main"]["sluice"]["itl_p50_s"] is None
    assert tree["cases"]["main"]["sluice"]["cpu_ms_per_1k_tokens"] is None
    assert "-" in figure_rows(results, "main")[0]
    assert cpu_rows(results, "main")[0][1] == "-"


def test_rows_have_a_cell_for_every_column() -> None:
    """The generator's share of the CPUs stands beside what it measured."""
    results = two_rounds()

    figures, cpu = figure_rows(results, "main"), cpu_rows(results, "main")

    assert [len(row) for row in figures] == [len(FIGURE_COLUMNS)] * 2
    assert [len(row) for row in cpu] == [len(CPU_COLUMNS)] * 2
    assert [row[:2] for row in figures] == [("sluice", "1,500"), ("vllm", "1,200")]
    assert figures[0][FIGURE_COLUMNS.index("generator")] == "8.0%"


def test_the_first_stack_is_compared_with_every_other() -> None:
    """In throughput, p99 latencies and CPU time outside the engine."""
    (row,) = ratio_rows(two_rounds(), "main")

    assert dict(zip(RATIO_COLUMNS, row, strict=True)) == {
        "over": "vllm",
        "tokens/s": "1.25",
        "TTFT p99": "1.00",
        "whole p99": "1.00",
        "CPU outside the engine": "1.00",
    }


def test_a_p99_of_few_requests_gives_no_ratio() -> None:
    """One slow request would set it; the other ratios stand."""
    results = Results()
    results.add("main", SLUICE, 1, measurement(1_000))
    few = replace(measurement(800), requests=TAIL_REQUESTS_MIN - 1)
    results.add("main", VLLM, 1, few)

    (row,) = ratio_rows(results, "main")

    assert row == ("vllm", "1.25", "-", "-", "1.00")


def test_the_document_has_every_load_and_marks_where_the_first_stack_loses() -> None:
    """One table of ratios, one of figures, one of CPU time."""
    results = two_rounds()
    for number in (1, 2):
        results.add("main_128", SLUICE, number, measurement(1_000))
        results.add("main_128", VLLM, number, measurement(2_000))

    text = markdown(results, others_ratio_max=0.05)

    assert "| `main` | `vllm` | 1.25 | 1.00 | 1.00 | 1.00 |" in text
    assert "| `main_128` | `vllm` | **0.50** | 1.00 | 1.00 | 1.00 |" in text
    assert text.count("| load |") == 3
    assert "To keep in mind" not in text


def test_a_document_without_measurements_says_so() -> None:
    """An interrupted run may have none."""
    assert markdown(Results(), others_ratio_max=0.05) == "Nothing was measured.\n"


def test_a_spread_is_shown_where_rounds_differ() -> None:
    """The median first."""
    assert ratio_text(Spread(median=1.2, least=1.1, greatest=1.34)) == "1.20 (1.10-1.34)"
    assert ratio_text(None) == "-"


def test_a_busy_machine_and_a_busy_generator_are_said() -> None:
    """Next to the figures that they spoil."""
    results = Results()
    noisy = replace(measurement(1.0), others_ratio=0.4, refused=("the generator was late",))
    results.add("main", SLUICE, 1, noisy)
    results.add("main", VLLM, 1, measurement(1.0))

    lines = doubts(results, "main", others_ratio_max=0.05)

    assert lines == [
        "sluice: the generator was late",
        "sluice: others used up to 40% of the machine's CPUs meanwhile",
    ]


def test_the_pictures_are_over_the_number_of_clients(tmp_path: Path) -> None:
    """None without the sweep."""
    points = points_of(["main", "one_client"], quick=True, memory_bytes=0)
    results = Results()
    results.add("one_client", SLUICE, 1, measurement(5.0))
    before = plot(results, points, tmp_path)
    results.add("main", SLUICE, 1, measurement(1_000))
    results.add("main_128", SLUICE, 1, measurement(500))

    pictures = plot(results, points, tmp_path)

    assert before == []
    assert [each.name for each in pictures] == ["throughput.png", "ttft_p99.png"]
    assert all(each.read_bytes().startswith(b"\x89PNG") for each in pictures)


def test_a_picture_marks_the_median_as_the_tables_do() -> None:
    """Of two rounds it is the value between them."""
    found = two_rounds().of("main", SLUICE)

    assert marker(found, "tokens_per_s", 1) == (1_500, 500, 500)
