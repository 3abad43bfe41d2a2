"""Which Sluice this is."""

from __future__ import annotations

from typing import Final

SLUICE_VERSION: Final = "0.1.0"
"""As in CHANGELOG.md."""
