"""Reports the load and the sampled requests of this process's engine core to its replica.

vLLM loads the entry points of `vllm.general_plugins` in each of its processes, so this is called in
front ends and workers as well. Only a process that makes a scheduler opens a socket.
"""

from __future__ import annotations

import logging
import os

from sluice_vllm_plugin.engine_watch import EngineWatch
from sluice_vllm_plugin.hooks import Failures, Hook, install
from sluice_vllm_plugin.report_sender import ReportSender

SOCKET_VARIABLE = "SLUICE_ENGINE_REPORTS"
"""Names the unix datagram socket that the reports go to; without it nothing is watched."""


def report_engine() -> None:
    """Watch the engine core if a reader is named; never fails, and is safe to repeat.

    With a release of vLLM that lacks a watched method the engine runs without reports.
    """
    address = os.environ.get(SOCKET_VARIABLE)  # tidy: allow environment - vLLM passes no arguments
    if not address:
        return
    failures = Failures()
    try:
        _watch(address, failures)
    except Exception:
        logging.getLogger(__name__).exception("engine_reports_off")


def _watch(address: str, failures: Failures) -> None:
    from vllm.v1.core.sched.scheduler import Scheduler

    watch = EngineWatch(failures)
    sender = ReportSender(watch, address)

    def began(_result: None, scheduler: Scheduler, *_: object, **__: object) -> None:
        watch.began(None, scheduler)
        sender.start()

    life = (
        Hook(owner=Scheduler, name="__init__", watcher=began),
        Hook(owner=Scheduler, name="shutdown", watcher=lambda *_, **__: sender.send_all()),
    )
    install((*life, *watch.hooks()), failures)
