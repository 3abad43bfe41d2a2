"""What the comparison asks of every stack, and what a stack is given."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from libs.contracts.model_spec import ModelSpec


class StackName(StrEnum):
    """The stacks that can be compared."""

    SLUICE = "sluice"
    VLLM_RUST = "vllm-rust"
    VLLM = "vllm"
    RAY = "ray"
    RAY_LEGACY = "ray-legacy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What one start of a stack gets.

    Attributes:
        spec: the simulated model; `scaling.min` is the number of replicas.
        model: the folder with tokenizer and configuration.
        folder: short, empty and the stack's own; sockets and state go there.
        log_file: what the stack's programs print.
        peer_packages: import folder of what only the peers need.
        timeout_s: what the start may take.
    """

    root: Path
    spec: ModelSpec
    model: Path
    folder: Path
    log_file: Path
    peer_packages: Path
    timeout_s: float


class Stack(Protocol):
    """One stack that is started once, asked, and stopped."""

    @property
    def url(self) -> str:
        """Where clients send requests."""
        ...

    @property
    def stack_id(self) -> str:
        """The mark in the environment of each of its processes."""
        ...

    def start(self) -> None:
        """Start it and return once every replica can answer.

        Raises:
            StackFailedError: it did not start in time.
        """
        ...

    def stop(self) -> None:
        """End every process of it; also after a start that failed or was interrupted."""
        ...
