"""The simulated device's totals in a file, for a measurement that cannot ask the worker.

A replica does not expose vLLM's `collective_rpc`. If the environment names a file, the worker
writes its totals there instead: 32 bytes per step.
"""

from __future__ import annotations

import os
import struct
from dataclasses import astuple
from pathlib import Path
from typing import Final

from libs.engine.simulated.device import DeviceTotals

VARIABLE: Final = "SLUICE_SIMULATED_TOTALS"
"""The environment variable that names the file."""

_FORMAT: Final = struct.Struct("=QQQd")


class TotalsFile:
    """The writing side."""

    def __init__(self, path: Path) -> None:
        """Open or make the file.

        Raises:
            OSError: that cannot be done.
        """
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)

    def write(self, totals: DeviceTotals) -> None:
        """Replace what the file says."""
        os.pwrite(self._file, _FORMAT.pack(*astuple(totals)), 0)


def read_totals(path: Path) -> DeviceTotals:
    """Return what a device has done; nothing before its first step."""
    try:
        said = path.read_bytes()
    except FileNotFoundError:
        said = b""
    if len(said) != _FORMAT.size:
        return DeviceTotals()
    steps, prefill_tokens, output_tokens, busy_s = _FORMAT.unpack(said)
    return DeviceTotals(
        steps=steps, prefill_tokens=prefill_tokens, output_tokens=output_tokens, busy_s=busy_s
    )
