"""What a user writes becomes a plan, or one line that says what to write."""

from pathlib import Path
from typing import Any

import pytest

from libs.errors import UsageError
from tools.bench.load.display import done_ratio
from tools.bench.load.options import LoadOptions, base_url, headers_of, plan_of
from tools.bench.load.plan import ClosedLoop, LoadPlan, OutputLength, Poisson, Replay, Target
from tools.bench.load.probe import Served, choose_model
from tools.bench.load.shard import Progress

TARGET = Target(url="http://t", model="m")


def plan(**options: Any) -> LoadPlan:  # noqa: ANN401 - each option has a type of its own
    """Return the plan of some options."""
    return plan_of(LoadOptions(**options), TARGET)


def served(*names: str, distinct: int) -> Served:
    """Return a listing."""
    return Served(names=names, distinct=distinct, output_length=OutputLength.EXACT)


def test_without_options_a_few_clients_run_for_half_a_minute() -> None:
    """The first try needs no reading."""
    found = plan()

    assert found.arrivals == ClosedLoop(clients=8)
    assert found.extent.duration_s == 30.0


def test_a_rate_is_an_open_loop() -> None:
    """With the same default length."""
    found = plan(rate=5.0, requests=10)

    assert found.arrivals == Poisson(rate_per_s=5.0)
    assert found.extent.duration_s is None


def test_a_trace_is_told_by_its_suffix_and_runs_to_its_end(tmp_path: Path) -> None:
    """No duration means the whole of it."""
    path = tmp_path / "t.csv"
    path.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03,9,1\n")

    found = plan(trace=path, speed=3.0)

    assert isinstance(found.arrivals, Replay)
    assert found.arrivals.speed == 3.0
    assert found.extent.duration_s is None


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"clients": 1, "rate": 1.0}, "--clients and --rate exclude each other"),
        ({"clients": 0}, "--clients must be from 1 to"),
        ({"rate": 0.0}, "--rate must be"),
        ({"clients": 1, "processes": 2}, "fewer clients than processes"),
        ({"duration_s": 0.0}, "--duration-s must be"),
        ({"requests": 0}, "--requests must be at least 1"),
        ({"speed": -1.0, "trace": Path("x.txt")}, "say its format"),
        ({"trace": Path("nowhere.csv")}, "cannot read the trace"),
        ({"prompt_tokens": "some"}, "write N"),
    ],
)
def test_what_cannot_be_run_is_refused_in_one_line(options: dict[str, object], told: str) -> None:
    """The line names the option."""
    with pytest.raises(UsageError, match=told) as refused:
        plan(**options)

    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("http://h:1", "http://h:1"),
        ("http://h:1/", "http://h:1"),
        ("http://h:1/v1", "http://h:1"),
        ("https://h/v1/", "https://h"),
    ],
)
def test_a_url_may_end_as_clients_write_it(text: str, url: str) -> None:
    """OpenAI's own clients take it with `/v1`."""
    assert base_url(text) == url


@pytest.mark.parametrize("text", ["h:1", "ftp://h", "http://", "http://h/v1/chat/completions"])
def test_another_url_is_refused(text: str) -> None:
    """Paths come from --endpoint."""
    with pytest.raises(UsageError, match="write http://HOST:PORT"):
        base_url(text)


def test_headers_are_read_and_line_breaks_refused() -> None:
    """A header must not become two."""
    assert headers_of(["Authorization: Bearer a:b"]) == (("Authorization", "Bearer a:b"),)
    for line in ("no colon", ": x", "a: b\r\nc: d"):
        with pytest.raises(UsageError, match="is no header"):
            headers_of([line])


def test_the_only_model_needs_no_name() -> None:
    """Its aliases make it no other."""
    assert choose_model(served("a", "default", distinct=1), None) == "a"
    assert choose_model(served("a", "b", distinct=2), "b") == "b"
    with pytest.raises(UsageError, match="--model; the target lists a, b"):
        choose_model(served("a", "b", distinct=2), None)


def test_the_bar_follows_time_or_requests() -> None:
    """Whichever is further."""
    found = plan(clients=1, duration_s=10.0, requests=100)

    assert done_ratio(found, Progress(elapsed_s=5.0, finished=20)) == 0.5
    assert done_ratio(found, Progress(elapsed_s=5.0, finished=90)) == 0.9
    assert done_ratio(found, Progress(elapsed_s=50.0)) == 1.0
