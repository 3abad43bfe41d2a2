"""Which pools nobody waits for."""

from __future__ import annotations

from dataclasses import replace

from libs.contracts.failing import FailingModel
from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ModelSpec
from services.router_config.domain.desire import desire
from services.router_config.domain.model import Blocked, Known, Observed, PoolName
from services.router_config.domain.plan import Block, plan

LC0 = PoolName("lc0")
EMPTY = Observed(pools_per_kind=2)
SPEC = ModelSpec(name=ModelName("m"), source="builtin:none")
KNOWN = Known(models=(SPEC,), connected_for_s=60.0)
FAILING = FailingModel(
    model=ModelName("m"),
    error="no such file",
    failed_starts=3,
    failed_at=1.0,
    next_try_at=12.7,
    blocked=True,
)


def wanted(known: Known) -> dict[PoolName, Blocked]:
    """Decide on an empty edge."""
    return dict(desire(known, EMPTY, grace_s=1.0).blocked)


def test_a_model_that_is_blocked_blocks_its_pool() -> None:
    """With its error, and the next try in whole seconds."""
    assert wanted(replace(KNOWN, failing=(FAILING,))) == {
        LC0: Blocked(error="no such file", next_try_at=12)
    }


def test_a_failure_that_may_pass_blocks_nothing() -> None:
    """The first failed start is no reason to refuse anybody."""
    assert wanted(replace(KNOWN, failing=(replace(FAILING, blocked=False),))) == {}


def test_a_model_without_a_pool_blocks_nothing() -> None:
    """Such as one that is no longer declared."""
    assert wanted(replace(KNOWN, failing=(replace(FAILING, model=ModelName("gone")),))) == {}


def test_a_pool_is_freed_before_another_models_route_leads_to_it() -> None:
    """What was said of the model before is not said of the next one."""
    observed = replace(EMPTY, blocked={LC0: Blocked(error="old", next_try_at=0)})
    desired = desire(KNOWN, observed, grace_s=1.0)

    steps = plan(desired, observed, leaving_since={}, now=0.0, drain_timeout_s=1.0)

    assert steps.actions[0] == Block(blocked={})
    assert desired.routes[ModelName("m")].pool == LC0
