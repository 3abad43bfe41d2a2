"""`models.yaml` is checked at the edge: a bad file gets one clear line."""

from pathlib import Path

import pytest

from libs.contracts.model_spec import Device, RoutingPolicy
from tools.cli.models_yaml import ModelsFileError, load_models

DEFAULT = Path(__file__).parents[3] / "deploy" / "local" / "models.yaml"
SIMULATED = DEFAULT.with_name("simulated.yaml")


def write(folder: Path, text: str) -> Path:
    """Write a models file and return its path."""
    path = folder / "models.yaml"
    path.write_text(text)
    return path


def test_the_default_file_declares_one_small_model() -> None:
    """`./sluice up` without arguments reads this file."""
    (spec,) = load_models(DEFAULT)

    assert spec.name == "smollm2"
    assert spec.aliases == ("default",)
    assert spec.device is Device.CPU
    assert spec.routing.policy is RoutingPolicy.LEAST_LOADED
    assert (spec.scaling.min, spec.scaling.max) == (1, 4)


def test_a_relative_source_counts_from_the_files_own_folder(tmp_path: Path) -> None:
    """The current folder must not matter."""
    path = write(tmp_path, "models: [{name: a, source: ./weights}]")

    (spec,) = load_models(path)

    assert spec.source == str(tmp_path / "weights")


def test_a_maximum_that_is_not_said_is_the_minimum(tmp_path: Path) -> None:
    """A fixed number of replicas needs one line."""
    path = write(tmp_path, "models: [{name: a, source: x, scaling: {min: 3}}]")

    (spec,) = load_models(path)

    assert (spec.scaling.min, spec.scaling.max) == (3, 3)


@pytest.mark.parametrize(
    ("entry", "max_loras"),
    [
        ("{name: a, source: x}", 0),
        ("{name: a, source: x, adapters: []}", 4),
        ("{name: a, source: x, adapters: [{name: s, source: y}]}", 4),
        ("{name: a, source: x, adapters: [{name: s, source: y}], engine: {max_loras: 9}}", 9),
        ("{name: a, source: x, engine: {max_loras: 2}}", 2),
    ],
)
def test_the_key_adapters_asks_for_an_engine_that_takes_them(
    tmp_path: Path, entry: str, max_loras: int
) -> None:
    """Also with nothing under it: the first can come and the last go without a restart."""
    (spec,) = load_models(write(tmp_path, f"models: [{entry}]"))

    assert spec.engine.max_loras == max_loras


def test_a_directory_beside_the_file_is_meant_by_its_name_alone(tmp_path: Path) -> None:
    """It is stored as an absolute path: a replica would take the name for a hub id."""
    (tmp_path / "models" / "llama").mkdir(parents=True)
    path = write(tmp_path, "models: [{name: a, source: models/llama}]")

    (spec,) = load_models(path)

    assert spec.source == str(tmp_path / "models" / "llama")


def test_what_a_command_and_a_replica_would_read_differently_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A directory of the working folder that a replica would fetch from a stranger."""
    (tmp_path / "here" / "models" / "llama").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    path = write(tmp_path, "models: [{name: a, source: models/llama}]")

    with pytest.raises(ModelsFileError, match=f"write '{tmp_path}/here/models/llama'"):
        load_models(path)


def test_an_adapters_relative_source_counts_from_the_files_own_folder(tmp_path: Path) -> None:
    """As a model's does; a hub id stays what it is."""
    text = (
        "models: [{name: a, source: x, adapters: [{name: s, source: ./s}, {name: t, source: o/t}]}]"
    )

    (spec,) = load_models(write(tmp_path, text))

    assert [each.source for each in spec.adapters] == [str(tmp_path / "s"), "o/t"]


def test_a_simulated_model_needs_no_source_and_no_settings(tmp_path: Path) -> None:
    """Tokenizer and configuration come from the built-in model; the rest has defaults."""
    path = write(tmp_path, "models: [{name: a, device: simulated}]")

    (spec,) = load_models(path)

    assert spec.device is Device.SIMULATED
    assert spec.source == "builtin:smollm2-135m-instruct"
    assert spec.simulation is None


