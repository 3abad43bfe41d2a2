"""The engine core's reports with vLLM's real scheduler: every request of both front ends is seen.

The device only takes time. Four sequences run at once, and the cache holds a thousand tokens.
"""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

import httpx
import pytest
import pytest_asyncio

from libs.contracts.ids import ModelName
from libs.contracts.lease import FrontEnd
from libs.contracts.model_spec import Device, EngineSpec, ModelSpec, SimulationSpec
from libs.engine.arguments import Executor, api_server_arguments, engine_environment
from libs.telemetry.finished_span import FinishedSpan
from libs.testing.eventually import eventually
from libs.testing.real_haproxy import short_folder
from libs.testing.tiny_model import words, write_tiny_model
from libs.testing.two_front_ends import two_front_ends
from services.replica.adapters.vllm.engine_reports import EngineReports, engine_reports
from services.replica.adapters.vllm.engine_spans import Engine
from services.replica.domain.load_gauge import EngineTotals

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
FRONT_ENDS: Final = (FrontEnd.RUST, FrontEnd.PYTHON)
SEQUENCES_MAX: Final = 4
LONG_TOKENS: Final = 230
"""As many as four sequences have room for in the cache."""
SPEC: Final = ModelSpec(
    name=ModelName("sim"),
    source="any",
    device=Device.SIMULATED,
    engine=EngineSpec(max_model_len=512, max_num_seqs=SEQUENCES_MAX),
    simulation=SimulationSpec(step_time_s=0.01, kv_capacity_tokens=1024),
)
WITHIN_S: Final = 30.0
_METRIC: Final = re.compile(r"^(vllm:[a-z_]+)\{[^}]*\} ([0-9.e+-]+)$", re.MULTILINE)

pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Both front ends, and what was reported so far."""

    urls: dict[FrontEnd, str]
    reports: EngineReports
    spans: list[FinishedSpan]
    callers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))

    async def ask(
        self, front_end: FrontEnd, *, timeout_s: float = 30.0, tenant: str = "", **body: object
    ) -> str:
        """Complete a prompt in a sampled trace; returns the span id that asked.

        `tenant` is what the edge adds to the request id for one.
        """
        caller = f"{next(self.callers):016x}"
        async with httpx.AsyncClient(timeout=timeout_s, trust_env=False) as client:
            request = self._request(client, front_end, caller, body)
            request.headers["X-Request-Id"] += tenant
            try:
                answer = await client.send(request)
            except httpx.TimeoutException:
                return caller
        assert answer.is_success, answer.text
        return caller

    @asynccontextmanager
    async def begun(self, front_end: FrontEnd, **body: object) -> AsyncIterator[str]:
        """Hold a stream that has its first token, and leave it; gives the span id that asked."""
        caller = f"{next(self.callers):016x}"
        async with httpx.AsyncClient(timeout=WITHIN_S, trust_env=False) as client:
            request = self._request(client, front_end, caller, {**body, "stream": True})
            answer = await client.send(request, stream=True)
            try:
                assert answer.is_success
                # Kept by name: an iterator that is forgotten closes its answer.
                lines = answer.aiter_lines()
                await anext(lines)
                yield caller
            finally:
                await answer.aclose()

    def _request(
        self,
        client: httpx.AsyncClient,
        front_end: FrontEnd,
        caller: str,
        body: Mapping[str, object],
    ) -> httpx.Request:
        return client.build_request(
            "POST",
            f"{self.urls[front_end]}/v1/completions",
            json={"model": "sim", "prompt": words(20, first=7), "ignore_eos": True, **body},
            headers={"X-Request-Id": f"{TRACE}-{caller}-01"},
        )

    async def tree(self, caller: str) -> dict[str, FinishedSpan]:
        """Wait for the spans below a span id, and return them by name."""

        async def reported() -> bool:
            return any(span.parent_span_id == caller for span in self.spans)

        await eventually(reported, within_s=WITHIN_S)
        known, found = {caller}, {}
        for span in self.spans:
            if span.parent_span_id in known:
                known.add(span.span_id)
                found[span.name] = span
        return found

    async def idle_totals(self) -> EngineTotals:
        """Wait until nothing runs, and return what the engine core says."""

        async def idle() -> EngineTotals | None:
            totals = self.reports.totals
            return totals if totals is not None and totals.running == 0 else None

        # The report at hand, and one on its way, may be from before the last request.
        for _ in range(2):
            await self._next_report()
        totals = await eventually(idle, within_s=WITHIN_S)
        assert totals is not None
        return totals

    async def _next_report(self) -> None:
        last = self.reports.totals

        async def newer() -> bool:
            return self.reports.totals is not last

        await eventually(newer, within_s=WITHIN_S, what="another report")

    async def metrics(self) -> dict[str, float]:
        """Return vLLM's own metrics; both front ends' sums together."""
        total: dict[str, float] = {}
        async with httpx.AsyncClient(trust_env=False) as client:
            for url in self.urls.values():
                page = (await client.get(f"{url}/metrics")).text
                for name, value in _METRIC.findall(page):
                    total[name] = total.get(name, 0.0) + float(value)
        return total


@pytest_asyncio.fixture(name="world", scope="module", loop_scope="module")
async def _world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    model = write_tiny_model(tmp_path_factory.mktemp("tiny"), context_tokens=512)
    arguments = api_server_arguments(SPEC, model=str(model), executor=Executor.MULTIPROCESSING)
    spans: list[FinishedSpan] = []
    engine = Engine(model="sim", front_ends=dict(enumerate(FRONT_ENDS)))
    with short_folder() as folder:
        async with engine_reports(folder, engine, spans.extend, stall_timeout_s=30.0) as reports:
            environment = {**engine_environment(SPEC, is_local=True), **reports.environment}
            program = two_front_ends(arguments, log_file=model / "log", environment=environment)
            running = await asyncio.to_thread(program.__enter__)
            urls = {FrontEnd.RUST: running.rust, FrontEnd.PYTHON: running.python}
            try:
                yield World(urls=urls, reports=reports, spans=spans)
            finally:
                await asyncio.to_thread(program.__exit__, None, None, None)


@pytest.mark.parametrize("front_end", FRONT_ENDS)
async def test_a_request_is_reported_with_its_stages(world: World, front_end: FrontEnd) -> None:
    """Both front ends' requests pass the same scheduler."""
    tree = await world.tree(await world.ask(front_end, max_tokens=5))

    outer = {"replica"} if front_end is FrontEnd.RUST else set()
    assert tree.keys() == {*outer, "engine", "queue", "prefill", "decode"}
    attributes = tree["engine"].attributes
    assert attributes["sluice.front_end"] == front_end
    assert attributes["gen_ai.usage.input_tokens"] == 20
    assert attributes["gen_ai.usage.output_tokens"] == 5
    assert attributes["gen_ai.response.finish_reasons"] == ("length",)
    assert tree["decode"].end_ns - tree["decode"].start_ns >= 4 * 0.01 * 1e9


@pytest.mark.parametrize("front_end", FRONT_ENDS)
async def test_a_client_that_leaves_in_mid_stream_is_reported(
    world: World, front_end: FrontEnd
) -> None:
    """VLLM itself makes no span for such a request."""
    async with world.begun(front_end, max_tokens=400) as caller:
        pass

    tree = await world.tree(caller)

    assert tree["engine"].attributes["sluice.ended_by"] == "front_end"
    assert 0 < int(str(tree["engine"].attributes["gen_ai.usage.output_tokens"])) < 400
    assert "decode" in tree


@pytest.mark.parametrize("front_end", FRONT_ENDS)
async def test_a_client_that_leaves_the_queue_is_reported(
    world: World, front_end: FrontEnd
) -> None:
    """It was never scheduled, and its span says how long it waited for nothing."""
    async with AsyncExitStack() as others:
        for number in range(SEQUENCES_MAX):
            prompt = words(20, first=30 + number)
            await others.enter_async_context(
                world.begun(front_end, prompt=prompt, max_tokens=LONG_TOKENS)
            )
        caller = await world.ask(front_end, max_tokens=5, timeout_s=0.5)

    tree = await world.tree(caller)

    assert tree.keys() - {"replica"} == {"engine", "queue"}
    assert tree["engine"].attributes["error.type"] == "aborted"
    assert tree["engine"].attributes["gen_ai.usage.output_tokens"] == 0


