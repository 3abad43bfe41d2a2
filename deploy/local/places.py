"""Where a stack keeps what it needs while it runs (pure)."""

from __future__ import annotations

import hashlib
from pathlib import Path


def run_folder(var: Path, *, user_id: int) -> Path:
    """Return the folder of the stack whose kept files are in `var`, an absolute path.

    It is in /tmp, under a name made of the user and of the path of `var`: a user's runtime folder
    ($XDG_RUNTIME_DIR) is removed when the user logs out, and a stack goes on. `./sluice` makes the
    same name. Check its owner before using it.
    """
    digest = hashlib.sha256(str(var).encode(errors="surrogateescape")).hexdigest()[:8]
    return Path("/tmp") / f"sluice-{user_id}-{digest}"  # noqa: S108 - short, and checked
