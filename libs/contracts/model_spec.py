"""A model as declared in `models.yaml` and kept in the `models` bucket."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Literal

from libs.contracts.checks import require_count, require_time
from libs.contracts.ids import ModelName, alias, model_name
from libs.contracts.lease import MAX_NUM_SEQS_MAX
from libs.contracts.targets import REPLICAS_MAX

STEP_TIME_MAX_S = 60.0
"""No simulated step is longer: vLLM gives up on a worker that takes minutes."""

STALL_TIMEOUTS_S = (2.0, 3600.0)
"""The engine core reports every second, so a shorter time than two would be its silence."""

LORA_RANKS = (1, 8, 16, 32, 64, 128, 256, 320, 512)
"""What vLLM takes as the largest rank. Source: vLLM 0.32, vllm/config/lora.py, MaxLoRARanks."""

_DOMAIN = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")

LORAS_MAX = 64
"""More adapters in one engine are refused: each has its own room on every device."""

CONTENT_TYPES = frozenset(
    {"audio", "file", "image", "input", "refusal", "text", "thinking", "tool", "video"}
)
"""No adapter may have such a name: vLLM gives a request for the base model the adapter that is
called like the type of a part of its messages, the text before the first underscore.

Source: vLLM 0.32, vllm/entrypoints/serve/engine/serving.py, _get_active_default_mm_loras.
"""


class Device(StrEnum):
    """What a model runs on."""

    CPU = "cpu"
    CUDA = "cuda"
    SIMULATED = "simulated"


class RoutingPolicy(StrEnum):
    """How HAProxy chooses among a model's replicas."""

    LEAST_LOADED = "least_loaded"
    PREFIX = "prefix"


class FrontEndChoice(StrEnum):
    """Which of vLLM's front ends a replica should have.

    AUTO takes Rust where its program is present and serves the model, and Python otherwise; RUST
    fails the replica instead of falling back.
    """

    AUTO = "auto"
    RUST = "rust"
    PYTHON = "python"


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSpec:
    """The engine's own limits, handed to vLLM as they are.

    Attributes:
        max_model_len: prompt and output tokens together; None takes the model's own limit.
        max_num_seqs: sequences in one batch; also the most requests HAProxy sends at once.
        tensor_parallel_size: workers, one device each, that share every layer.
        dtype: None takes float32 on CPU and the model's own type elsewhere.
        kv_cache_gib: memory for the KV cache on CPU, in GiB.
        max_loras: LoRA adapters that a replica can hold; 0 starts the engine without LoRA, since
            room and layers for adapters cost memory and time even while there is none.
        max_lora_rank: largest rank of an adapter, one of vLLM's own steps.
        front_end: which front ends serve requests on the engine core.
        stall_timeout_s: how long the engine may have work and end no step, or a part of it be
            silent, before the replica fails and is replaced, in seconds. It must be longer than
            the longest step, which is one chunk of a prompt: seconds on a device. None takes 30,
            and 300 on CPU, where a chunk of a large model takes minutes.
        media_domains: hosts from which a multimodal model fetches what a request names by URL,
            without redirects; empty fetches nothing, since every tenant could have it fetch from
            the replica's own network. Data URLs need none.
    """

    max_model_len: int | None = None
    max_num_seqs: int = 64
    tensor_parallel_size: int = 1
    dtype: str | None = None
    kv_cache_gib: float = 1.0
    max_loras: int = 0
    max_lora_rank: int = 16
    front_end: FrontEndChoice = FrontEndChoice.AUTO
    stall_timeout_s: float | None = None
    media_domains: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse sizes that no engine has."""
        require_count("engine.max_model_len", self.max_model_len, low=1)
        require_count("engine.max_num_seqs", self.max_num_seqs, low=1, high=MAX_NUM_SEQS_MAX)
        require_count("engine.tensor_parallel_size", self.tensor_parallel_size, low=1)
        if not 0 < self.kv_cache_gib < math.inf:
            message = "engine.kv_cache_gib must be above 0"
            raise ValueError(message)
        if self.stall_timeout_s is not None:
            _from_to("engine.stall_timeout_s", self.stall_timeout_s, STALL_TIMEOUTS_S)
        self._check_loras()
        for domain in self.media_domains:
            if not _DOMAIN.fullmatch(domain):
                message = f"engine.media_domains: {domain!r} must be a host's name in small letters"
                raise ValueError(message)

    def _check_loras(self) -> None:
        if not 0 <= self.max_loras <= LORAS_MAX:
            message = f"engine.max_loras must be from 0 to {LORAS_MAX}, not {self.max_loras}"
            raise ValueError(message)
        if self.max_lora_rank not in LORA_RANKS:
            known = ", ".join(str(rank) for rank in LORA_RANKS)
            message = f"engine.max_lora_rank must be one of {known}, not {self.max_lora_rank}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """A LoRA adapter of a model.

    Attributes:
        name: what clients send as `model`; the rules of an alias.
        source: a directory in PEFT's format, or a hub id. Other weights need another source: what
            an engine has read from one is not read again.
    """

    name: str
    source: str

    def __post_init__(self) -> None:
        """Refuse names that routing or vLLM could not carry, and an empty source."""
        alias(self.name)
        if self.name in CONTENT_TYPES:
            message = f"adapter {self.name!r} is called like a kind of content; choose another name"
            raise ValueError(message)
        _require_source(f"adapter {self.name!r}", self.source)

    def __str__(self) -> str:
        """Render name and source."""
        return f"{self.name}={self.source}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutingSpec:
    """How requests are spread over the model's replicas."""

    policy: RoutingPolicy = RoutingPolicy.LEAST_LOADED


