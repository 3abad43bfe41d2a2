"""Where a model's files are: from `ModelSpec.source` to a folder or a hub id."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from libs.engine.default_model import BUILTIN_MODEL, default_model_path
from libs.errors import UsageError

BUILTIN_PREFIX: Final = "builtin:"
CONFIG_FILE: Final = "config.json"

HUB_ID: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")
"""How a hub names what it keeps: `owner/name`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSource:
    """What vLLM gets as its model: a folder's path, or a hub id."""

    model: str
    is_local: bool

    @property
    def folder(self) -> Path | None:
        """The model's folder; None for a hub id."""
        return Path(self.model) if self.is_local else None


def resolve_source(source: str, *, models_dir: Path) -> ModelSource:
    """Find a model's files.

    What looks like a hub id (`owner/name`) is one, whatever lies in the working folder: otherwise
    a command and a replica, which work in different folders, would mean different models.

    Raises:
        UsageError: there is no such built-in model, no such folder, or no model inside it.
    """
    if source.startswith(BUILTIN_PREFIX):
        return _builtin(source.removeprefix(BUILTIN_PREFIX), models_dir)
    if HUB_ID.fullmatch(source):
        return ModelSource(model=source, is_local=False)
    return _folder(Path(source).expanduser())


def _builtin(name: str, models_dir: Path) -> ModelSource:
    if name != BUILTIN_MODEL:
        raise UsageError(f"There is no built-in model {name!r}; there is {BUILTIN_MODEL!r}.")
    folder = default_model_path(models_dir)
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(
            f"The built-in model is not in {folder}; "
            f"make it with `python -m libs.engine.default_model --models-dir {models_dir}`."
        )
    return ModelSource(model=str(folder), is_local=True)


def _folder(folder: Path) -> ModelSource:
    if not folder.is_dir():
        raise UsageError(
            f"The model directory {folder} does not exist; correct `source` in models.yaml."
        )
    if not (folder / CONFIG_FILE).is_file():
        raise UsageError(f"The model directory {folder} has no {CONFIG_FILE}: it holds no model.")
    return ModelSource(model=str(folder.absolute()), is_local=True)
