"""The salt of a request's prefix cache, from its id and from what its client gave.

Invariant: two requests have the same salt only if tenant and client's salt are the same.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from sluice_vllm_plugin.tenant_salt import engine_salt

TENANTS = st.sampled_from(["", f"-t{'1' * 32}", f"-t{'2' * 32}"])
CLIENTS = st.none() | st.sampled_from(
    ["a", f"tenant:{'1' * 32}:", f"tenant:{'1' * 32}:a", "client:a", f"-t{'1' * 32}"]
)
BEFORE = ("chatcmpl-0af-b7a-01", "cmpl-64aef1c2-1f")
AFTER = ("-01234567", "-0-0123abcd", "")


@given(TENANTS, CLIENTS, TENANTS, CLIENTS)
def test_only_equal_tenants_with_equal_salts_share(
    one: str, one_gave: str | None, other: str, other_gave: str | None
) -> None:
    """Whatever the client writes."""
    ids = [f"{BEFORE[0]}{one}{AFTER[0]}", f"{BEFORE[1]}{other}{AFTER[1]}"]

    same = engine_salt(ids[0], one_gave) == engine_salt(ids[1], other_gave)

    assert same == ((one, one_gave) == (other, other_gave))


def test_without_tenant_and_salt_the_cache_is_everybodys() -> None:
    """As in vLLM itself; ids of untraced requests and of many choices count as well."""
    assert {engine_salt(f"{before}{after}", None) for before in BEFORE for after in AFTER} == {None}
    assert engine_salt(f"0_chatcmpl-x-t{'1' * 32}", None) == f"tenant:{'1' * 32}:"
