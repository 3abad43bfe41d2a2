"""What a bucket of models means that has none.

- Models stay as last known until they were seen to go.
- They were seen to go only on the connection on which they were seen.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from libs.contracts.model_spec import ModelSpec
from services.router_config.domain.declared import Declared, hear

AModel = Callable[..., ModelSpec]


@pytest.fixture
def known(a_model: AModel) -> Declared:
    """Offer what is known after a model was seen on a connection that has been live since 10."""
    return hear(Declared(), (a_model("m"),), live_since=10.0)


def test_models_that_go_on_a_live_connection_were_taken_back(known: Declared) -> None:
    """A person removed the last one."""
    found = hear(known, (), live_since=10.0)

    assert (found.models, found.lost) == ((), False)


def test_a_bus_that_comes_back_empty_has_lost_them(known: Declared) -> None:
    """Nobody saw them go, so they stay."""
    found = hear(known, (), live_since=20.0)

    assert (found.models, found.lost) == (known.models, True)
    assert hear(found, (), live_since=20.0) == found
    assert hear(found, (), live_since=30.0) == found


def test_a_bus_that_is_away_says_nothing(known: Declared, a_model: AModel) -> None:
    """Neither about what was there nor about the connection."""
    assert hear(known, (), live_since=None) == known
    assert hear(known, (a_model("m"),), live_since=None) == known


def test_what_is_declared_again_counts(known: Declared, a_model: AModel) -> None:
    """Whatever was known before."""
    lost = hear(known, (), live_since=20.0)

    found = hear(lost, (a_model("n"),), live_since=20.0)

    assert found == Declared(models=(a_model("n"),), seen_since=20.0)
    assert hear(found, (), live_since=20.0).models == ()


def test_a_bus_that_never_had_any_leaves_them_unknown() -> None:
    """An edge that starts beside an emptied bus keeps the routes that it has on disk."""
    found = hear(Declared(), (), live_since=10.0)

    assert (found.models, found.lost) == (None, True)


def test_nothing_is_lost_where_nothing_was(known: Declared) -> None:
    """All models were taken back, and then the connection broke."""
    none = hear(known, (), live_since=10.0)

    found = hear(none, (), live_since=20.0)

    assert (found.models, found.lost) == ((), False)
