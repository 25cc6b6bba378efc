"""Limits of published tables, each with its unit and the reason for its value."""

from __future__ import annotations

APPEND_TRIES = 64
"""attempts at one commit while other writers commit: with four that do nothing else, 5 were needed
at most."""

APPEND_PAUSE_S_MAX = 0.2
"""seconds of a pause between two attempts, at random, so that writers do not keep in step."""
