"""What vLLM's executors cost on a device that only takes time: `./sluice bench executor`.

    mp       vLLM's own processes
    ray-old  workers driven by Ray calls (VLLM_USE_RAY_V2_EXECUTOR_BACKEND=0)
    ray-v2   RayExecutorV2: Ray places the workers, vLLM's message queues drive them

One API server at a time answers a few requests at once. The worker counts its steps and the time
it was busy; what a step takes beyond that is the executor's, the scheduler's and the front end's.
"""

from __future__ import annotations

import re
import secrets
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final

import httpx

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, SimulationSpec
from libs.engine.arguments import Executor
from libs.errors import UsageError
from libs.testing.ray_node import marked, ray_node
from libs.testing.simulated_server import SimulatedServer, simulated_server
from libs.testing.tiny_model import words, write_tiny_model
from tools.bench.executor_cpu import Role, cpu_by_role, read_families

TP_MAX: Final = 8
_CONTEXT_TOKENS: Final = 2048
_PROMPT_TOKENS: Final = 16
_TOKENS_MAX: Final = _CONTEXT_TOKENS - 2 * _PROMPT_TOKENS
_WARM_UP_TOKENS: Final = 50
_MARK: Final = "SLUICE_BENCH_EXECUTOR"
_ERROR: Final = re.compile(r"\b[A-Z]\w*Error: .*")
_V2_VARIABLE: Final = "VLLM_USE_RAY_V2_EXECUTOR_BACKEND"
_OLD_RAY_WORKER: Final = "tools.bench.executor_worker.OldRayWorker"
_LOOPBACK: Final = {"VLLM_HOST_IP": "127.0.0.1"}
"""The old executor places its driver by the machine's address; the node's is loopback."""


