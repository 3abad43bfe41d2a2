"""Ray Serve's log of a replica goes on, whatever configures logging in its process."""

from __future__ import annotations

import logging
import logging.config
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

with warnings.catch_warnings():
    # Ray declares its fields in a way that pydantic no longer likes.
    warnings.simplefilter("ignore", DeprecationWarning)
    from ray._private import worker
    from ray.serve._private.common import ServeComponentType
    from ray.serve._private.constants import SERVE_LOGGER_NAME
    from ray.serve._private.logging_utils import (
        configure_component_logger,
        get_component_logger_file_path,
    )
    from ray.serve.schema import LoggingConfig

    from services.replica.adapters.serve_log import keep_serve_log


@pytest.fixture
def serve_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[logging.Logger]:
    """Return Serve's logger as a replica's process has it."""
    node = SimpleNamespace(get_logs_dir_path=lambda: str(tmp_path))
    monkeypatch.setattr(worker, "_global_node", node)
    configure_component_logger(
        component_name="replica",
        component_id="r1",
        component_type=ServeComponentType.REPLICA,
        logging_config=LoggingConfig(logs_dir=str(tmp_path)),
        max_bytes=2**20,
        backup_count=1,
    )
    logger = logging.getLogger(SERVE_LOGGER_NAME)
    yield logger
    for handler in logger.handlers:
        target = getattr(handler, "target", None)
        if isinstance(target, logging.Handler):
            target.close()
    logger.handlers.clear()


def test_serves_log_survives_a_configuration_of_logging(
    serve_log: logging.Logger, tmp_path: Path
) -> None:
    """`is_allocated` asks where the log is; a new controller ends replicas that cannot say it."""
    serve_log.warning("before")
    keep_serve_log()

    for _ in range(2):
        logging.config.dictConfig({"version": 1, "disable_existing_loggers": False})
    serve_log.warning("after")

    path = get_component_logger_file_path()
    assert path is not None
    said = (tmp_path / path.lstrip("/")).read_text()
    assert "before" in said
    assert "after" in said
