"""Check that this machine and the declared models can work, before anything is started."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from libs.contracts.exposure import Listener, refusal
from libs.contracts.model_spec import Device, ModelSpec
from libs.errors import UsageError
from tools.cli.stack.layout import Layout
from tools.cli.stack.ports import require_free

_DISK_BYTES_MIN: Final = 2 * 1024**3


class MachineError(UsageError):
    """This machine cannot run Sluice."""


def check_machine(layout: Layout, *, host: str, port: int) -> None:
    """Check the platform, the disk and the API's port.

    Raises:
        MachineError: it is not Linux, or the disk is full.
        UsageError: the port is taken.
    """
    if platform.system() != "Linux":
        raise MachineError(f"Sluice runs on Linux, not on {platform.system()}; use a container")
    require_free(host, port)
    _check_disk(layout.var)


def check_certificate(file: Path | None) -> None:
    """Check that a certificate file is there; whether it is a good one HAProxy's start tells.

    Raises:
        UsageError: it cannot be read.
    """
    if file is None:
        return
    try:
        file.open("rb").close()
    except OSError as exc:
        raise UsageError(f"--tls-certificate {file}: {exc.strerror}") from exc


def check_exposure(layout: Layout, listener: Listener) -> None:
    """Check that the address may be listened on, as far as that shows before the bus runs.

    Raises:
        UsageError: it needs a tenant or TLS, and there was never a bus that could have a tenant.
    """
    never_ran = not layout.nats_store.exists()
    refused = refusal(listener, has_tenants=False if never_ran else None)
    if refused is not None:
        raise UsageError(refused)


def wants_cuda(specs: Sequence[ModelSpec]) -> bool:
    """Tell whether any model needs a real GPU."""
    return any(spec.device is Device.CUDA for spec in specs)


def _check_disk(folder: Path) -> None:
    existing = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(existing).free
    if free < _DISK_BYTES_MIN:
        raise MachineError(
            f"{existing} has {free / 1024**3:.1f} GiB free, {_DISK_BYTES_MIN / 1024**3:.0f} GiB "
            "are needed; make room or set SLUICE_VAR to another disk"
        )
