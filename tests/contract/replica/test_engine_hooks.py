"""What the engine core's hooks take from vLLM is there in the release that is installed.

A release that renames one of these must fail here, by name: in a replica the engine would run on
without reports, because a hook never fails an engine.
"""

from __future__ import annotations

import contextlib
import inspect
import queue
import sys
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

sys.path.append(str(Path(__file__).absolute().parents[3] / "libs" / "engine" / "plugin"))

from sluice_vllm_plugin.engine_watch import EngineWatch
from sluice_vllm_plugin.hooks import Failures, missing_methods
from sluice_vllm_plugin.tenant_salt import salt_by_tenant

from services.replica.adapters.vllm.engine_spans import REASONS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # torch's own, at import
    from vllm.sampling_params import SamplingParams
    from vllm.v1.core.kv_cache_manager import KVCacheManager
    from vllm.v1.core.sched.async_scheduler import AsyncScheduler
    from vllm.v1.core.sched.scheduler import Scheduler
    from vllm.v1.engine import EngineCoreEventType
    from vllm.v1.engine.core import EngineCore, EngineCoreProc
    from vllm.v1.metrics.stats import PrefillStats, PrefixCacheStats, SchedulerStats
    from vllm.v1.request import Request, RequestStatus

REQUEST_ATTRIBUTES = (
    "request_id",
    "client_index",
    "status",
    "arrival_time",
    "num_prompt_tokens",
    "num_output_tokens",
    "num_preemptions",
    "priority",
    "lora_request",
    "sampling_params",
    "prefill_stats",
)


@pytest.fixture(name="request_of_vllm")
def _request_of_vllm() -> Request:
    return Request(
        request_id="cmpl-1",
        prompt_token_ids=[1, 2, 3],
        sampling_params=SamplingParams(max_tokens=4),
        pooling_params=None,
        arrival_time=1.0,
    )


def test_every_method_that_is_watched_exists() -> None:
    """By class and name."""
    assert missing_methods(EngineWatch(Failures()).hooks()) == []


def test_an_event_has_the_parameters_that_the_watcher_has() -> None:
    """Callers may name them."""
    watched = inspect.signature(Request.record_event).parameters
    watcher = inspect.signature(EngineWatch.event).parameters

    assert [*watched][1:] == [*watcher][3:]


def test_the_asynchronous_scheduler_inherits_what_is_watched() -> None:
    """It is the default on GPUs; vLLM turns it off on CPUs."""
    watched = [hook for hook in EngineWatch(Failures()).hooks() if hook.owner is Scheduler]

    assert watched
    assert not {hook.name for hook in watched} & set(vars(AsyncScheduler))


@pytest.mark.parametrize("name", REQUEST_ATTRIBUTES)
def test_a_request_has_what_is_read_of_it(request_of_vllm: Request, name: str) -> None:
    """Each one by its name."""
    assert hasattr(request_of_vllm, name)


@pytest.mark.parametrize("name", ["max_tokens", "temperature", "top_p", "stop"])
def test_sampling_parameters_have_what_is_read_of_them(name: str) -> None:
    """Each one by its name."""
    assert hasattr(SamplingParams(), name)


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (
            SchedulerStats,
            {
                "num_running_reqs",
                "num_waiting_reqs",
                "num_skipped_waiting_reqs",
                "kv_cache_usage",
                "prefix_cache_stats",
            },
        ),
        (PrefixCacheStats, {"queries", "hits"}),
        (PrefillStats, {"num_cached_tokens"}),
    ],
)
def test_statistics_have_what_is_read_of_them(kind: type, names: set[str]) -> None:
    """What is missing is named."""
    assert names - {field.name for field in fields(kind)} == set()


def test_events_and_statuses_have_the_names_that_are_known() -> None:
    """A new way to end would have no finish reason."""
    finished = {status.name for status in RequestStatus if RequestStatus.is_finished(status)}

    assert {"QUEUED", "SCHEDULED", "PREEMPTED"} <= {kind.name for kind in EngineCoreEventType}
    assert finished == set(REASONS)


def idle_scheduler() -> Any:  # noqa: ANN401 - it stands for vLLM's Scheduler
    """Return what the watch reads of a scheduler; its cache is vLLM's own type's."""
    assert isinstance(KVCacheManager.usage, property)
    return SimpleNamespace(kv_cache_manager=SimpleNamespace(usage=0.0))


def test_a_watched_request_gives_a_record_without_a_failure(request_of_vllm: Request) -> None:
    """The watchers run over the release's own objects."""
    watch = EngineWatch(Failures())
    request_of_vllm.request_id = f"cmpl-{'a' * 32}-{'b' * 16}-01-0-0123abcd"

    watch.event(None, request_of_vllm, EngineCoreEventType.QUEUED)
    watch.event(None, request_of_vllm, EngineCoreEventType.SCHEDULED)
    watch.first_token(0, None, request_of_vllm)
    request_of_vllm.append_output_token_ids(7)
    request_of_vllm.status = RequestStatus.FINISHED_STOPPED
    watch.ended(None, idle_scheduler(), request_of_vllm)
    watch.step(SchedulerStats())

    (record,) = watch.pending
    assert (record["prompt_tokens"], record["output_tokens"], record["max_tokens"]) == (3, 1, 4)
    assert watch.load()["generated_tokens"] == 1


@pytest.mark.parametrize(
    ("method", "caller", "calls"),
    [
        (KVCacheManager.estimate_cached_tokens, Scheduler.update_from_output, 1),
        (Scheduler._free_request, Scheduler.finish_requests, 1),  # noqa: SLF001
        (Scheduler._free_request, Scheduler.update_from_output, 1),  # noqa: SLF001
        (Scheduler.make_stats, Scheduler.update_from_output, 1),
    ],
)
def test_the_scheduler_calls_what_is_watched(method: object, caller: object, calls: int) -> None:
    """A method that nothing calls any more would exist, and say nothing."""
    name = getattr(method, "__name__")  # noqa: B009 - of an object without a type

    assert inspect.getsource(caller).count(f".{name}(") == calls  # type: ignore[arg-type]


def test_the_engine_core_has_the_queue_whose_length_is_reported() -> None:
    """Under the name that the watcher reads; the scheduler says what is unfinished."""
    assert callable(Scheduler.get_num_unfinished_requests)
    assert "self.input_queue" in inspect.getsource(EngineCoreProc.__init__)
    watch = EngineWatch(Failures())
    inbox: queue.Queue[object] = queue.Queue()
    inbox.put(1)

    watch.read_messages(None, SimpleNamespace(input_queue=inbox))

    assert watch.load()["unread"] == 1


def test_every_request_passes_where_it_is_salted_by_tenant() -> None:
    """Before its blocks are hashed."""
    assert "preprocess_add_request(" in inspect.getsource(EngineCoreProc)
    request = SimpleNamespace(request_id=f"chatcmpl-x-t{'1' * 32}-0a", cache_salt=None)

    salt_by_tenant()
    with contextlib.suppress(AttributeError):  # what it does with the request needs an engine
        EngineCore.preprocess_add_request(SimpleNamespace(), request)

    assert request.cache_salt == f"tenant:{'1' * 32}:"
