"""Which adapters a replica loads and drops, and what it says of them.

Invariants: what serves becomes what is wanted; a wanted name that serves is never dropped; nothing
is dropped before the grace is over; two looks at one moment give the same steps.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.lease import AdapterTrouble
from libs.contracts.model_spec import AdapterSpec
from services.replica.domain.adapters import (
    Failure,
    Patience,
    Shelf,
    Steps,
    next_steps,
    withdraw,
)

PATIENCE = Patience(grace_s=1.0, retry_s=30.0)
SQL = AdapterSpec(name="sql", source="/a/sql")
NEWER_SQL = AdapterSpec(name="sql", source="/a/sql-2")
LAW = AdapterSpec(name="law", source="/a/law")

adapters = st.builds(
    AdapterSpec, name=st.sampled_from(["a", "b", "c"]), source=st.sampled_from(["/1", "/2"])
)
wishes = st.lists(adapters, max_size=3, unique_by=lambda adapter: adapter.name).map(tuple)


def look(wanted: tuple[AdapterSpec, ...], shelf: Shelf, *, now: float) -> tuple[Shelf, Steps]:
    """Look once, as the keeper does."""
    told = withdraw(wanted, shelf, now=now)
    return told, next_steps(wanted, told, now=now, patience=PATIENCE)


def do(shelf: Shelf, steps: Steps) -> Shelf:
    """Do the steps; every load succeeds."""
    for name in steps.drop:
        shelf = shelf.without(name)
    for adapter in steps.load:
        shelf = shelf.with_loaded(adapter)
    return shelf


def test_what_is_wanted_is_loaded_in_its_order() -> None:
    """One after the other: the engine stands still meanwhile."""
    _, steps = look((SQL, LAW), Shelf(), now=0.0)

    assert steps == Steps(load=(SQL, LAW))


def test_the_lease_drops_a_name_at_once_and_the_engine_after_the_grace() -> None:
    """Routers have that time to remove the route."""
    shelf = Shelf().with_loaded(SQL)

    told, early = look((), shelf, now=10.0)
    still, late = look((), told, now=11.0)

    assert told.listed() == ()
    assert early == Steps(look_again_s=1.0)
    assert still.serving == {"sql": SQL}
    assert late == Steps(drop=("sql",))


def test_a_name_that_is_wanted_again_within_the_grace_stays() -> None:
    """The removal was taken back."""
    told, _ = look((), Shelf().with_loaded(SQL), now=10.0)

    again, steps = look((SQL,), told, now=10.5)

    assert again.listed() == ("sql",)
    assert steps == Steps()


def test_a_changed_source_is_loaded_while_the_name_serves() -> None:
    """No request for it is refused meanwhile."""
    told, steps = look((NEWER_SQL,), Shelf().with_loaded(SQL), now=10.0)

    assert told.listed() == ("sql",)
    assert steps == Steps(load=(NEWER_SQL,))


def test_a_failed_change_leaves_what_serves_and_says_why() -> None:
    """A mistake in a path takes no working adapter away."""
    failure = Failure(adapter=NEWER_SQL, cause="gone", at=10.0)
    shelf = Shelf().with_loaded(SQL).with_failure(failure)

    told, steps = look((NEWER_SQL,), shelf, now=11.0)

    assert told.listed() == ("sql",)
    assert told.troubles() == (AdapterTrouble(adapter="sql", cause="gone"),)
    assert steps == Steps(look_again_s=29.0)


def test_a_failed_load_is_tried_again_after_a_while_or_when_it_is_changed() -> None:
    """The directory may come; and who corrects the path does not wait."""
    shelf = Shelf().with_failure(Failure(adapter=SQL, cause="gone", at=10.0))

    assert look((SQL,), shelf, now=39.9)[1].load == ()
    assert look((SQL,), shelf, now=40.0)[1].load == (SQL,)
    assert look((NEWER_SQL,), shelf, now=10.1)[1].load == (NEWER_SQL,)


def test_troubles_end_with_the_wish_or_with_success() -> None:
    """The lease tells what is so, not what was."""
    shelf = Shelf().with_failure(Failure(adapter=SQL, cause="gone", at=10.0))

    assert withdraw((), shelf, now=11.0).troubles() == ()
    assert shelf.with_loaded(SQL).troubles() == ()


@given(st.lists(wishes, min_size=1, max_size=5), st.lists(st.floats(0, 3), min_size=5, max_size=5))
def test_in_the_end_what_serves_is_what_is_wanted(
    history: list[tuple[AdapterSpec, ...]], pauses_s: list[float]
) -> None:
    """After any history; and a wanted name that serves never stops on the way."""
    shelf, now = Shelf(), 0.0
    for wanted, pause_s in zip(history, pauses_s, strict=False):
        told, steps = look(wanted, shelf, now=now)
        assert not {adapter.name for adapter in wanted} & set(steps.drop)
        assert look(wanted, told, now=now) == (told, steps)
        shelf, now = do(told, steps), now + pause_s

    told, _ = look(history[-1], shelf, now=now)
    told, steps = look(history[-1], told, now=now + PATIENCE.grace_s)
    shelf = do(told, steps)

    assert shelf.serving == {adapter.name: adapter for adapter in history[-1]}
    assert look(history[-1], shelf, now=now + PATIENCE.grace_s)[1] == Steps()
