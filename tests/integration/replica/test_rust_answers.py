"""A replica's Rust program is asked whether it answers; what has ended does not."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from libs.testing.fake_replica import fake_replica
from libs.testing.real_haproxy import short_folder
from services.replica.adapters.vllm import rust_program
from services.replica.adapters.vllm.rust_program import RustPlan, RustProgram

if TYPE_CHECKING:
    from vllm.v1.utils import RustFrontendProcessManager

    from libs.contracts.lease import Address
    from services.replica.sockets import FrontEndSocket


def program_at(address: Address, *, exit_code: int | None = None) -> RustProgram:
    """Return a program of which only its address and its end are known."""
    started = SimpleNamespace(processes=[SimpleNamespace(pid=1, exitcode=exit_code)])
    at = cast("FrontEndSocket", SimpleNamespace(address=address))
    plan = RustPlan(program=Path("vllm-rs"), at=at, folder=Path(), drain_timeout_s=0.0)
    return RustProgram(cast("RustFrontendProcessManager", started), plan)


@pytest.mark.parametrize("is_unix", [True, False])
async def test_a_program_answers_by_its_health(*, is_unix: bool) -> None:
    """Over a port or a unix socket."""
    with short_folder() as folder:
        path: Path | None = folder / "r.sock" if is_unix else None
        async with fake_replica("rust", path=path) as serving:
            program = program_at(serving.address)
            well = await program.answers()
            serving.healthy = False
            ill = await program.answers()
        gone = await program.answers()

    assert (well, ill, gone) == (True, False, False)


async def test_an_ended_program_does_not_answer_whoever_listens_at_its_address() -> None:
    """A port may be another process's by now."""
    async with fake_replica("stranger") as stranger:
        assert not await program_at(stranger.address, exit_code=1).answers()


async def test_a_program_that_hangs_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The question ends before HAProxy's own check does."""
    monkeypatch.setattr(rust_program, "ANSWERS_WITHIN_S", 0.05)
    async with fake_replica("rust") as serving:
        serving.says_health.clear()
        assert not await program_at(serving.address).answers()
