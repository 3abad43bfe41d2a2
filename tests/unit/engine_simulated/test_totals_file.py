"""The device's totals as another process reads them."""

from __future__ import annotations

from pathlib import Path

from libs.engine.simulated.device import DeviceTotals
from libs.engine.simulated.totals_file import TotalsFile, read_totals

TOTALS = DeviceTotals(steps=3, prefill_tokens=40, output_tokens=2**40, busy_s=0.25)


def test_what_was_written_last_is_read(tmp_path: Path) -> None:
    """Each write replaces the one before."""
    file = TotalsFile(tmp_path / "totals")

    file.write(DeviceTotals(steps=1))
    file.write(TOTALS)

    assert read_totals(tmp_path / "totals") == TOTALS


def test_a_device_without_a_step_has_done_nothing(tmp_path: Path) -> None:
    """Its file is empty, or not there yet."""
    TotalsFile(tmp_path / "totals")

    assert read_totals(tmp_path / "totals") == DeviceTotals()
    assert read_totals(tmp_path / "other") == DeviceTotals()
