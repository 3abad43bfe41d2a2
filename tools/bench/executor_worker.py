"""The simulated worker as the old Ray executor drives it.

That executor reaches past the worker to its model runner, and asks the pipeline's process group
whether this is the last stage; the simulated worker has neither.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from vllm.distributed import parallel_state

from libs.engine.simulated.worker import SimulatedWorker

if TYPE_CHECKING:
    from vllm.v1.core.sched.output import SchedulerOutput
    from vllm.v1.outputs import ModelRunnerOutput


class OldRayWorker(SimulatedWorker):
    """A simulated worker with what the old executor looks for."""

    def init_device(self) -> None:
        """Read the settings, and be a pipeline of one stage."""
        super().init_device()
        self.model_runner = Runner(self)
        parallel_state._PP = OnlyStage()  # noqa: SLF001 - there is no public way


class OnlyStage:
    """A pipeline's process group with one stage."""

    is_first_rank = True
    is_last_rank = True


class Runner:
    """Hands each step to the worker."""

    supports_mm_inputs = False

    def __init__(self, worker: SimulatedWorker) -> None:
        """Keep the worker."""
        self._worker = worker

    def execute_model(self, step: SchedulerOutput, _: object = None) -> ModelRunnerOutput:
        """Do one step; there are no tensors between stages."""
        return self._worker.execute_model(step)
