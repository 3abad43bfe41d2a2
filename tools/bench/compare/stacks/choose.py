"""Which class stands behind a stack's name."""

from __future__ import annotations

from typing import assert_never

from tools.bench.compare.stacks.port import Setup, Stack, StackName
from tools.bench.compare.stacks.ray_config import FAST_PATH
from tools.bench.compare.stacks.ray_llm import RayLlmStack
from tools.bench.compare.stacks.sluice import SluiceStack
from tools.bench.compare.stacks.vllm_servers import VllmRustStack, VllmStack


def choose(name: StackName, setup: Setup) -> Stack:
    """Return a stack that is not started yet."""
    match name:
        case StackName.SLUICE:
            return SluiceStack(setup)
        case StackName.VLLM_RUST:
            return VllmRustStack(setup)
        case StackName.VLLM:
            return VllmStack(setup)
        case StackName.RAY:
            return RayLlmStack(setup, switches=FAST_PATH)
        case StackName.RAY_LEGACY:
            return RayLlmStack(setup, switches={})
        case _:
            assert_never(name)
