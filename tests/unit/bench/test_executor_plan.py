"""What `bench executor` measures, how it turns sums into steps, and whose CPU time is whose."""

from __future__ import annotations

import pytest

from libs.errors import UsageError
from tools.bench.executor import (
    CaseResult,
    ExecutorPlan,
    Kind,
    Window,
    case_result,
    parse_sizes,
    reason_in,
)
from tools.bench.executor_command import table_of
from tools.bench.executor_cpu import Process, Role, cpu_by_role, families, parse_process

STAT = "42 (a) b) c) S 7 42 42 0 -1 4194304 9 9 0 0 150 50 3 4 20 0 1 0 123 1 1"


def proc(pid: int, parent: int, command: str = "x", cpu_s: float = 0.0) -> Process:
    """Return one process."""
    return Process(pid=pid, parent=parent, command=command, cpu_s=cpu_s)


def test_every_executor_is_measured_with_every_size() -> None:
    """The sizes in their order, and the old Ray executor between its neighbours."""
    cases = list(ExecutorPlan(tensor_parallel_sizes=(1, 2)).cases())

    assert cases[:3] == [(Kind.MP, 1), (Kind.RAY_OLD, 1), (Kind.RAY_V2, 1)]
    assert [size for _, size in cases] == [1, 1, 1, 2, 2, 2]


@pytest.mark.parametrize(("text", "sizes"), [("1", (1,)), ("1,2", (1, 2)), ("2, 4", (2, 4))])
def test_sizes_are_a_list(text: str, sizes: tuple[int, ...]) -> None:
    """Spaces do no harm."""
    assert parse_sizes(text) == sizes


@pytest.mark.parametrize("text", ["", "0", "1,", "two", "1,9", "-1", "1.5"])
def test_what_is_no_list_of_sizes_is_refused(text: str) -> None:
    """One line that says what was expected."""
    with pytest.raises(UsageError, match="--tp must be numbers from 1 to 8"):
        parse_sizes(text)


def test_a_plan_stays_within_the_models_context() -> None:
    """An answer cannot be longer than the context, nor a step take a day."""
    with pytest.raises(UsageError, match="--tokens must be from 1"):
        ExecutorPlan(tokens=5000)
    with pytest.raises(UsageError, match="--step-ms must be"):
        ExecutorPlan(step_time_s=float("nan"))


def test_sums_become_milliseconds_a_step() -> None:
    """Overhead is what the device does not explain."""
    window = Window(elapsed_s=6.0, steps=1000, busy_s=5.0, cpu_s={Role.WORKER: 0.5})

    found = case_result(window, Kind.MP, 2).to_json()

    assert (found["step_ms"], found["device_ms"], found["overhead_ms"]) == (6.0, 5.0, 1.0)
    assert found["cpu_ms_per_step"] == {"worker": 0.5, "total": 0.5}


def test_a_window_without_steps_divides_by_nothing() -> None:
    """The steps say that there were none."""
    found = case_result(Window(elapsed_s=1.0, steps=0, busy_s=0.0, cpu_s={}), Kind.MP, 1)

    assert found.steps == 0


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("INFO x\nERROR [a.py:1] RuntimeError: one\nValueError: two", "RuntimeError: one"),
        ("started\nended", "ended"),
        ("", "no reason was given"),
    ],
)
def test_the_first_error_in_a_log_is_the_reason(text: str, reason: str) -> None:
    """What follows it only says that something failed before."""
    assert reason_in(text) == reason


def test_a_case_without_a_result_shows_no_numbers() -> None:
    """Zero would read as very fast."""
    table = table_of([CaseResult(kind=Kind.RAY_OLD, tensor_parallel_size=1, problem="no")])

    assert list(table.columns[2].cells) == ["-"]


@pytest.mark.parametrize(
    ("command", "role"),
    [
        ("VLLM::EngineCore", Role.ENGINE_CORE),
        ("VLLM::Worker_TP1", Role.WORKER),
        ("ray::RayWorkerProc.run", Role.WORKER),
        ("ray::RayWorkerWrapper.execute", Role.WORKER),
        ("python -m vllm.entrypoints.openai.api_server --model x", Role.FRONT_END),
        ("/opt/ray/raylet --raylet_socket_name=x", Role.RAY),
    ],
)
def test_a_command_line_tells_the_role(command: str, role: Role) -> None:
    """Titles come first; what nobody knows is Ray's."""
    assert proc(1, 0, command).role is role


def test_only_what_was_there_both_times_is_counted() -> None:
    """A process that came or went in between would bring its whole life."""
    before = [proc(1, 0, "VLLM::Worker", 1.0), proc(2, 0, "VLLM::EngineCore", 9.0)]
    after = [proc(1, 0, "VLLM::Worker", 1.5), proc(3, 0, "VLLM::Worker", 7.0)]

    found = cpu_by_role(before, after)

    assert found[Role.WORKER] == 0.5
    assert found[Role.ENGINE_CORE] == 0.0


def test_descendants_belong_to_the_family() -> None:
    """However deep; strangers and parents do not."""
    tree = [proc(1, 0), proc(5, 1), proc(6, 5), proc(7, 6), proc(8, 1)]

    found = families(tree, {5})

    assert {each.pid for each in found} == {5, 6, 7}


def test_a_stat_line_with_parentheses_in_its_name_is_read() -> None:
    """The name ends at the last parenthesis."""
    found = parse_process(42, "c", STAT)

    assert (found.parent, found.pid) == (7, 42)
    assert found.cpu_s > 0