class Kind(StrEnum):
    """Which executor."""

    MP = "mp"
    RAY_OLD = "ray-old"
    RAY_V2 = "ray-v2"


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorPlan:
    """One run.

    Attributes:
        tensor_parallel_sizes: each is measured with every executor.
        requests: answered at once, so many sequences are in every step.
        tokens: of each answer; about as many steps are measured.
        step_time_s: what the device takes for one.
    """

    tensor_parallel_sizes: tuple[int, ...] = (1, 2)
    kinds: tuple[Kind, ...] = tuple(Kind)
    requests: int = 4
    tokens: int = 1000
    step_time_s: float = 0.005

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: a value is out of them.
        """
        if not 1 <= self.tokens <= _TOKENS_MAX:
            raise UsageError(f"--tokens must be from 1 to {_TOKENS_MAX}, not {self.tokens}")
        if not 0 <= self.step_time_s <= 1:
            raise UsageError(f"--step-ms must be from 0 to 1000, not {self.step_time_s * 1000:g}")

    def cases(self) -> Iterator[tuple[Kind, int]]:
        """Yield what is measured, in its order."""
        for size in self.tensor_parallel_sizes:
            for kind in self.kinds:
                yield kind, size


def parse_sizes(text: str) -> tuple[int, ...]:
    """Read `1,2`.

    Raises:
        UsageError: it is no list of sizes.
    """
    parts = text.split(",")
    sizes = tuple(int(word) for word in parts if word.strip().isdecimal())
    if len(sizes) != len(parts) or not all(1 <= size <= TP_MAX for size in sizes):
        raise UsageError(f"--tp must be numbers from 1 to {TP_MAX} such as 1,2, not {text!r}")
    return sizes


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseResult:
    """One executor with one tensor parallel size; times in milliseconds.

    Attributes:
        step_ms: time of the whole window over its steps.
        device_ms: what the worker was busy in a step; the rest of the step is overhead.
        cpu_ms_per_step: by role, workers together; 0 without steps.
        problem: why there is no result; empty when there is one.
    """

    kind: Kind
    tensor_parallel_size: int
    steps: int = 0
    step_ms: float = 0.0
    device_ms: float = 0.0
    cpu_ms_per_step: Mapping[Role, float] = field(default_factory=dict)
    problem: str = ""

    @property
    def overhead_ms(self) -> float:
        """What a step takes beyond the device."""
        return self.step_ms - self.device_ms

    def to_json(self) -> dict[str, object]:
        """Return plain values."""
        cpu = {str(role): round(value, 3) for role, value in self.cpu_ms_per_step.items()}
        return {
            "executor": str(self.kind),
            "tensor_parallel_size": self.tensor_parallel_size,
            "steps": self.steps,
            "step_ms": round(self.step_ms, 3),
            "device_ms": round(self.device_ms, 3),
            "overhead_ms": round(self.overhead_ms, 3),
            "cpu_ms_per_step": {**cpu, "total": round(sum(self.cpu_ms_per_step.values()), 3)},
            "problem": self.problem,
        }


def measure_executors(plan: ExecutorPlan, tell: Callable[[str], None]) -> Iterator[CaseResult]:
    """Measure one case after the other; one that does not start is told as a problem."""
    for kind, size in plan.cases():
        tell(f"{kind}, tensor parallel {size}")
        try:
            yield _measure(plan, kind, size)
        # AssertionError is what servers made for tests raise when they do not start.
        except (AssertionError, httpx.HTTPError) as exc:
            yield CaseResult(kind=kind, tensor_parallel_size=size, problem=reason_in(str(exc)))


def reason_in(text: str) -> str:
    """Return the first error that a text names, else its last line."""
    lines = text.strip().splitlines() or ["no reason was given"]
    named = (found[0] for line in lines if (found := _ERROR.search(line)))
    return next(named, lines[-1])


def case_result(window: Window, kind: Kind, size: int) -> CaseResult:
    """Turn a window's sums into a result for one step."""
    steps = max(1, window.steps)
    return CaseResult(
        kind=kind,
        tensor_parallel_size=size,
        steps=window.steps,
        step_ms=window.elapsed_s / steps * 1000,
        device_ms=window.busy_s / steps * 1000,
        cpu_ms_per_step={role: cpu_s / steps * 1000 for role, cpu_s in window.cpu_s.items()},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Sums over the measured requests; steps and busy time are the first worker's."""

    elapsed_s: float
    steps: int
    busy_s: float
    cpu_s: Mapping[Role, float]


def _measure(plan: ExecutorPlan, kind: Kind, size: int) -> CaseResult:
    mark = secrets.token_hex(8)
    with tempfile.TemporaryDirectory(prefix="sl-") as folder:
        model = write_tiny_model(Path(folder), context_tokens=_CONTEXT_TOKENS)
        try:
            with _server(_spec(plan, size), model, kind, mark) as server:
                _answer(server, requests=plan.requests, tokens=_WARM_UP_TOKENS)
                return case_result(_window(plan, server, mark), kind, size)
        except AssertionError as exc:
            logs = [path.read_text(errors="replace") for path in model.glob("server-*.log")]
            raise AssertionError("\n".join([*logs, str(exc)])) from exc


def _window(plan: ExecutorPlan, server: SimulatedServer, mark: str) -> Window:
    pids = marked(f"{_MARK}={mark}")
    totals, before = server.totals()[0], read_families(pids)
    began_s = time.monotonic()
    _answer(server, requests=plan.requests, tokens=plan.tokens)
    elapsed_s = time.monotonic() - began_s
    after = read_families(pids)
    done = server.totals()[0].since(totals)
    return Window(
        elapsed_s=elapsed_s,
        steps=done.steps,
        busy_s=done.busy_s,
        cpu_s=cpu_by_role(before, after),
    )


def _answer(server: SimulatedServer, *, requests: int, tokens: int) -> None:
    """Let some requests be answered at once, not streamed: the front end has little to do."""
    prompts = [words(_PROMPT_TOKENS, first=number) for number in range(requests)]
    with ThreadPoolExecutor(requests) as pool:
        list(pool.map(lambda prompt: server.complete(prompt, max_tokens=tokens), prompts))


@contextmanager
def _server(spec: ModelSpec, model: Path, kind: Kind, mark: str) -> Iterator[SimulatedServer]:
    environment = {_MARK: mark, _V2_VARIABLE: "0" if kind is Kind.RAY_OLD else "1"}
    executor = Executor.MULTIPROCESSING if kind is Kind.MP else Executor.RAY
    with ExitStack() as stack:
        if executor is Executor.RAY:
            environment |= _LOOPBACK
            slots = spec.engine.tensor_parallel_size
            node = stack.enter_context(ray_node(environment, slots=slots))
            environment |= node.driver_environment()
        yield stack.enter_context(
            simulated_server(
                spec,
                model,
                executor=executor,
                environment=environment,
                options=["--worker-cls", _OLD_RAY_WORKER] if kind is Kind.RAY_OLD else [],
            )
        )


def _spec(plan: ExecutorPlan, size: int) -> ModelSpec:
    return ModelSpec(
        name=ModelName("simulated"),
        source="any",
        device=Device.SIMULATED,
        engine=EngineSpec(max_model_len=_CONTEXT_TOKENS, tensor_parallel_size=size),
        simulation=SimulationSpec(step_time_s=plan.step_time_s),
    )
