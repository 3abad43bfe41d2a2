"""Simulated replicas that stay up for a whole measurement, and a HAProxy for each policy's turn.

The replicas are vLLM's own API servers over the simulated device, and HAProxy has Sluice's own
configuration with one pool; only the way in which the pool chooses differs from turn to turn.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Final

import httpx

from libs.contracts.model_spec import ModelSpec
from libs.engine.arguments import Executor, api_server_arguments
from libs.errors import ControlPlaneError
from libs.haproxy.commands import ServerSpec
from libs.haproxy.config import Balance, EdgeConfig, FrontEnds, PoolConfig, route_value
from libs.testing.real_haproxy import real_haproxy, short_folder
from tools.bench.compare.stacks.launch import Patience, end, environment, healthy, launch
from tools.bench.compare.stacks.port import Setup
from tools.bench.routing.counters import CacheCounters, parse_counters
from tools.bench.routing.policies import Policy
from tools.cli.stack.ports import free_ports

_HTTP_S: Final = 30.0
_QUEUE_S: Final = 120
_POOLS: Final = {
    Balance.LEAST_LOADED: "lc0",
    Balance.PREFIX: "px0",
    Balance.ROUND_ROBIN: "rr0",
}


class ReplicaRefusedError(ControlPlaneError):
    """A replica did not do what a measurement needs."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """Running replicas."""

    spec: ModelSpec
    urls: tuple[str, ...]

    def empty_caches(self) -> None:
        """Let every replica forget its prefixes.

        Raises:
            ReplicaRefusedError: one does not.
        """
        for url in self.urls:
            if not self._asked("POST", f"{url}/reset_prefix_cache").json().get("success"):
                raise ReplicaRefusedError(f"{url} keeps its prefix cache: a request runs on it")

    def counters(self) -> tuple[CacheCounters, ...]:
        """Read every replica's counters.

        Raises:
            ReplicaRefusedError: one does not answer.
            CountersMissingError: one does not count.
        """
        return tuple(parse_counters(self._asked("GET", f"{url}/metrics").text) for url in self.urls)

    def _asked(self, method: str, url: str) -> httpx.Response:
        try:
            answer = httpx.request(method, url, timeout=_HTTP_S, trust_env=False)
            return answer.raise_for_status()
        except httpx.HTTPError as exc:
            raise ReplicaRefusedError(f"{url}: {exc}") from exc


@contextmanager
def running_fleet(setup: Setup) -> Iterator[Fleet]:
    """Run as many replicas as `setup.spec` says while the body runs.

    Raises:
        StackFailedError: they did not start in time.
    """
    stack_id = secrets.token_hex(8)
    # Opens `/reset_prefix_cache`, on loopback only.
    env = environment(setup, stack_id) | {"VLLM_SERVER_DEV_MODE": "1"}
    ports = free_ports(setup.spec.scaling.min)
    started: list[subprocess.Popen[bytes]] = []
    try:
        for port in ports:
            command = _server(setup, port)
            started.append(launch(command, env=env, folder=setup.root, log_file=setup.log_file))
        patience = Patience(setup, started)
        urls = tuple(f"http://127.0.0.1:{port}" for port in ports)
        for url in urls:
            patience.until(f"the replica at {url}", lambda url=url: healthy(f"{url}/health"))  # type: ignore[misc]
        yield Fleet(spec=setup.spec, urls=urls)
    finally:
        end(started[::-1], stack_id, folder=setup.folder)


@asynccontextmanager
async def policy_edge(fleet: Fleet, policy: Policy) -> AsyncIterator[str]:
    """Run a HAProxy in front of the fleet while the body runs, and tell its URL."""
    with short_folder() as folder:
        (port,) = free_ports(1)
        config = EdgeConfig(
            admin_socket=folder / "admin.sock",
            span_socket=folder / "span.sock",
            host="127.0.0.1",
            port=port,
            stats_port=None,
            queue_timeout_s=_QUEUE_S,
            prefix_bytes=policy.prefix_bytes,
            trace_ratio=0.0,
            proves_identity=False,
        )
        pool = PoolConfig(
            name=_POOLS[policy.balance],
            balance=policy.balance,
            python_servers=_servers(fleet),
            bound_percent=policy.bound_percent,
        )
        value = route_value(pool=pool.name, model=fleet.spec.name, front_ends=FrontEnds.PYTHON)
        routes = ((fleet.spec.name, value),)
        async with real_haproxy(config, (pool,), routes=routes):
            yield f"http://127.0.0.1:{port}"


def _servers(fleet: Fleet) -> tuple[ServerSpec, ...]:
    return tuple(
        ServerSpec(
            name=f"r{index}",
            number=_number(index),
            address=url.removeprefix("http://"),
            weight=16,
            maxconn=fleet.spec.engine.max_num_seqs,
        )
        for index, url in enumerate(fleet.urls)
    )


def _number(index: int) -> int:
    """Return a place on the ring: as random as a replica's own, and always the same."""
    digest = blake2b(f"replica {index}".encode(), digest_size=4).digest()
    return 1 + int.from_bytes(digest, "big") % 2_000_000_000


def _server(setup: Setup, port: int) -> Sequence[str]:
    return [
        *(sys.executable, "-m", "vllm.entrypoints.openai.api_server"),
        *api_server_arguments(
            setup.spec, model=str(setup.model), executor=Executor.MULTIPROCESSING
        ),
        # The last word counts: a simulated worker needs no process of its own.
        *("--distributed-executor-backend", "uni"),
        *("--host", "127.0.0.1", "--port", str(port), "--disable-uvicorn-access-log"),
    ]


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Offer a folder that is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="slr-") as made:
        yield Path(made)
