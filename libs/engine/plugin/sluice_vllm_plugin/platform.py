"""vLLM's CPU platform with a Ray resource to its name."""

from __future__ import annotations

from vllm.platforms.cpu import CpuPlatform


class RayCpuPlatform(CpuPlatform):
    """The CPU platform whose workers Ray places on logical `GPU` slots."""

    ray_device_key = "GPU"
