"""Find the layout of the stack that a command means."""

from __future__ import annotations

import os
from pathlib import Path

from tools.cli.settings import CliSettings
from tools.cli.stack.layout import Layout, layout
from tools.cli.stack.run_folder import require_own

ROOT = Path(__file__).absolute().parents[3]
"""The checkout, which is also the import root."""


def here(settings: CliSettings) -> Layout:
    """Return the layout of this checkout's stack, or of the one that SLUICE_VAR names.

    Raises:
        ForeignFolderError: the stack's run folder belongs to another user or is open to others.
    """
    found = layout(root=ROOT, var=settings.var, models=settings.models_dir, user_id=os.geteuid())
    require_own(found.run)
    return found
