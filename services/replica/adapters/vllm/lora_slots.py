"""A running vLLM engine's room for LoRA adapters, and the names its application knows them by.

Every loaded adapter has a number of its own in the engine, also when it takes another one's name:
requests that began with the other finish with it. vLLM's own `load_lora_adapter` either refuses a
name that is taken or changes the weights under running requests.

Source: vLLM 0.32, vllm/entrypoints/openai/models/serving.py, vllm/lora/worker_manager.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from libs.contracts.model_spec import AdapterSpec, ModelSpec
from libs.engine.adapters import check_folder, is_hub_id
from libs.engine.arguments import SPARE_LORAS
from libs.errors import TerminalError

if TYPE_CHECKING:
    from vllm.entrypoints.openai.models.serving import OpenAIServingModels
    from vllm.lora.request import LoRARequest
    from vllm.v1.engine.async_llm import AsyncLLM

ENGINE_TIMEOUT_S: Final = 120.0
"""How long an engine may take to read an adapter from a disk."""


class LoraSlots:
    """The replica's `AdapterSlots`."""

    def __init__(self, llm: AsyncLLM, served: OpenAIServingModels, spec: ModelSpec) -> None:
        """Take an engine that runs and what its application serves."""
        self._llm = llm
        self._served = served
        self._spec = spec
        self._requests: dict[int, LoRARequest] = {}
        self._asked = 0

    @property
    def is_asking(self) -> bool:
        """Whether the engine is to load or free an adapter; it ends no step meanwhile."""
        return self._asked > 0

    @property
    def room(self) -> int:
        """How many adapters it holds at once, those that are leaving included."""
        return self._spec.engine.max_loras + SPARE_LORAS

    async def load(self, adapter: AdapterSpec) -> int:
        """Load an adapter into the engine without serving it yet, and return its handle.

        Raises:
            ControlPlaneError: it is not there, or the engine cannot take it.
        """
        from vllm.lora.request import LoRARequest

        folder = await asyncio.to_thread(_fetch, adapter, self._spec)
        number: int = self._served.lora_id_counter.inc(1)
        request = LoRARequest(lora_name=adapter.name, lora_int_id=number, lora_path=str(folder))
        await self._add(request)
        self._requests[number] = request
        return number

    def serve(self, name: str, handle: int | None) -> None:
        """Give requests for a name this adapter from here on, or refuse them with None."""
        if handle is None:
            self._served.lora_requests.pop(name, None)
        else:
            self._served.lora_requests[name] = self._requests[handle]

    async def free(self, handle: int) -> None:
        """Give an adapter's room back; no request may run with it any more.

        Raises:
            ControlPlaneError: the engine does not answer.
        """
        del self._requests[handle]
        try:
            async with self._asking():
                await self._llm.remove_lora(handle)
        except Exception as exc:  # vLLM raises a plain Exception for every failure there
            raise TerminalError("The engine did not let an adapter go.", why=str(exc)) from exc

    async def _add(self, request: LoRARequest) -> None:
        try:
            async with self._asking():
                loaded = await self._llm.add_lora(request)
        except Exception as exc:  # vLLM raises a plain Exception for every failure there
            # Some of its workers may have taken it.
            await self._forget(request)
            raise TerminalError("The engine refused it.", why=str(exc)) from exc
        if not loaded:
            raise TerminalError("The engine refused it.")

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[None]:
        self._asked += 1
        try:
            async with asyncio.timeout(ENGINE_TIMEOUT_S):
                yield
        finally:
            self._asked -= 1

    async def _forget(self, request: LoRARequest) -> None:
        self._requests[request.lora_int_id] = request
        try:
            await self.free(request.lora_int_id)
        except TerminalError:
            return


def _fetch(adapter: AdapterSpec, spec: ModelSpec) -> Path:
    """Return the adapter's folder; fetched here and not by the engine, which would stand still.

    Beside a model from a folder nothing is asked of a hub: only what its cache holds is found.
    """
    if not is_hub_id(adapter.source):
        return check_folder(adapter, spec)
    from huggingface_hub import snapshot_download

    try:
        folder = Path(snapshot_download(adapter.source))
    except (OSError, ValueError) as exc:
        why = str(exc).splitlines()[0]
        raise TerminalError("It is neither here nor to be had from the hub.", why=why) from exc
    return check_folder(adapter, spec, folder=folder)
