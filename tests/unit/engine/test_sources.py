"""Where a model's files are."""

from __future__ import annotations

from pathlib import Path

import pytest

from libs.engine.default_model import BUILTIN_MODEL
from libs.engine.sources import resolve_source
from libs.errors import UsageError


def model_folder(path: Path) -> Path:
    """Make a folder that looks like a model."""
    path.mkdir(parents=True)
    (path / "config.json").write_text("{}")
    return path


def test_the_builtin_model_is_below_the_models_directory(tmp_path: Path) -> None:
    """Every part of the system looks at the same place."""
    folder = model_folder(tmp_path / BUILTIN_MODEL)

    source = resolve_source(f"builtin:{BUILTIN_MODEL}", models_dir=tmp_path)

    assert (source.folder, source.is_local) == (folder, True)


def test_a_folder_is_taken_as_it_is(tmp_path: Path) -> None:
    """A checkpoint of the user's own."""
    folder = model_folder(tmp_path / "mine")

    source = resolve_source(str(folder), models_dir=tmp_path)

    assert source.folder == folder


def test_a_hub_id_is_left_to_the_hub(tmp_path: Path) -> None:
    """`owner/name` that is no folder here."""
    source = resolve_source("HuggingFaceTB/SmolLM2-135M-Instruct", models_dir=tmp_path)

    assert source.model == "HuggingFaceTB/SmolLM2-135M-Instruct"
    assert (source.folder, source.is_local) == (None, False)


@pytest.mark.parametrize(
    ("source", "says"),
    [
        ("builtin:nothing", "no built-in model 'nothing'"),
        (f"builtin:{BUILTIN_MODEL}", "python -m libs.engine.default_model"),
        ("/no/such/folder", "The model directory /no/such/folder does not exist"),
        ("./no-such-folder", "does not exist"),
        ("a/b/c", "does not exist"),
    ],
)
def test_a_source_that_is_not_there_is_told_in_one_line(
    tmp_path: Path, source: str, says: str
) -> None:
    """The message says what is wrong and what to do."""
    with pytest.raises(UsageError, match=says) as caught:
        resolve_source(source, models_dir=tmp_path)

    assert "\n" not in str(caught.value)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    """An empty folder is a mistake, not a model."""
    with pytest.raises(UsageError, match=r"has no config\.json"):
        resolve_source(str(tmp_path), models_dir=tmp_path)


def test_a_hub_id_stays_one_where_a_directory_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Processes that work in different folders must mean the same model."""
    (tmp_path / "models" / "llama").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)

    source = resolve_source("models/llama", models_dir=tmp_path)

    assert (source.model, source.is_local) == ("models/llama", False)
