"""Lets `benchmarks.servers` be imported, which lies beside the tests and in no package."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