@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingSpec:
    """Bounds and goals for the number of replicas.

    Attributes:
        target_running_per_replica: running sequences that one replica should carry;
            None leaves the number at `min`.
        ttft_slo_s: time to first token in seconds that should hold; None means no goal.
    """

    min: int = 1
    max: int = 1
    target_running_per_replica: float | None = None
    ttft_slo_s: float | None = None

    def __post_init__(self) -> None:
        """Refuse a negative minimum and a maximum below it."""
        require_count("scaling.min", self.min, high=REPLICAS_MAX)
        require_count("scaling.max", self.max, low=1, high=REPLICAS_MAX)
        require_time("scaling.target_running_per_replica", self.target_running_per_replica)
        require_time("scaling.ttft_slo_s", self.ttft_slo_s)
        if self.max < self.min:
            message = f"scaling.max {self.max} must not be below scaling.min {self.min}"
            raise ValueError(message)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationSpec:
    """What a simulated device takes and holds: no model runs, only time passes.

    Attributes:
        step_time_s: time of one step, whatever is in its batch, in seconds.
        prefill_time_per_token_s: what each prompt token that a step computes adds, in seconds;
            tokens found in the prefix cache are not computed and add nothing.
        kv_capacity_tokens: tokens that the KV cache holds, rounded up to whole blocks.
        jitter_ratio: how far a step's time may lie from its nominal value, 0 to 1, both ways.
        seed: of the text and of the jitter; the same seed and prompt give the same text.
    """

    step_time_s: float = 0.005
    prefill_time_per_token_s: float = 0.00002
    kv_capacity_tokens: int = 131_072
    jitter_ratio: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse times below zero, an empty cache, and a jitter above the step itself."""
        _within("simulation.step_time_s", self.step_time_s, STEP_TIME_MAX_S)
        _within(
            "simulation.prefill_time_per_token_s", self.prefill_time_per_token_s, STEP_TIME_MAX_S
        )
        _within("simulation.jitter_ratio", self.jitter_ratio, 1.0)
        require_count("simulation.kv_capacity_tokens", self.kv_capacity_tokens, low=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """One model as its owner declares it.

    Attributes:
        source: `builtin:smollm2-135m-instruct`, a directory, or a hub id; a simulated device takes
            its tokenizer and configuration from there, and never reads weights.
        aliases: other names that clients may send as `model`.
        adapters: LoRA adapters that every replica loads, at most `engine.max_loras`.
        simulation: settings of the simulated device; None takes their defaults.
    """

    name: ModelName
    source: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[AdapterSpec, ...] = ()
    device: Device = Device.CPU
    engine: EngineSpec = field(default_factory=EngineSpec)
    routing: RoutingSpec = field(default_factory=RoutingSpec)
    scaling: ScalingSpec = field(default_factory=ScalingSpec)
    simulation: SimulationSpec | None = None
    schema: Literal["model.spec.v1"] = "model.spec.v1"

    def __post_init__(self) -> None:
        """Refuse names and aliases that routing could not carry."""
        model_name(self.name)
        for text in self.aliases:
            alias(text)
        _require_source(f"model {self.name}", self.source)
        self._check_adapters()
        self._check_simulation()

    def _check_adapters(self) -> None:
        taken = {self.name, *self.aliases}
        for adapter in self.adapters:
            if adapter.name in taken:
                message = f"model {self.name}: {adapter.name!r} is declared twice"
                raise ValueError(message)
            taken.add(adapter.name)
        if len(self.adapters) > self.engine.max_loras:
            message = (
                f"model {self.name}: {len(self.adapters)} adapters need an engine.max_loras "
                f"of at least that, not {self.engine.max_loras}"
            )
            raise ValueError(message)

    def _check_simulation(self) -> None:
        if self.device is not Device.SIMULATED:
            if self.simulation is not None:
                message = f"model {self.name}: simulation needs device: simulated"
                raise ValueError(message)
            return
        longest = self.engine.max_model_len
        capacity = (self.simulation or SimulationSpec()).kv_capacity_tokens
        if longest is not None and capacity < longest:
            message = (
                f"model {self.name}: simulation.kv_capacity_tokens {capacity} "
                f"must not be below engine.max_model_len {longest}"
            )
            raise ValueError(message)


def start_part(spec: ModelSpec) -> ModelSpec:
    """Return the part of a spec that a replica is started with.

    A change of anything else reaches running replicas, or does not concern them.
    """
    return replace(spec, aliases=(), adapters=(), scaling=ScalingSpec(), routing=RoutingSpec())


def _require_source(whose: str, source: str) -> None:
    if not source or not source.isprintable():
        message = f"{whose}: source must not be empty and must be one printable line"
        raise ValueError(message)


def _from_to(name: str, value: float, bounds: tuple[float, float]) -> None:
    low, high = bounds
    if not low <= value <= high:
        message = f"{name} must be from {low:g} to {high:g}, not {value:g}"
        raise ValueError(message)


def _within(name: str, value: float, high: float) -> None:
    if not math.isfinite(value) or not 0 <= value <= high:
        message = f"{name} must be between 0 and {high:g}, not {value:g}"
        raise ValueError(message)
