"""Limits of Spark's sessions, with their units and reasons; see :mod:`.limits`."""

from __future__ import annotations

EXECUTOR_S_MAX = 50.0
"""seconds in which a cluster's first executor must come up; Spark itself would wait for ever."""

EXECUTOR_LOOK_S = 0.25
"""seconds between two looks whether one has."""
