"""Puts the plugin's folder on the import path, as a replica does for vLLM."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).absolute().parents[3] / "libs" / "engine" / "plugin"))
