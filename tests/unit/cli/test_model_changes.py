"""`apply` writes exactly the difference.

Invariants: nothing differs from itself; what is added, changed or removed covers every name once.
"""

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from libs.contracts.ids import model_name
from libs.contracts.model_spec import AdapterSpec, EngineSpec, ModelSpec
from tools.cli.model_changes import model_changes

NAMES = [model_name(text) for text in ("a", "b", "c", "d")]
SPECS = st.builds(
    ModelSpec,
    name=st.sampled_from(NAMES),
    source=st.sampled_from(["x", "y"]),
    engine=st.builds(EngineSpec, max_num_seqs=st.integers(1, 3)),
)
SETS = st.lists(SPECS, unique_by=lambda spec: spec.name, max_size=4)


@given(SETS)
def test_nothing_differs_from_itself(specs: list[ModelSpec]) -> None:
    """Applying twice does nothing the second time."""
    changes = model_changes(declared=specs, stored={spec.name: spec for spec in specs})

    assert not changes
    assert list(changes.lines()) == []


@given(SETS, SETS)
def test_the_difference_covers_every_name_once(
    declared: list[ModelSpec], stored: list[ModelSpec]
) -> None:
    """No model is forgotten and none is written twice."""
    before = {spec.name: spec for spec in stored}

    changes = model_changes(declared=declared, stored=before)

    after = before | {spec.name: spec for spec in changes.added}
    after |= {new.name: new for _, new in changes.changed}
    after = {name: spec for name, spec in after.items() if spec not in changes.removed}
    assert after == {spec.name: spec for spec in declared}


def test_a_changed_field_is_shown_with_its_place() -> None:
    """A person sees what will change before it is written."""
    old = ModelSpec(name=NAMES[0], source="x")
    new = replace(old, engine=EngineSpec(max_num_seqs=8))

    changes = model_changes(declared=[new], stored={old.name: old})

    assert list(changes.lines()) == [
        "~ a (its replicas restart)",
        "    engine.max_num_seqs: 64 -> 8",
    ]


def test_an_adapter_comes_without_a_restart() -> None:
    """The difference says so by saying nothing of one."""
    old = ModelSpec(name=NAMES[0], source="x", engine=EngineSpec(max_loras=1))
    new = replace(old, adapters=(AdapterSpec(name="sql", source="/a/sql"),))

    changes = model_changes(declared=[new], stored={old.name: old})

    assert list(changes.lines()) == ["~ a", "    adapters: [] -> [sql=/a/sql]"]
