"""Read `models.yaml`: validate at the edge, return the contracts' own types."""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from libs.contracts.ids import model_name
from libs.contracts.model_spec import (
    AdapterSpec,
    Device,
    EngineSpec,
    FrontEndChoice,
    ModelSpec,
    RoutingPolicy,
    RoutingSpec,
    ScalingSpec,
    SimulationSpec,
)
from libs.engine.sources import BUILTIN_PREFIX, HUB_ID
from libs.errors import UsageError

MODELS_MAX = 64
"""As many models as HAProxy has pools of one kind."""

MAX_LORAS = 4
"""Adapters that a replica can hold when an entry has the key `adapters` and no `max_loras`."""

SIMULATED_SOURCE = "builtin:smollm2-135m-instruct"
"""Whose tokenizer and configuration a simulated device takes when its entry names no source."""

_SIMULATED = SimulationSpec()
_PATHS = ("./", "../", "~", "/")


class ModelsFileError(UsageError):
    """The models file cannot be used."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Engine(_Strict):
    max_model_len: int | None = None
    max_num_seqs: int = 64
    tensor_parallel_size: int = 1
    dtype: str | None = None
    kv_cache_gib: float = 1.0
    max_loras: int | None = None
    max_lora_rank: int = 16
    front_end: FrontEndChoice = FrontEndChoice.AUTO
    stall_timeout_s: float | None = None
    media_domains: tuple[str, ...] = ()

    def spec(self, *, has_adapters: bool) -> EngineSpec:
        loras = (MAX_LORAS if has_adapters else 0) if self.max_loras is None else self.max_loras
        return EngineSpec(**{**self.model_dump(), "max_loras": loras})


class _Adapter(_Strict):
    name: str
    source: str


class _Routing(_Strict):
    policy: RoutingPolicy = RoutingPolicy.LEAST_LOADED


class _Scaling(_Strict):
    min: int = 1
    max: int | None = None
    target_running_per_replica: float | None = None
    ttft_slo_s: float | None = None


class _Simulation(_Strict):
    step_time_s: float = _SIMULATED.step_time_s
    prefill_time_per_token_s: float = _SIMULATED.prefill_time_per_token_s
    kv_capacity_tokens: int = _SIMULATED.kv_capacity_tokens
    jitter_ratio: float = _SIMULATED.jitter_ratio
    seed: int = _SIMULATED.seed


class _Model(_Strict):
    name: str
    source: str
    aliases: tuple[str, ...] = ()
    adapters: tuple[_Adapter, ...] | None = None
    device: Device = Device.CPU
    engine: _Engine = _Engine()
    routing: _Routing = _Routing()
    scaling: _Scaling = _Scaling()
    simulation: _Simulation | None = None

    @model_validator(mode="before")
    @classmethod
    def _fill_in_source(cls, entry: object) -> object:
        if isinstance(entry, dict) and entry.get("device") == Device.SIMULATED:
            return {"source": SIMULATED_SOURCE, **entry}
        return entry

    def spec(self, folder: Path) -> ModelSpec:
        return ModelSpec(
            name=model_name(self.name),
            source=_absolute(self.source, folder),
            aliases=self.aliases,
            adapters=tuple(
                AdapterSpec(name=each.name, source=_absolute(each.source, folder))
                for each in self.adapters or ()
            ),
            device=self.device,
            # The key alone, even with nothing under it, asks for an engine that takes adapters.
            engine=self.engine.spec(has_adapters="adapters" in self.model_fields_set),
            routing=RoutingSpec(policy=self.routing.policy),
            scaling=ScalingSpec(
                min=self.scaling.min,
                max=max(self.scaling.min, 1) if self.scaling.max is None else self.scaling.max,
                target_running_per_replica=self.scaling.target_running_per_replica,
                ttft_slo_s=self.scaling.ttft_slo_s,
            ),
            simulation=self._simulation_spec(),
        )

    def _simulation_spec(self) -> SimulationSpec | None:
        return SimulationSpec(**self.simulation.model_dump()) if self.simulation else None


class _ModelsFile(_Strict):
    models: list[_Model] = Field(max_length=MODELS_MAX)


def load_models(path: Path) -> tuple[ModelSpec, ...]:
    """Read and check a models file; a relative directory counts from the file's own folder.

    Raises:
        ModelsFileError: the file is missing, is not YAML, or declares what cannot be;
            the message names every place.
    """
    try:
        document = yaml.safe_load(path.read_text())
        entries = _ModelsFile.model_validate(document).models
        specs = tuple(entry.spec(path.absolute().parent) for entry in entries)
    except OSError as exc:
        raise ModelsFileError(f"{path}: {exc.strerror}; name a models file") from exc
    except yaml.YAMLError as exc:
        raise ModelsFileError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    except ValidationError as exc:
        raise ModelsFileError(f"{path}: {_places(exc)}") from exc
    except ValueError as exc:
        raise ModelsFileError(f"{path}: {exc}") from exc
    _refuse_doubles(path, specs)
    return specs


def _absolute(source: str, folder: Path) -> str:
    """Resolve a directory once, for every process that will read it; the rest is a hub id.

    Raises:
        ValueError: it could be meant either way.
    """
    beside = folder / Path(source).expanduser()
    if not source.startswith(BUILTIN_PREFIX) and (source.startswith(_PATHS) or beside.is_dir()):
        return str(beside.resolve())
    if HUB_ID.fullmatch(source) and Path(source).is_dir():
        message = (
            f"{source!r} is a directory here but not beside this file, where a relative one counts"
            f" from: write {str(Path(source).absolute())!r}, or run the command elsewhere if the"
            " hub's model of that name is meant"
        )
        raise ValueError(message)
    return source


def _places(error: ValidationError) -> str:
    found = error.errors(include_url=False, include_input=False)
    return "; ".join(f"{'.'.join(str(p) for p in e['loc']) or 'file'}: {e['msg']}" for e in found)


def _refuse_doubles(path: Path, specs: tuple[ModelSpec, ...]) -> None:
    seen: dict[str, str] = {}
    for spec in specs:
        for name in (spec.name, *spec.aliases, *(each.name for each in spec.adapters)):
            if name in seen:
                message = f"{path}: {name!r} names both {seen[name]} and {spec.name}"
                raise ModelsFileError(message)
            seen[name] = spec.name