def test_the_simulated_file_declares_two_replicas_with_the_documented_times() -> None:
    """Every comparison is made with 5 ms a step and 20 us a prefill token."""
    (spec,) = load_models(SIMULATED)

    assert spec.simulation is not None
    assert spec.simulation.step_time_s == pytest.approx(0.005)
    assert spec.simulation.prefill_time_per_token_s == pytest.approx(20e-6)
    assert (spec.scaling.min, spec.scaling.max) == (2, 8)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("models: [{name: a}]", "models.0.source: Field required"),
        ("models: [{name: a, source: x, colour: red}]", "models.0.colour: Extra inputs"),
        ("models: [{name: Big Model, source: x}]", "model name 'Big Model' must be 1 to 63"),
        ("models: [{name: a, source: x, device: tpu}]", "models.0.device"),
        ("models: [{name: a, source: x, scaling: {min: 2, max: 1}}]", "scaling.max 1 must not"),
        ("models: [{name: a, source: x, engine: {max_num_seqs: 0}}]", "must be at least 1"),
        ("models: [{name: a, source: x, aliases: ['b c']}]", "must not contain white space"),
        (
            "models: [{name: a, source: x}, {name: b, source: x, aliases: [a]}]",
            "names both a and b",
        ),
        (
            "models: [{name: a, source: x, simulation: {seed: 1}}]",
            "simulation needs device: simulated",
        ),
        (
            "models: [{name: a, device: simulated, simulation: {step_time_s: -1}}]",
            "simulation.step_time_s must be between 0 and 60",
        ),
        (
            "models: [{name: a, device: simulated, simulation: {jitter_ratio: .nan}}]",
            "simulation.jitter_ratio must be between 0 and 1",
        ),
        (
            "models: [{name: a, device: simulated, simulation: {speed: 1}}]",
            "models.0.simulation.speed: Extra inputs",
        ),
        (
            (
                "models: [{name: a, device: simulated, engine: {max_model_len: 9},"
                " simulation: {kv_capacity_tokens: 8}}]"
            ),
            "simulation.kv_capacity_tokens 8 must not be below engine.max_model_len 9",
        ),
        (
            "models: [{name: a, source: x, aliases: [b], adapters: [{name: b, source: y}]}]",
            "model a: 'b' is declared twice",
        ),
        (
            (
                "models: [{name: a, source: x, adapters: [{name: s, source: y}]},"
                " {name: s, source: x}]"
            ),
            "'s' names both a and s",
        ),
        (
            "models: [{name: a, source: x, adapters: [{name: text, source: y}]}]",
            "adapter 'text' is called like a kind of content",
        ),
        (
            (
                "models: [{name: a, source: x, engine: {max_loras: 0},"
                " adapters: [{name: s, source: y}]}]"
            ),
            "1 adapters need an engine.max_loras of at least that, not 0",
        ),
        (
            "models: [{name: a, source: x, engine: {max_lora_rank: 12}}]",
            "engine.max_lora_rank must be one of 1, 8, 16",
        ),
        (
            "models: [{name: a, source: x, engine: {stall_timeout_s: 1}}]",
            "engine.stall_timeout_s must be from 2 to 3600, not 1",
        ),
        (
            "models: [{name: a, source: x, engine: {media_domains: ['http://a/']}}]",
            "'http://a/' must be a host's name in small letters",
        ),
        (
            "models: [{name: a, source: x, adapters: [{name: s}]}]",
            "models.0.adapters.0.source: Field required",
        ),
        ("models: [", "is not YAML"),
        ("[]", "file: Input should be"),
    ],
)
def test_a_bad_file_is_refused_with_the_place_and_the_cause(
    tmp_path: Path, text: str, told: str
) -> None:
    """One line, and the user knows what to change."""
    path = write(tmp_path, text)

    with pytest.raises(ModelsFileError) as caught:
        load_models(path)

    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    """The path that was tried stands in the message."""
    with pytest.raises(ModelsFileError, match=r"nowhere\.yaml: No such file"):
        load_models(tmp_path / "nowhere.yaml")
