"""A vLLM worker that loads nothing and only takes time; named to vLLM as `worker_cls`.

It has no tensors, no process group and no KV cache: it answers the engine core's questions, tells
the scheduler's output to a `SimulatedDevice`, and sleeps until the step's time is over. With tensor
parallelism every rank does the same; vLLM takes the first one's answer.

A LoRA adapter is a name here: none of its weights is read, and a text differs with the adapter that
its request names. An adapter whose folder is not there is refused, as a real worker refuses it.

What needs logits cannot be simulated: a request for log probabilities or for structured output gets
an internal error, and the engine goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch
from vllm.lora.request import LoRARequest
from vllm.tokenizers import cached_tokenizer_from_config
from vllm.v1.core.sched.output import SchedulerOutput
from vllm.v1.kv_cache_interface import FullAttentionSpec, KVCacheConfig, KVCacheSpec
from vllm.v1.kv_cache_layout import KVCacheLayout
from vllm.v1.outputs import EMPTY_MODEL_RUNNER_OUTPUT, ModelRunnerOutput
from vllm.v1.worker.worker_base import CompilationTimes, WorkerBase

from libs.engine.simulated.device import Share, SimulatedDevice
from libs.engine.simulated.settings import simulation_in
from libs.engine.simulated.totals_file import VARIABLE, TotalsFile
from libs.engine.simulated.words import choose_words


class SimulatedWorker(WorkerBase):
    """Answers vLLM's engine core in a real device's place."""

    def init_device(self) -> None:
        """Read the settings; there is no device to claim."""
        self.device = torch.device("cpu")
        self._simulation = simulation_in(self.vllm_config.additional_config)
        self._prompt_tokens: dict[str, int] = {}
        self._adapters: dict[int, str] = {}
        named = os.environ.get(VARIABLE)  # tidy: allow environment - vLLM makes this object
        self._totals_file = TotalsFile(Path(named)) if named else None

    def load_model(self, *, load_dummy_weights: bool = False) -> None:  # noqa: ARG002 - vLLM's signature
        """Choose the words of the texts; no weights are read."""
        self._device = SimulatedDevice(self._simulation, words=self._words())

    def get_kv_cache_spec(self) -> dict[str, KVCacheSpec]:
        """Return one attention layer of two bytes a token, of which none is ever allocated."""
        return {"simulated": self._layer()}

    def get_supported_kv_cache_layouts(self) -> list[str]:
        """Return vLLM's first layout; there is nothing to lay out."""
        return [next(iter(KVCacheLayout)).name]

    def determine_available_memory(self) -> int:
        """Return the bytes from which vLLM works out the declared capacity.

        One block more, because vLLM keeps one back.
        """
        layer = self._layer()
        blocks = -(-self._simulation.kv_capacity_tokens // layer.block_size) + 1
        size_bytes: int = blocks * layer.page_size_bytes
        return size_bytes

    def initialize_from_config(self, kv_cache_config: KVCacheConfig) -> None:
        """Allocate nothing."""

    def compile_or_warm_up_model(self) -> CompilationTimes:
        """Compile nothing."""
        return CompilationTimes(language_model=0.0, encoder=0.0)

    def get_supported_tasks(self) -> tuple[str, ...]:
        """Return that this device makes text."""
        return ("generate",)

    def update_max_model_len(self, max_model_len: int) -> None:
        """Ignore what vLLM fitted to the cache: no buffer depends on it."""

    def execute_dummy_batch(self) -> None:
        """Do nothing: ranks of this device need not stay in step."""

    def take_draft_token_ids(self) -> None:
        """Return no speculated tokens."""

    def synchronize_device(self) -> None:
        """Return at once: a step is over when its call returns."""

    def simulation_totals(self) -> dict[str, float]:
        """Return what the device has done so far, for vLLM's `collective_rpc`."""
        return asdict(self._device.totals)

    def add_lora(self, lora_request: LoRARequest) -> bool:
        """Take an adapter in.

        Raises:
            FileNotFoundError: it is in no folder.
        """
        if not Path(lora_request.lora_path).is_dir():
            raise FileNotFoundError(lora_request.lora_path)
        self._adapters[lora_request.lora_int_id] = lora_request.lora_path
        return True

    def remove_lora(self, lora_id: int) -> bool:
        """Forget an adapter; False when it was not there."""
        return self._adapters.pop(lora_id, None) is not None

    def pin_lora(self, lora_id: int) -> bool:
        """Tell whether an adapter is there: none is ever put out of its place."""
        return lora_id in self._adapters

    def list_loras(self) -> set[int]:
        """Return the numbers of the adapters that are there."""
        return set(self._adapters)

    def execute_model(self, scheduler_output: SchedulerOutput) -> ModelRunnerOutput:
        """Do one step, and return when its time is over."""
        started_s = time.monotonic()
        self._follow(scheduler_output)
        if not scheduler_output.total_num_scheduled_tokens:
            return EMPTY_MODEL_RUNNER_OUTPUT
        shares = list(self._shares(scheduler_output))
        result = self._device.run(shares)
        if self._totals_file is not None:
            self._totals_file.write(self._device.totals)
        output = ModelRunnerOutput(
            req_ids=[share.sequence for share in shares],
            req_id_to_index={share.sequence: index for index, share in enumerate(shares)},
            sampled_token_ids=[[] if token is None else [token] for token in result.tokens],
        )
        _sleep_until(started_s + result.duration_s)
        return output

    def _follow(self, step: SchedulerOutput) -> None:
        self._device.forget(step.finished_req_ids)
        for finished in step.finished_req_ids:
            self._prompt_tokens.pop(finished, None)
        for new in step.scheduled_new_reqs:
            self._prompt_tokens[new.req_id] = new.prompt_len
            adapter = self._adapter_of(new.lora_request)
            self._device.begin(new.req_id, prompt=new.prompt_token_ids or (), adapter=adapter)

    def _adapter_of(self, request: LoRARequest | None) -> str:
        """Return which adapter a sequence runs with; one that is not there is read again."""
        if request is None:
            return ""
        self.add_lora(request)
        return self._adapters[request.lora_int_id]

    def _shares(self, step: SchedulerOutput) -> Iterator[Share]:
        for new in step.scheduled_new_reqs:
            known_tokens = len(new.prefill_token_ids or ()) or new.prompt_len
            yield Share(
                sequence=new.req_id,
                prompt_tokens=new.prompt_len,
                output_tokens=known_tokens - new.prompt_len,
                computed_tokens=new.num_computed_tokens,
                scheduled_tokens=step.num_scheduled_tokens[new.req_id],
            )
        cached = step.scheduled_cached_reqs
        for sequence, computed_tokens, output_tokens in zip(
            cached.req_ids, cached.num_computed_tokens, cached.num_output_tokens, strict=True
        ):
            yield Share(
                sequence=sequence,
                prompt_tokens=self._prompt_tokens[sequence],
                output_tokens=output_tokens,
                computed_tokens=computed_tokens,
                scheduled_tokens=step.num_scheduled_tokens[sequence],
            )

    def _layer(self) -> FullAttentionSpec:
        return FullAttentionSpec(
            block_size=self.cache_config.block_size, num_kv_heads=1, head_size=1, dtype=torch.int8
        )

    def _words(self) -> tuple[int, ...]:
        tokenizer = cached_tokenizer_from_config(self.model_config)
        if tokenizer is None:
            return tuple(range(self.vocab_size))
        return choose_words(tokenizer.get_vocab(), special=tokenizer.all_special_ids)


def _sleep_until(deadline_s: float) -> None:
    """Sleep without spinning; late by what the kernel takes to wake a thread, about 0.1 ms."""
    remaining_s = deadline_s - time.monotonic()
    if remaining_s > 0:
        time.sleep(remaining_s)
