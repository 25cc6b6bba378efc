"""Lets the benchmarks be imported, which lie beside the tests and in no installed package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
