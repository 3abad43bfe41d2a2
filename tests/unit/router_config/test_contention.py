"""Names that two models claim are found, whatever was claimed before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from services.router_config.domain.contention import Claims, Contention

claims = st.dictionaries(
    st.sampled_from(["a", "b", "c"]),
    st.frozensets(st.sampled_from(["u", "v", "w", "x", "y", "z"]), max_size=4),
)


def shared(found: Claims) -> bool:
    """Return whether a name is claimed twice, by counting all of them."""
    names = [name for each in found.values() for name in each]
    return len(names) > len(set(names))


@given(st.lists(claims, min_size=1, max_size=8))
def test_what_was_claimed_before_changes_no_answer(history: list[Claims]) -> None:
    """One memory through all of them."""
    memory = Contention()

    assert [memory.is_in(each) for each in history] == [shared(each) for each in history]


@given(st.lists(claims, min_size=1, max_size=8), st.integers(0, 3))
def test_nor_does_the_way_in_which_it_is_found(history: list[Claims], looked_up_max: int) -> None:
    """By looking new names up, or by going through all of them."""
    memory = Contention(looked_up_max=looked_up_max)

    assert [memory.is_in(each) for each in history] == [shared(each) for each in history]
