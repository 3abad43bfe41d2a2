"""A Serve application that stands in for `services.replica`: it starts at once and does nothing.

One whose model has the source `broken` does not start.
"""

from __future__ import annotations

from ray import serve
from ray.serve import Application


class Standin:
    """A replica without an engine."""

    def __init__(self, model_spec: str) -> None:
        """Take what a real replica takes."""
        if '"source":"broken"' in model_spec:
            raise FileNotFoundError("no such file")
        self._model_spec = model_spec

    def reconfigure(self, user_config: dict[str, list[str]]) -> None:
        """Take what Serve hands to running replicas; it does not matter here."""


def build(args: dict[str, str]) -> Application:
    """Return the application of one model."""
    deployment = serve.deployment(
        Standin,
        name="replica",
        num_replicas=1,
        ray_actor_options={"num_cpus": 0.1},
        graceful_shutdown_timeout_s=1.0,
        graceful_shutdown_wait_loop_s=0.1,
    )
    return deployment.bind(args["model_spec"])