async def test_a_preempted_request_says_how_often(world: World) -> None:
    """The cache cannot hold what four long sequences grow to."""
    async with asyncio.TaskGroup() as others:
        tasks = [
            others.create_task(
                world.ask(FrontEnd.RUST, prompt=words(200, first=50 + number), max_tokens=250)
            )
            for number in range(SEQUENCES_MAX)
        ]

    trees = [await world.tree(task.result()) for task in tasks]

    assert sum(int(str(tree["engine"].attributes["sluice.preemptions"])) for tree in trees) > 0
    assert all(tree["engine"].attributes["gen_ai.usage.output_tokens"] == 250 for tree in trees)


async def test_the_load_is_what_vllms_own_metrics_say(world: World) -> None:
    """Sums of both front ends, while requests run and after them."""
    before, metrics_before = await world.idle_totals(), await world.metrics()

    async def running() -> bool:
        totals = world.reports.totals
        return totals is not None and totals.running == len(FRONT_ENDS)

    async with asyncio.TaskGroup() as busy:
        for front_end in FRONT_ENDS:
            busy.create_task(world.ask(front_end, prompt=words(64, first=90), max_tokens=300))
        await eventually(running, within_s=WITHIN_S)
        load = world.reports.load()
    after, metrics = await world.idle_totals(), await world.metrics()

    grown = {name: value - metrics_before.get(name, 0.0) for name, value in metrics.items()}
    assert (load.running, load.waiting) == (2, 0)
    assert load.kv_cache_usage_ratio
    assert load.tokens_per_s
    assert (after.waiting, after.kv_cache_usage_ratio) == (0, 0.0)
    assert after.generated_tokens - before.generated_tokens == 2 * 300
    assert grown["vllm:generation_tokens_total"] == 2 * 300
    assert after.prefix_queried_tokens - before.prefix_queried_tokens == 2 * 64
    assert (
        after.prefix_hit_tokens - before.prefix_hit_tokens == grown["vllm:prefix_cache_hits_total"]
    )


async def test_a_reader_that_is_gone_costs_no_request(world: World) -> None:
    """Hooks never fail the engine: without their socket they only keep what fits."""
    hidden = world.reports.socket_path.rename(world.reports.socket_path.with_suffix(".away"))
    try:
        callers = [await world.ask(front_end, max_tokens=5) for front_end in FRONT_ENDS]
        await asyncio.sleep(3)  # more than one report of the load
    finally:
        hidden.rename(world.reports.socket_path)

    trees = [await world.tree(caller) for caller in callers]

    assert all("engine" in tree for tree in trees)
    assert world.reports.totals is not None
    assert world.reports.totals.lost_reports_count > 0


async def test_tenants_share_their_own_prefix_cache_and_no_other(world: World) -> None:
    """On both front ends, and whatever salt a client gives: it is one more, not another's."""

    async def cached(front_end: FrontEnd, tenant: str, salt: str | None = None) -> int:
        prompt = words(200, first=17)
        caller = await world.ask(
            front_end, tenant=tenant, prompt=prompt, max_tokens=1, cache_salt=salt
        )
        tree = await world.tree(caller)
        return int(str(tree["engine"].attributes["gen_ai.usage.cache_read.input_tokens"]))

    one, other = f"-t{'1' * 32}", f"-t{'2' * 32}"
    first = await cached(FrontEnd.RUST, one)
    shared = [await cached(front_end, one) for front_end in FRONT_ENDS]
    elsewhere = [
        await cached(FrontEnd.RUST, other),
        await cached(FrontEnd.PYTHON, ""),
        await cached(FrontEnd.PYTHON, one, "own"),
        await cached(FrontEnd.PYTHON, other, f"tenant:{'1' * 32}:"),
    ]

    assert first == 0
    assert min(shared) > 100
    assert elsewhere == [0, 0, 0, 0]
    assert await cached(FrontEnd.PYTHON, one, "own") > 100
