"""JSON lines on standard output: constant event names, variables as fields, trace ids."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import MutableMapping
from contextlib import suppress
from typing import TextIO, cast

import structlog
from opentelemetry import trace
from structlog.typing import FilteringBoundLogger

Fields = MutableMapping[str, object]


def configure_logging(service: str, *, level: str = "info") -> None:
    """Write every log line of this process as JSON to standard output.

    Lines of libraries that use `logging` come out the same way, from `warning` upwards.
    A line that cannot be written, to a file on a full disk for one, is lost and ends nothing.
    """
    chosen = logging.getLevelNamesMapping()[level.upper()]
    structlog.contextvars.bind_contextvars(service=service)
    structlog.configure(
        processors=[*_SHARED, structlog.processors.format_exc_info, _RENDERER],
        wrapper_class=structlog.make_filtering_bound_logger(chosen),
        logger_factory=structlog.PrintLoggerFactory(file=cast("TextIO", _Patient(sys.stdout))),
        cache_logger_on_first_use=False,
    )
    _configure_library_logging()


class _Patient(io.TextIOBase):
    """A stream whose failures are nobody's."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        with suppress(OSError):
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with suppress(OSError):
            self._stream.flush()


def get_logger(name: str) -> FilteringBoundLogger:
    """Return the logger of a module; `name` is its `__name__`."""
    logger: FilteringBoundLogger = structlog.get_logger(module=name)
    return logger


def add_trace_ids(_logger: object, _method: str, fields: Fields) -> Fields:
    """Add `trace_id` and `span_id` in hexadecimal when a span is current."""
    span = trace.get_current_span().get_span_context()
    if span.is_valid:
        fields["trace_id"] = f"{span.trace_id:032x}"
        fields["span_id"] = f"{span.span_id:016x}"
    return fields


_SHARED: list[structlog.typing.Processor] = [
    structlog.contextvars.merge_contextvars,
    structlog.processors.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    add_trace_ids,
]
_RENDERER = structlog.processors.JSONRenderer(default=str)


def _configure_library_logging() -> None:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                _RENDERER,
            ],
            foreign_pre_chain=[*_SHARED, structlog.stdlib.add_logger_name],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
