"""What `sluice apply` would change: the declared models against the stored ones (pure)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass

from libs.contracts.ids import ModelName
from libs.contracts.model_spec import ModelSpec, start_part


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelChanges:
    """The difference; a model that stands in the store and not in the file is removed."""

    added: tuple[ModelSpec, ...]
    changed: tuple[tuple[ModelSpec, ModelSpec], ...]
    removed: tuple[ModelSpec, ...]

    def __bool__(self) -> bool:
        """Tell whether anything differs."""
        return bool(self.added or self.changed or self.removed)

    def lines(self) -> Iterator[str]:
        """Render the difference, a line for each model and field."""
        for spec in self.added:
            yield f"+ {spec.name} ({spec.source}, {spec.device.value})"
        for old, new in self.changed:
            yield f"~ {new.name}{' (its replicas restart)' if restarts(old, new) else ''}"
            for place, before, after in differing_fields(old, new):
                yield f"    {place}: {_short(before)} -> {_short(after)}"
        for spec in self.removed:
            yield f"- {spec.name}"


def model_changes(
    *, declared: Iterable[ModelSpec], stored: Mapping[ModelName, ModelSpec]
) -> ModelChanges:
    """Compare by name; equal models are left out."""
    wanted = {spec.name: spec for spec in declared}
    return ModelChanges(
        added=tuple(wanted[name] for name in sorted(wanted.keys() - stored.keys())),
        changed=tuple(
            (stored[name], wanted[name])
            for name in sorted(wanted.keys() & stored.keys())
            if stored[name] != wanted[name]
        ),
        removed=tuple(stored[name] for name in sorted(stored.keys() - wanted.keys())),
    )


def restarts(old: ModelSpec, new: ModelSpec) -> bool:
    """Tell whether a change ends a model's replicas and starts others."""
    return start_part(old) != start_part(new)


def differing_fields(
    old: object, new: object, place: str = ""
) -> Iterator[tuple[str, object, object]]:
    """Yield the innermost differing fields of two dataclasses of one type, with their places."""
    if is_dataclass(old) and type(old) is type(new):
        for field in fields(old):
            name = f"{place}.{field.name}" if place else field.name
            yield from differing_fields(getattr(old, field.name), getattr(new, field.name), name)
    elif old != new:
        yield place, old, new


def _short(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(str(each) for each in value)}]"
    return "none" if value is None else str(value)
