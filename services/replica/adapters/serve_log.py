"""Keeps Ray Serve's own log of a replica alive beside libraries that configure logging.

`logging.config.dictConfig` closes every handler of its process, its own or not; vLLM calls it when
it is imported and when it reads its arguments. Serve buffers its log in a `MemoryHandler`, whose
`close` forgets the file behind it. From then on Serve's log is silent, and the replica answers a
new controller's first question, `is_allocated`, with an error, for which that controller ends it.

Source: Python's logging/config.py, `_clearExistingHandlers`; Ray 2.60,
ray/serve/_private/logging_utils.py, `get_component_logger_file_path`.
"""

from __future__ import annotations

import logging

from ray.serve._private.constants import SERVE_LOGGER_NAME


def keep_serve_log() -> None:
    """Keep the handlers of Serve's logger when all handlers are closed; safe to repeat.

    Serve makes new handlers when a deployment's logging configuration changes, so repeat it then.
    Closing one flushes it instead; the file behind it opens itself again with the next line.
    """
    for handler in logging.getLogger(SERVE_LOGGER_NAME).handlers:
        handler.close = handler.flush  # type: ignore[method-assign]
