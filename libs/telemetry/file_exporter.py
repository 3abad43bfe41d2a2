"""Writes spans as OTLP-JSON lines, in files of bounded size and number.

One line is one `ExportTraceServiceRequest`. A file that is full becomes `<name>.1.jsonl`, in the
place of the one before it, so a process holds two files at most.
Source: OpenTelemetry specification, "OpenTelemetry Protocol File Exporter".
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult

from libs.telemetry.logging import get_logger
from libs.telemetry.otlp_render import render_line

FILE_BYTES_MAX: Final = 64 * 1024 * 1024
FILES_PER_SERVICE_MAX: Final = 64
"""Every process writes its own file; the oldest ones beyond this number are removed."""

_SUCCESS: Final = SpanExportResult.SUCCESS
_FAILURE: Final = SpanExportResult.FAILURE

_log = get_logger(__name__)


class FileSpanExporter(SpanExporter):
    """Appends to `<folder>/<service>-<pid>.jsonl`."""

    def __init__(self, folder: Path, service: str, *, file_bytes_max: int = FILE_BYTES_MAX) -> None:
        """Make the folder and remove the service's oldest files beyond the bound."""
        with suppress(OSError):  # said with the first span that cannot be written
            folder.mkdir(parents=True, exist_ok=True)
            _remove_oldest(folder, service)
        self.path = folder / f"{service}-{os.getpid()}.jsonl"
        self._file_bytes_max = file_bytes_max
        self._lock = threading.Lock()

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Write one line; a full disk loses spans and nothing else."""
        return _SUCCESS if self.write(render_line(spans)) else _FAILURE

    def write(self, lines: bytes) -> bool:
        """Append whole lines of OTLP-JSON; False when they could not be written."""
        try:
            with self._lock:
                self._append(lines)
        except OSError as exc:
            _log.warning("spans_not_written", path=str(self.path), error=str(exc))
            return False
        return True

    def shutdown(self) -> None:
        """Nothing is held open between two lines."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 (SDK's signature)
        """Every line is written at once, so there is nothing to flush."""
        return True

    def _append(self, line: bytes) -> None:
        if self._size() + len(line) > self._file_bytes_max:
            self.path.replace(self.path.with_suffix(".1.jsonl"))
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            _write_all(descriptor, line)
        finally:
            os.close(descriptor)

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else -self._file_bytes_max


def _write_all(descriptor: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(descriptor, rest) :]


def _remove_oldest(folder: Path, service: str) -> None:
    dated = []
    for path in folder.glob(f"{service}-*.jsonl"):
        try:
            dated.append((path.stat().st_mtime, path))
        except FileNotFoundError:
            continue
    for _, path in sorted(dated)[: -(FILES_PER_SERVICE_MAX - 1)]:
        path.unlink(missing_ok=True)
